"""Loops over every row of many entities, compiled by Numba (decision 0015 explains the cache)."""
