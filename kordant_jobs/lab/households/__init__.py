"""Invented Brazilian household and small-firm accounts with the truth of every row, and the judge of insights.

pools           names, styles of lines and parameters: `tuning` was looked at while rules were made, `fresh` never
generator       years of rows of many entities, seeded
written, books  the rows as a sync would have written them, without the truth
fill            the same in the tables of banks
judge           figures of the insights against the truth; `judge_forecast` of forecasts, beside naive ones
fit             weights of the certainty of streams
"""
