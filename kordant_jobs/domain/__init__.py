"""The nouns of identity protection. Pure: no clock, no network, no database, no file.

What is decided about them for one job lives beside that job in its `rules.py`, not here.
"""
