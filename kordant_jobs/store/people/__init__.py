"""Subscribers, their subscriptions, watched identifiers and keys. What was found about them is `darkwatch`."""
