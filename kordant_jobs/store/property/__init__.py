"""Watched parcels, what counties recorded, and what was found."""
