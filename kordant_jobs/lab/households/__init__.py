"""Invented Brazilian household and small-firm accounts with the truth of every row, and the judge of insights.

pools      names, description styles and parameters: `tuning` was looked at while the rules were made, `fresh` never
generator  years of rows of many entities, seeded
judge      figures of the insights against the truth
"""
