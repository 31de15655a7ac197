"""Alerts for operators: rules, and when an alert begins and ends. Pure."""
