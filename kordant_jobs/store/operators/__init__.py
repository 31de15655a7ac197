"""Alerts of operators: their rules, their state, notices, silences."""
