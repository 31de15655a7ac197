"""The nouns of identity protection. Pure: no clock, no network, no database, no file.

Rules that belong to one job are in that job's `rules.py`, not here.
"""
