"""Alerts of operators: their rules, their state, who was told, what is silenced."""
