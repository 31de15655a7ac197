"""Cron, cadence and the rows of the price list, as pure functions of a time. Dagster's schedules are in `triggers`."""
