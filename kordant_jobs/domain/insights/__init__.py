"""Insights from the accounts of a household or small firm: streams, price rises, duplicates, forecasts. Pure."""
