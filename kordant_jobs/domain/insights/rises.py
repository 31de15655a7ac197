"""Price rises of fixed streams (I4). Pure."""

from __future__ import annotations

import polars as pl

SAME_LEVEL = 0.02
"""Consecutive charges that differ by at most this share are on one level."""
RISE_MIN, RISE_MIN_CENTS = 0.03, 50
STABLE_ROWS = 2
LEVEL_SHARE = 0.7
"""The share of a stream's charges that must lie in levels of two or more. Other streams are priced by use."""


def price_rises(rows: pl.DataFrame) -> pl.DataFrame:
    """The last rise of each outgoing stream: `stream`, `old_cents`, `new_cents`, `last_old` and `first_new` (rows'
    `row`), `new_rows`, `day` of the first charge at the new price, and the `currency` of both prices, null: the
    account's.

    `rows` are those of streams, with `stream`, `row`, `day`, `cents`, `orig_cents`, `orig_currency` (a stream billed in
    another currency is compared in that). A new level counts from +3 % and +0.50, after two or more stable charges in
    the same currency. Two charges confirm it; one is enough while it is the last.
    """
    much = pl.coalesce("orig_cents", "cents").abs()
    levels = (
        rows.filter(pl.col("cents") < 0)
        .select("stream", "row", "day", "orig_currency", much.alias("much"))
        .sort("stream", "day", "row")
        .with_columns(
            (
                (pl.col("stream") != pl.col("stream").shift())
                | pl.col("orig_currency").ne_missing(pl.col("orig_currency").shift())
                | ((pl.col("much") / pl.col("much").shift() - 1).abs() > SAME_LEVEL)
            )
            .fill_null(True).cum_sum().alias("level")
        )
        .group_by("level", maintain_order=True)
        .agg(
            pl.col("stream", "orig_currency").first(), pl.len().alias("n"),
            pl.col("much").last(), pl.col("much").first().alias("opening"),
            pl.col("row").first().alias("first_new"), pl.col("row").last(), pl.col("day").first(),
        )
    )  # fmt: skip
    whole = pl.col("n").sum().over("stream")
    return (
        levels.with_columns(
            (pl.col("n").filter(pl.col("n") >= STABLE_ROWS).sum().over("stream") / whole).alias("share"),
            (pl.col("level") == pl.col("level").max().over("stream")).alias("is_last"),
        )
        .filter((pl.col("n") >= STABLE_ROWS) | pl.col("is_last"))
        .with_columns(
            pl.col("much", "n", "row", "orig_currency").shift().over("stream").name.prefix("before_"),
        )
        .filter(
            (pl.col("before_n") >= STABLE_ROWS)
            & pl.col("orig_currency").eq_missing(pl.col("before_orig_currency"))
            & (pl.col("opening") >= (1 + RISE_MIN) * pl.col("before_much"))
            & (pl.col("opening") - pl.col("before_much") >= RISE_MIN_CENTS)
            & (pl.col("share") >= LEVEL_SHARE)
        )
        .select(
            "stream", "day", "first_new", pl.col("orig_currency").alias("currency"),
            pl.col("before_much").alias("old_cents"), pl.col("opening").alias("new_cents"),
            pl.col("before_row").alias("last_old"), pl.col("n").alias("new_rows"),
        )
    )  # fmt: skip
