"""Watched identifiers against ingested breach dumps: exposures, verdicts and alerts."""
