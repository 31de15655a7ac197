"""Postgres: the embedded server, tables, queries by noun, and migrations. No Dagster, no outside services."""
