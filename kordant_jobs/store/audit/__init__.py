"""The audit log in Postgres: append-only, chained by hash, written in the transaction of what it records."""
