"""Stored insights, and the rows that they are made from."""
