"""Postgres itself: the embedded server, connections, COPY, naming conventions. Knows no table of ours."""
