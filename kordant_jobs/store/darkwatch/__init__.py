"""Breaches, dumps, exposures, verdicts, checks of outside sources. What subscribers are told is `notifications`."""
