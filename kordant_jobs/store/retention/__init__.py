"""Retention: its policies, legal holds, plans and reports, and the deletion of old rows."""
