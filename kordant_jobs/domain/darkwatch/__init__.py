"""Breaches and exposures as values. The job's rules judge them; identifiers have their own package."""
