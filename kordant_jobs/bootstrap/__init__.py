"""The bootstrap, which works before anything is installed: standard library only, and imports nothing of the
project."""
