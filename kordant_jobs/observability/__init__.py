"""What operators see: metrics, and a doctor who finds what is wrong. All of it is read from Postgres."""
