"""insights_refresh: what the accounts of entities say, brought up to date."""
