"""Charges that were possibly made twice by mistake (I5). Pure."""

from __future__ import annotations

import polars as pl

from kordant_jobs.domain.finance.states import TransactionType as T
from kordant_jobs.domain.insights.categories import FEE_TYPES

CENTS_MIN = 2_000
APART_DAYS = 1
REVERSED_DAYS = 15
WAIT_DAYS = 3
"""Days before a duplicate is reported, since banks reverse their own within them."""
USUAL_TIMES, USUAL_SHARE = 4, 0.08
"""An amount that a payee charged so many times, or in such a share of its charges, is a usual price."""
ROUND_PIX = 1_000
"""Cents. A PIX of a multiple of this amount, when the entity sends it to others too, is repeated on purpose nearly as
often as by mistake."""


def duplicates(rows: pl.DataFrame, *, as_of: int) -> pl.DataFrame:
    """Possible duplicates: `row`, `twin` (the charge before it), `entity`, `day`, `cents`, `type`, `in_stream` (whether
    one of both belongs to a stream), `is_round_pix`.

    `rows` has `entity`, `account`, `payee`, `day` (days since 1970), `row`, `cents`, `type`, `stream_of` (-1: none),
    without own transfers, instalments and IOF lines. `as_of` is today in the same count. Banks charge fees whenever
    there is cause, so a fee counts only when it repeats one of a stream.
    """
    keys = ["entity", "account", "payee", "cents"]
    backs = (
        rows.filter(pl.col("cents") > 0)
        .select("entity", "account", "payee", (-pl.col("cents")).alias("cents"), pl.col("day").alias("back_day"))
        .unique()
    )
    is_pix = pl.col("type") == T.PIX.value
    out = rows.filter((pl.col("cents") <= -CENTS_MIN) & (pl.col("type") != T.WITHDRAWAL.value))
    ordered = out.select(*keys, "day", "row", "type", "stream_of").sort(*keys, "day", "row")
    is_same = pl.all_horizontal(*(pl.col(key) == pl.col(key).shift() for key in keys))
    pairs = ordered.with_columns(
        pl.when(is_same).then(pl.col("day") - pl.col("day").shift()).alias("apart"),
        pl.col("row").shift().alias("twin"),
        pl.col("stream_of").shift().alias("twin_stream"),
    ).filter(pl.col("apart") <= APART_DAYS)
    touched = pairs.select(keys).unique()
    times = ordered.join(touched, on=keys, how="semi").group_by(keys).agg(pl.len().alias("times"))
    payees = ordered.join(touched, on=keys[:3], how="semi").group_by(keys[:3]).agg(pl.len().alias("payee_rows"))
    is_round_pix = is_pix & (pl.col("cents") % ROUND_PIX == 0)
    sent = (
        ordered.filter(is_round_pix).group_by("entity", "cents").agg((pl.col("payee").n_unique() > 1).alias("is_usual"))
    )
    near = (
        pairs.join(times, on=keys).join(payees, on=keys[:3]).with_columns(pl.len().over(keys).alias("pairs"))
        .join(sent, on=["entity", "cents"], how="left")
        .with_columns(is_round_pix.alias("is_round_pix"))
    )  # fmt: skip
    is_usual_pix = pl.col("is_round_pix") & pl.col("is_usual").fill_null(False)
    in_stream = (pl.col("stream_of") >= 0) != (pl.col("twin_stream") >= 0)
    unlike_price = (pl.col("times") < USUAL_TIMES) | (pl.col("times") < USUAL_SHARE * pl.col("payee_rows"))
    both_streams = (pl.col("stream_of") >= 0) & (pl.col("twin_stream") >= 0)
    said = near.filter(
        (pl.col("pairs") == 1)
        & (in_stream | (unlike_price & ~both_streams & ~is_usual_pix & ~pl.col("type").is_in(FEE_TYPES)))
        & (pl.col("day") <= as_of - WAIT_DAYS)
    )
    reversed_ = (
        said.select("row", *keys, "day").join(backs, on=keys)
        .filter(pl.col("back_day").is_between(pl.col("day") - APART_DAYS, pl.col("day") + REVERSED_DAYS))
    )  # fmt: skip
    return (
        said.join(reversed_, on="row", how="anti")
        .select("entity", "row", "twin", "day", "cents", "type", in_stream.alias("in_stream"), "is_round_pix")
        .sort("entity", "day", "row")
    )
