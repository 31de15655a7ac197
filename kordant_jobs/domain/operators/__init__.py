"""Alerts for operators: their rules, and when an alert begins and ends. Pure."""
