"""What must work before anything is installed: standard library only, and imports nothing of the project."""
