"""Subscribers, their subscriptions, watched identifiers and keys. `darkwatch` has what was found about them."""
