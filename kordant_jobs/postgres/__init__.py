"""Postgres itself: the embedded server, connections, COPY, naming conventions. It knows no table of ours."""
