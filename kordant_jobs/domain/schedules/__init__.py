"""Cron, cadence and the rows of the price list, as pure functions of a moment. Dagster's schedules are `triggers`."""
