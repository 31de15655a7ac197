"""`kordant-jobs judge-insights`: figures of the insights on invented accounts against their truth.

Nothing of the truth is given to the rules: transfers are paired by lines and amounts, payees and categories read from
the lines, salaries found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from kordant_jobs.domain.insights.merchants import merchant_name, one_party
from kordant_jobs.domain.insights.unusual import PAYEE_ROWS
from kordant_jobs.lab.households.generator import World

PURE, COVERED = 0.8, 0.5


@dataclass(frozen=True, kw_only=True)
class Score:
    """Right ones among those said and among those planted."""

    said: int
    right: int
    planted: int
    found: int

    @property
    def precision(self) -> float:
        return self.right / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.planted if self.planted else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(said=self.said + other.said, right=self.right + other.right,
                     planted=self.planted + other.planted, found=self.found + other.found)  # fmt: skip


def as_written(world: World) -> pl.DataFrame:
    """The rows seen, as a sync would have written them: payees by their lines, transfers and refunds paired."""
    rows = world.seen.with_row_index("row")
    lines = rows["description"].unique()
    names = dict(zip(lines, map(merchant_name, lines), strict=True))
    rows = rows.with_columns(pl.col("description").replace_strict(names).alias("name"))
    parties = [
        {"entity": key[0], "name": name, "party": party}
        for key, part in rows.group_by("entity") for name, party in one_party(part["name"]).items()
    ]
    rows = rows.join(
        pl.DataFrame(parties, schema={"entity": pl.Int32, "name": pl.Utf8, "party": pl.Utf8}), on=["entity", "name"], how="left"
    ).sort("row")
    owners = dict(world.entities.select("entity", "owner").iter_rows())
    rows = rows.with_columns(pl.col("entity").replace_strict(owners).alias("owner"))
    return rows.with_columns(paired(rows).alias("is_own"))


def paired(rows: pl.DataFrame) -> pl.Series:
    """Which rows are legs of own transfers: equal amounts with opposite signs on two accounts of an entity, -1 to +4
    days apart, whose lines name the holder or say so. (The sync's own rule takes this place.)"""
    owner = pl.col("owner").map_elements(merchant_name, return_dtype=pl.Utf8)
    said = pl.col("description").str.to_uppercase().str.contains("ENTRE CONTAS|MESMA TITULARIDADE|FATURA|CARTAO DE CREDITO|PAG CARTAO")
    marked = rows.with_columns(((pl.col("name") == owner) | said).alias("own"))
    pairs = (
        marked.filter((pl.col("cents") < 0) & pl.col("own"))
        .join(marked.filter(pl.col("cents") > 0), on="entity", suffix="_in")
        .filter((pl.col("cents") == -pl.col("cents_in")) & (pl.col("account") != pl.col("account_in")))
        .with_columns((pl.col("day_in") - pl.col("day")).dt.total_days().alias("apart"))
        .filter(pl.col("apart").is_between(-1, 4))
        .sort(pl.col("own_in").not_(), pl.col("apart").abs(), "row", "row_in")
    )
    used: set[int] = set()
    for out, into in pairs.select("row", "row_in").iter_rows():
        if out not in used and into not in used:
            used |= {out, into}
    return rows["row"].is_in(list(used))


def streams_frame(rows: pl.DataFrame) -> pl.DataFrame:
    """What takes part in streams."""
    return rows.filter(~pl.col("is_own") & pl.col("no").is_null() & (pl.col("iof_of").is_null()) & (pl.col("state") == "posted")).with_columns(
        pl.col("day").to_physical().alias("day"), pl.col("party").alias("payee")
    )


def score_streams(world: World, rows: pl.DataFrame, table: pl.DataFrame, stream_of: np.ndarray) -> tuple[Score, pl.DataFrame]:
    """Streams said against those planted: ≥ 80 % of a said one's rows belong to the stream, ≥ 50 % of it covered."""
    marked = rows.with_columns(pl.Series("said", stream_of)).rename({"stream": "planted"})
    said = marked.filter(pl.col("said") >= 0)
    sizes = said.group_by("said").len("said_rows")
    planted = marked.filter(pl.col("planted").is_not_null()).group_by("entity", "planted").len("planted_rows")
    both = (
        said.filter(pl.col("planted").is_not_null()).group_by("said", "entity", "planted").len("both")
        .join(sizes, on="said").join(planted, on=["entity", "planted"])
        .with_columns((pl.col("both") >= PURE * pl.col("said_rows")).alias("pure"), (pl.col("both") >= COVERED * pl.col("planted_rows")).alias("covered"))
        .filter("pure").sort("both", descending=True)
    )  # fmt: skip
    matched = both.filter("covered")
    yearly = world.streams.filter(pl.col("cadence") == "yearly").select("entity", pl.col("stream").alias("planted"), pl.lit(True).alias("yearly"))
    minimum = planted.join(yearly, on=["entity", "planted"], how="left").filter(
        pl.col("planted_rows") >= pl.when("yearly").then(2).otherwise(3)
    )
    found = minimum.join(matched.select("entity", "planted").unique(), on=["entity", "planted"], how="semi")
    missed = minimum.join(matched.select("entity", "planted").unique(), on=["entity", "planted"], how="anti")
    right = matched["said"].n_unique()
    wrong = table.join(matched.select(pl.col("said").alias("stream").cast(pl.UInt32)).unique(), on="stream", how="anti")
    return Score(said=len(table), right=right, planted=len(minimum), found=len(found)), wrong, missed


def months_seen(world: World) -> float:
    """Entity-months of what was seen."""
    return float(world.entities["months"].sum())


def score_rises(world: World, rows: pl.DataFrame, said: pl.DataFrame) -> tuple[Score, pl.DataFrame]:
    """Rises said against planted ones of which two charges before and one after were seen."""
    planted = (
        world.streams.explode("rises").drop_nulls("rises").filter(pl.col("kind") == "expense").select("entity", "stream", pl.col("rises").alias("rise"))
        .join(rows.filter(pl.col("stream").is_not_null()).select("entity", "stream", "day", "cents"), on=["entity", "stream"])
        .with_columns(pl.col("rise").to_physical())
        .group_by("entity", "stream", "rise")
        .agg((pl.col("day") < pl.col("rise") - 10).sum().alias("before"), (pl.col("day") >= pl.col("rise") - 10).sum().alias("after"))
        .filter((pl.col("before") >= 2) & (pl.col("after") >= 1))
    )  # fmt: skip
    at = said.with_row_index("said").join(rows.select("row", "entity", pl.col("stream").alias("planted")), left_on="first_new", right_on="row")
    both = at.join(planted, left_on=["entity", "planted"], right_on=["entity", "stream"]).filter((pl.col("day") - pl.col("rise")).abs() <= 12)
    return (
        Score(said=len(said), right=both["said"].n_unique(), planted=len(planted), found=both.select("entity", "planted", "rise").n_unique()),
        at.join(both.select("said").unique(), on="said", how="anti"),
    )


def score_duplicates(world: World, rows: pl.DataFrame, said: pl.DataFrame) -> tuple[Score, pl.DataFrame, pl.DataFrame]:
    """Duplicates said against planted ones that nobody reversed and of which it may be told."""
    today = world.as_of.toordinal() - 719163
    copies = rows.filter(pl.col("duplicate_of").is_not_null()).select("entity", "row", "uid", "duplicate_of", "day", "cents")
    refunds = rows.filter(pl.col("refund_of").is_not_null()).select("entity", pl.col("refund_of").alias("uid"), pl.col("day").alias("back"))
    reversed_ = copies.join(refunds, on=["entity", "uid"]).filter(pl.col("back") <= pl.col("day") + 15)
    planted = copies.filter((pl.col("day") <= today - 3) & (pl.col("cents") <= -2000)).join(reversed_, on="row", how="anti")
    pairs = planted.join(rows.select("entity", pl.col("uid").alias("duplicate_of"), pl.col("row").alias("original")), on=["entity", "duplicate_of"], how="left")
    right = said.filter(pl.col("row").is_in(pairs["row"]) | pl.col("twin").is_in(pairs["row"]))
    found = pairs.filter(pl.col("row").is_in(pl.concat([said["row"], said["twin"]])))
    return (Score(said=len(said), right=len(right), planted=len(planted), found=len(found)),
            said.join(right, on="row", how="anti"), pairs.join(found, on="row", how="anti"))  # fmt: skip


def score_unusual(rows: pl.DataFrame, said: pl.DataFrame) -> tuple[Score, pl.DataFrame]:
    """Unusual charges said against planted ones at payees with as many rows as the rule asks for."""
    counted = rows.filter((pl.col("cents") < 0) & (pl.col("stream_of") < 0)).group_by("entity", "payee").len("n")
    planted = rows.filter("unusual").join(counted.filter(pl.col("n") >= PAYEE_ROWS), on=["entity", "payee"], how="semi")
    right = said.filter(pl.col("row").is_in(planted["row"]))
    return Score(said=len(said), right=len(right), planted=len(planted), found=len(right)), said.join(right, on="row", how="anti")
