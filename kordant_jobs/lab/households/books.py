"""An invented world as the books that rules are given, without anything of its truth."""

from datetime import date

import polars as pl

from kordant_jobs.domain.insights.books import ACCOUNTS_SCHEMA, ROWS_SCHEMA, Books
from kordant_jobs.domain.insights.calendar import days_of
from kordant_jobs.lab.households.generator import World
from kordant_jobs.lab.households.written import as_written

OPENING_SHARE = 0.6
"""Opening balance of an account, as a share of the entity's spending of a month."""


def account_codes(world: World) -> pl.DataFrame:
    """Accounts of a world with a number each: `entity`, `account`, `code`, `kind`."""
    return world.accounts.with_row_index("code").with_columns(pl.col("code").cast(pl.Int32))


def openings(world: World) -> pl.DataFrame:
    """Balance of each account before its first row, in cents: `entity`, `account`, `opening`. A household begins with
    enough to come through its leanest day in most cases; a card begins at zero."""
    spent = (
        world.rows.filter((pl.col("cents") < 0) & pl.col("transfer").is_null())
        .group_by("entity").agg((-pl.col("cents").sum()).alias("spent"))
        .join(world.entities.select("entity", "months"), on="entity")
        .select("entity", (pl.col("spent") / (pl.col("months") + 3) * OPENING_SHARE).cast(pl.Int64).alias("opening"))
    )  # fmt: skip
    is_card = pl.col("kind") == "card"
    return world.accounts.join(spent, on="entity", how="left").with_columns(
        pl.when(is_card).then(0).otherwise(pl.col("opening").fill_null(0)).alias("opening")
    )


def balances(world: World, day: date) -> pl.DataFrame:
    """Balance of each account at the end of a day, true to the cent: `entity`, `account`, `balance`."""
    moved = (
        world.rows.filter(pl.col("day") <= day).group_by("entity", "account").agg(pl.col("cents").sum().alias("moved"))
    )
    return (
        openings(world)
        .join(moved, on=["entity", "account"], how="left")
        .select("entity", "account", "kind", (pl.col("opening") + pl.col("moved").fill_null(0)).alias("balance"))
    )


def books_of(world: World, *, as_of: date | None = None, written: pl.DataFrame | None = None) -> Books:
    """The rows that a sync would have brought by `as_of` (by default the world's own day)."""
    day = as_of or world.as_of
    written = as_written(world) if written is None else written
    codes = account_codes(world)
    rows = written.filter(pl.col("day") <= day).join(codes.select("entity", "account", "code"), on=["entity", "account"]).select(
        "entity", pl.col("code").alias("account"),
        pl.concat_str("entity", pl.lit("-"), pl.col("uid").cast(pl.String).str.zfill(6)).alias("id"),
        pl.col("day").to_physical(), "cents", "orig_cents", "orig_currency", pl.col("name").alias("payee"), "type", "mcc",
        pl.lit(None, dtype=pl.String).alias("category"), "state", "no", "of", pl.col("plan").cast(pl.String), "is_own",
        "is_candidate", (pl.col("type") == "reversal").alias("is_refund"),
        pl.col("iof_of").is_not_null().alias("is_iof"),
        pl.when(pl.col("closes_on") <= day).then(pl.col("cash_day")).to_physical().alias("cash_day"),
    ).cast(ROWS_SCHEMA)  # fmt: skip
    is_card = pl.col("kind") == "card"
    accounts = (
        codes.join(balances(world, day).drop("kind"), on=["entity", "account"])
        .select(
            "entity", pl.col("code").alias("account"), pl.concat_str("entity", pl.lit(":"), "account").alias("account_id"),
            "kind", "balance", pl.lit(days_of(day)).alias("balance_day"),
            pl.when(is_card).then(pl.lit(800_000)).otherwise(None).alias("limit"),
            pl.when(is_card).then((-pl.col("balance")).clip(0)).otherwise(None).alias("used"),
        ).cast(ACCOUNTS_SCHEMA)
    )  # fmt: skip
    return Books(rows=rows, accounts=accounts)
