"""Watched parcels, counties' records, and findings."""
