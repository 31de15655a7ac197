"""Retention: its policies, legal holds, plans and reports, and how old rows are found and deleted."""
