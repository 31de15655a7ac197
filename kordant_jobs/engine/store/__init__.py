"""The engine's own tables and their queries. Tables of jobs do not belong here, and no other package writes these."""
