"""Principals, their tokens, agents' grants, change sets, and stored replies, in Postgres."""
