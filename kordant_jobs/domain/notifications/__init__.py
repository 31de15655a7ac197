"""Alerts, what subscribers choose, and what delivery services report. How a message is worded is the job's."""
