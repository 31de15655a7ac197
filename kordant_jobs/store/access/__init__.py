"""Principals, their tokens, agents' grants, change sets, and replies that were given, in Postgres."""
