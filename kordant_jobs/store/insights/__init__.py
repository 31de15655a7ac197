"""Insights: the rows they are made from, and the rows they are."""
