"""Alerts, the outbox, addresses, choices and delivery reports. The job has the rules of routing and the texts."""
