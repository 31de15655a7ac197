"""Charges unlike the others of their payee and category (I6). Pure."""

from __future__ import annotations

import polars as pl

from kordant_jobs.domain.finance.states import TransactionType as T
from kordant_jobs.domain.insights.calendar import month_of

PAYEE_ROWS, CATEGORY_ROWS, RECENT = 8, 15, 60
Z_PAYEE, Z_CATEGORY, Z_ALONE, FLOOR = 3.5, 2.0, 4.0, 0.12
"""The least robust z over log amounts, in units of 1.4826 MAD, which is at least `FLOOR`. A charge must pass the limits
of its payee and of its category; `Z_ALONE` is the payee's limit where the category is unknown or has too few rows. On
invented accounts both at 4 finds half of what these find."""
NEVER = (T.WITHDRAWAL.value,)
"""Types that are never judged: cash is withdrawn in a few sizes, so there is no spread to compare with."""
CENTS_MIN = 15_000
MONTH_MOST = 3


def unusual(rows: pl.DataFrame) -> pl.DataFrame:
    """Unusual charges: `entity`, `row`, `day`, `cents`, `z` (among the payee's), `usual_cents` (the payee's median),
    `payee_rows`; of each month the `MONTH_MOST` farthest off.

    `rows` has `entity`, `payee`, `category`, `type`, `day`, `row`, `cents`, `stream_of`, without own transfers,
    instalments, refunds. Amounts are compared with all others of the payee (the last 60) and of the category; a PIX
    without a category with the entity's other such PIX.
    """
    is_plain_pix = (pl.col("category") == "other") & (pl.col("type") == T.PIX.value)
    out = rows.filter((pl.col("cents") < 0) & (pl.col("stream_of") < 0) & ~pl.col("type").is_in(NEVER)).with_columns(
        (-pl.col("cents")).cast(pl.Float64).log().alias("log"),
        pl.when(is_plain_pix).then("type").otherwise("category").alias("category"),
    )
    counted = out.group_by("entity", "payee").len("rows")
    large = out.filter(pl.col("cents") <= -CENTS_MIN).join(
        counted.filter(pl.col("rows") >= PAYEE_ROWS).drop("rows"), on=["entity", "payee"], how="semi"
    )
    of_payee = out.join(large.select("entity", "payee").unique(), on=["entity", "payee"], how="semi")
    of_category = out.join(large.select("entity", "category").unique(), on=["entity", "category"], how="semi")
    is_recent = pl.col("day").rank("ordinal", descending=True).over("entity", "payee") <= RECENT
    payee = _spread(of_payee.filter(is_recent), ["entity", "payee"], "payee")
    category = _spread(of_category.filter(pl.col("category") != "other"), ["entity", "category"], "category")
    return (
        large.join(payee.filter(pl.col("payee_rows") >= PAYEE_ROWS), on=["entity", "payee"])
        .join(category.filter(pl.col("category_rows") >= CATEGORY_ROWS), on=["entity", "category"], how="left")
        .with_columns(
            ((pl.col("log") - pl.col("payee_middle")) / pl.col("payee_spread")).alias("payee_z"),
            ((pl.col("log") - pl.col("category_middle")) / pl.col("category_spread")).alias("category_z"),
        )
        .filter(
            ((pl.col("payee_z") >= Z_PAYEE) & (pl.col("category_z") >= Z_CATEGORY))
            | ((pl.col("payee_z") >= Z_ALONE) & pl.col("category_z").is_null())
        )
        .filter(pl.col("payee_z").rank("ordinal", descending=True).over("entity", month_of("day")) <= MONTH_MOST)
        .select(
            "entity", "row", "day", "cents", pl.col("payee_z").alias("z"), "payee_rows",
            pl.col("payee_middle").exp().round().cast(pl.Int64).alias("usual_cents"),
        )
        .sort("entity", "day", "row")
    )  # fmt: skip


def _spread(rows: pl.DataFrame, keys: list[str], name: str) -> pl.DataFrame:
    middle = rows.group_by(keys).agg(pl.col("log").median().alias(f"{name}_middle"), pl.len().alias(f"{name}_rows"))
    spread = (
        rows.join(middle, on=keys)
        .group_by(keys)
        .agg((pl.col("log") - pl.col(f"{name}_middle")).abs().median().alias(f"{name}_spread"))
        .with_columns((1.4826 * pl.col(f"{name}_spread")).clip(FLOOR).alias(f"{name}_spread"))
    )
    return middle.join(spread, on=keys)
