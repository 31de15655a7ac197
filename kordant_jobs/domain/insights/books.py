"""Books of entities: the rows and accounts that insights are made from, and the streams found in them. Pure."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from kordant_jobs.domain.finance.states import TransactionState
from kordant_jobs.domain.insights.calendar import FIRST_DAY, day_tables, days_of
from kordant_jobs.domain.insights.categories import category_expression
from kordant_jobs.domain.insights.kernels import anchors as days
from kordant_jobs.domain.insights.kernels import table as kernel
from kordant_jobs.domain.insights.streams import CADENCES, Found, find_streams

HOME_CURRENCY = "BRL"
ROWS_SCHEMA = pl.Schema({
    "entity": pl.Int32, "account": pl.Int32, "id": pl.String, "day": pl.Int32, "cents": pl.Int64,
    "orig_cents": pl.Int64, "orig_currency": pl.String, "payee": pl.String, "type": pl.String, "mcc": pl.Int32,
    "category": pl.String, "state": pl.String, "no": pl.Int16, "of": pl.Int16, "plan": pl.String, "is_own": pl.Boolean,
    "is_candidate": pl.Boolean, "is_refund": pl.Boolean, "is_iof": pl.Boolean, "cash_day": pl.Int32,
})  # fmt: skip
"""A transaction that was not removed: `cents` of BRL positive towards the holder, `orig_cents` and `orig_currency`
where it was billed in another currency, `payee` any key, `cash_day` the due day of its card bill. Days count from
1970-01-01."""
ACCOUNTS_SCHEMA = pl.Schema({
    "entity": pl.Int32, "account": pl.Int32, "account_id": pl.String, "kind": pl.String,
    "balance": pl.Int64, "balance_day": pl.Int32, "limit": pl.Int64, "used": pl.Int64,
})  # fmt: skip
"""An account with its last balance as the bank gave it, in cents."""


@dataclass(frozen=True, kw_only=True)
class Books:
    """The known facts of some entities: `rows` by `ROWS_SCHEMA`, `accounts` by `ACCOUNTS_SCHEMA`."""

    rows: pl.DataFrame
    accounts: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Read:
    """Books with their streams. `rows` has all rows by entity and day with `row` and `stream_of` (-1: in no stream,
    null: excluded from streams); `streams` has the streams that have not ended."""

    rows: pl.DataFrame
    streams: pl.DataFrame
    accounts: pl.DataFrame
    now: int

    @property
    def posted(self) -> pl.DataFrame:
        """The booked rows without own transfers."""
        return self.rows.filter(_posted(self.now))


def _posted(now: int) -> pl.Expr:
    return (pl.col("state") == TransactionState.POSTED.value) & ~pl.col("is_own") & (pl.col("day") <= now)


def read(books: Books, *, today: date) -> Read:
    """Find the streams of books as of the end of `today`."""
    now = days_of(today)
    rows = (
        books.rows.filter(pl.col("day").is_between(FIRST_DAY + 366, now + 366 * 6))
        .sort("entity", "day", "id").with_row_index("row").with_columns(category_expression())
    )  # fmt: skip
    single = rows.filter(_posted(now) & pl.col("no").is_null() & ~pl.col("is_iof"))
    found = find_streams(single)
    single = single.with_columns(pl.Series("stream_of", found.stream_of))
    streams = with_state(found, single, books.accounts, now=now)
    return Read(
        rows=rows.join(single.select("row", "stream_of"), on="row", how="left", maintain_order="left"),
        streams=streams,
        accounts=books.accounts,
        now=now,
    )


def with_state(found: Found, rows: pl.DataFrame, accounts: pl.DataFrame, *, now: int) -> pl.DataFrame:
    """Streams that have not ended, with `next` day, `period` in days, `status`, `sort` of stream, `category` and `key`.
    Keys are numbered over ended streams too, so that a key stays the same when another stream ends. `amount` is the
    median of the last rows in cents of BRL, whatever currency the stream is billed in (`billed_in`)."""
    table = found.table.drop("amount")
    category = (
        rows.filter(pl.col("stream_of") >= 0).sort("day", "row")
        .group_by(pl.col("stream_of").cast(pl.UInt32).alias("stream"), maintain_order=True)
        .agg(
            pl.col("category").mode().sort().first(), pl.col("cents").last().alias("last_cents"),
            pl.col("id").last().alias("last_id"),
            pl.col("orig_currency").last().fill_null(HOME_CURRENCY).alias("billed_in"),
            pl.col("cents").tail(kernel.RECENT_ROWS).abs().median().alias("amount"),
        )
    )  # fmt: skip
    anchors = table.select("cadence", "anchor_kind", "anchor", "last").cast(pl.Int64).to_numpy()
    period = (
        pl.when(pl.col("cadence") < days.MONTHS)
        .then(pl.col("cadence"))
        .otherwise((pl.col("cadence") - days.MONTHS) * days.MONTH_DAYS)
    )
    late = now - pl.col("last")
    bill = pl.col("class").is_in([kernel.BILL, kernel.PIX])
    return (
        table.with_columns(
            pl.Series("next", days.next_days(np.ascontiguousarray(anchors), day_tables()), dtype=pl.Int64),
            period.cast(pl.Float64).alias("period"),
            pl.col("first").rank("ordinal").over("account", "payee", "is_in", "cadence").alias("place"),
        )
        .filter(late <= 2.5 * pl.col("period") + 10)
        .join(category, on="stream", how="left")
        .join(accounts.select("account", "account_id"), on="account", how="left")
        .sort("stream")
        .with_columns(
            pl.when(late > 1.5 * pl.col("period") + 5).then(pl.lit("overdue"))
            .when((pl.col("rows") < 4) & (pl.col("cadence") != days.YEARLY)).then(pl.lit("early"))
            .otherwise(pl.lit("mature")).alias("status"),
            pl.when("is_in").then(pl.lit("income"))
            .when(pl.col("class") == kernel.FEE).then(pl.lit("fee"))
            .when(pl.col("category") == "loans").then(pl.lit("debt"))
            .when(bill).then(pl.lit("bill")).otherwise(pl.lit("subscription")).alias("sort"),
            pl.col("cadence").replace_strict(CADENCES, return_dtype=pl.String).alias("cadence_name"),
            pl.concat_str(
                "account_id", "payee", pl.when("is_in").then(pl.lit("in")).otherwise(pl.lit("out")), "cadence", "place",
                separator="/",
            ).alias("key"),
        )
    )  # fmt: skip
