"""Alerts, the outbox, addresses, choices and delivery reports. The rules of routing and wording are the job's."""
