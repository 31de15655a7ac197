"""The engine's own tables and their queries. No table of a job belongs here, and no other package writes these."""
