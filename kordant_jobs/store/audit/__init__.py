"""The audit log in Postgres: append-only, chained by hash, written in the same transaction as the recorded action."""
