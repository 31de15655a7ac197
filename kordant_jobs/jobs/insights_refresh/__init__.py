"""insights_refresh: refreshes the insights from the accounts of entities."""
