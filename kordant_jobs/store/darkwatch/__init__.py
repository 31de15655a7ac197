"""Breaches, dumps, exposures, verdicts, checks of outside sources. Alerts to subscribers are `notifications`."""
