"""Alerts, subscribers' choices, and the reports of delivery services. The job writes the text of messages."""
