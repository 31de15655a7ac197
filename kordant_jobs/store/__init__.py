"""Postgres: the embedded server, tables, queries a noun, and migrations. No Dagster, no outside party."""
