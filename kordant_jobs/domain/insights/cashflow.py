"""Income and spending, by month and category (I1). Pure."""

from __future__ import annotations

import polars as pl

from kordant_jobs.domain.insights.calendar import month_of


def cash_flow(rows: pl.DataFrame, *, day: str = "day") -> pl.DataFrame:
    """The cash flow by `entity`, `month` (its first day) and `category`: `inflow`, `outflow` (positive), `net` in
    cents, `count`. A refund lowers the outflow of its category.

    `rows` has `entity`, `day`, `cents`, `category` and `is_refund`, without own transfers. `day` names the column that
    counts: the day of purchase, or `cash_day`, the day on which a card's bill takes the money.
    """
    is_in = (pl.col("cents") > 0) & ~pl.col("is_refund")
    return (
        rows.filter(pl.col(day).is_not_null())
        .group_by("entity", month_of(day).alias("month"), "category")
        .agg(
            pl.col("cents").filter(is_in).sum().alias("inflow"),
            (-pl.col("cents").filter(~is_in).sum()).alias("outflow"),
            pl.col("cents").sum().alias("net"),
            pl.len().alias("count"),
        )
        .sort("entity", "month", "category")
    )
