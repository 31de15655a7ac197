"""Figures of the insights on invented accounts against their truth.

Nothing of the truth is given to the rules: transfers are paired by lines and amounts, payees and categories read from
the lines, salaries found.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from kordant_jobs.domain.insights.calendar import days_of
from kordant_jobs.domain.insights.categories import category_expression
from kordant_jobs.domain.insights.findings import PAYEE_ROWS, cash_flow, duplicates, price_rises, unusual
from kordant_jobs.domain.insights.streams import CADENCES, Found, find_streams
from kordant_jobs.lab.households.generator import World, generate
from kordant_jobs.lab.households.judge_forecast import judge_forecast
from kordant_jobs.lab.households.written import as_written

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
        """The share of what was said that is right."""
        return self.right / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        """The share of what was planted that was found."""
        return self.found / self.planted if self.planted else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(said=self.said + other.said, right=self.right + other.right,
                     planted=self.planted + other.planted, found=self.found + other.found)  # fmt: skip


def streams_frame(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that take part in streams."""
    return rows.filter(
        ~pl.col("is_own") & pl.col("no").is_null() & (pl.col("iof_of").is_null()) & (pl.col("state") == "posted")
    ).with_columns(pl.col("day").to_physical().alias("day"), pl.col("name").alias("payee"))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A score, with the rows that were found wrongly and those that were missed."""

    score: Score
    wrong: pl.DataFrame
    missed: pl.DataFrame
    matched: pl.DataFrame
    """Of streams only: `stream` and the `planted` one that it is."""


def score_streams(world: World, rows: pl.DataFrame, found: Found) -> Judged:
    """Streams said against those planted: ≥ 80 % of a said one's rows belong to the stream, ≥ 50 % of it covered."""
    table = found.table
    marked = rows.with_columns(pl.Series("said", found.stream_of)).rename({"stream": "planted"})
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
    yearly = world.streams.filter(pl.col("cadence") == "yearly").select(
        "entity", pl.col("stream").alias("planted"), pl.lit(True).alias("yearly")
    )
    minimum = planted.join(yearly, on=["entity", "planted"], how="left").filter(
        pl.col("planted_rows") >= pl.when("yearly").then(2).otherwise(3)
    )
    matching = minimum.join(matched.select("entity", "planted").unique(), on=["entity", "planted"], how="semi")
    missed = minimum.join(matched.select("entity", "planted").unique(), on=["entity", "planted"], how="anti")
    right = matched["said"].n_unique()
    wrong = table.join(matched.select(pl.col("said").alias("stream").cast(pl.UInt32)).unique(), on="stream", how="anti")
    score = Score(said=len(table), right=right, planted=len(minimum), found=len(matching))
    pairs = matched.unique("said").select(pl.col("said").cast(pl.UInt32).alias("stream"), "planted")
    return Judged(score=score, wrong=wrong, missed=missed, matched=pairs)


def months_seen(world: World) -> float:
    """Entity-months of what was seen."""
    return float(world.entities["months"].sum())


def score_rises(world: World, rows: pl.DataFrame, said: pl.DataFrame) -> Judged:
    """Rises said against planted ones of which two charges before and one after were seen."""
    planted = (
        world.streams.explode("rises").drop_nulls("rises").filter(pl.col("kind") == "expense").select("entity", "stream", pl.col("rises").alias("rise"))
        .join(rows.filter(pl.col("stream").is_not_null()).select("entity", "stream", "day", "cents"), on=["entity", "stream"])
        .with_columns(pl.col("rise").to_physical())
        .group_by("entity", "stream", "rise")
        .agg((pl.col("day") < pl.col("rise") - 10).sum().alias("before"), (pl.col("day") >= pl.col("rise") - 10).sum().alias("after"))
        .filter((pl.col("before") >= 2) & (pl.col("after") >= 1))
    )  # fmt: skip
    at = said.with_row_index("said").join(
        rows.select("row", "entity", pl.col("stream").alias("planted")), left_on="first_new", right_on="row"
    )
    both = at.join(planted, left_on=["entity", "planted"], right_on=["entity", "stream"]).filter(
        (pl.col("day") - pl.col("rise")).abs() <= 12
    )
    score = Score(
        said=len(said),
        right=both["said"].n_unique(),
        planted=len(planted),
        found=both.select("entity", "planted", "rise").n_unique(),
    )
    return Judged(
        score=score,
        wrong=at.join(both.select("said").unique(), on="said", how="anti"),
        missed=planted[:0],
        matched=both,
    )


def score_duplicates(world: World, rows: pl.DataFrame, said: pl.DataFrame) -> Judged:
    """Reported duplicates against planted ones that were not reversed and that may be reported."""
    today = days_of(world.as_of)
    copies = rows.filter(pl.col("duplicate_of").is_not_null()).select(
        "entity", "row", "uid", "duplicate_of", "day", "cents"
    )
    refunds = rows.filter(pl.col("refund_of").is_not_null()).select(
        "entity", pl.col("refund_of").alias("uid"), pl.col("day").alias("back")
    )
    reversed_ = copies.join(refunds, on=["entity", "uid"]).filter(pl.col("back") <= pl.col("day") + 15)
    planted = copies.filter((pl.col("day") <= today - 3) & (pl.col("cents") <= -2000)).join(
        reversed_, on="row", how="anti"
    )
    pairs = planted.join(
        rows.select("entity", pl.col("uid").alias("duplicate_of"), pl.col("row").alias("original")),
        on=["entity", "duplicate_of"],
        how="left",
    )
    right = said.filter(pl.col("row").is_in(pairs["row"].implode()) | pl.col("twin").is_in(pairs["row"].implode()))
    found = pairs.filter(pl.col("row").is_in(pl.concat([said["row"], said["twin"]]).implode()))
    score = Score(said=len(said), right=len(right), planted=len(planted), found=len(found))
    return Judged(
        score=score,
        wrong=said.join(right, on="row", how="anti"),
        missed=pairs.join(found, on="row", how="anti"),
        matched=right,
    )


def score_unusual(rows: pl.DataFrame, said: pl.DataFrame) -> Judged:
    """Unusual charges said against planted ones at payees with as many rows as the rule asks for."""
    counted = rows.filter((pl.col("cents") < 0) & (pl.col("stream_of") < 0)).group_by("entity", "payee").len("n")
    planted = rows.filter("unusual").join(counted.filter(pl.col("n") >= PAYEE_ROWS), on=["entity", "payee"], how="semi")
    right = said.filter(pl.col("row").is_in(planted["row"].implode()))
    score = Score(said=len(said), right=len(right), planted=len(planted), found=len(right))
    return Judged(
        score=score,
        wrong=said.join(right, on="row", how="anti"),
        missed=planted.join(right, on="row", how="anti"),
        matched=right,
    )


def score_cash_flow(rows: pl.DataFrame) -> Score:
    """Months of entities whose income and spending are right to the cent, by the truth's own transfers and refunds."""
    physical = pl.col("day").to_physical()
    ours = rows.filter(~pl.col("is_own")).with_columns(physical, (pl.col("type") == "reversal").alias("is_refund"))
    truth = rows.filter(pl.col("transfer").is_null()).with_columns(
        physical, pl.col("refund_of").is_not_null().alias("is_refund")
    )
    by = ["entity", "month"]
    said = cash_flow(ours.with_columns(pl.lit("all").alias("category"))).select(*by, "inflow", "outflow")
    true = cash_flow(truth.with_columns(pl.lit("all").alias("category"))).select(*by, "inflow", "outflow")
    right = len(said.join(true, on=[*by, "inflow", "outflow"], how="semi"))
    return Score(said=len(said), right=right, planted=len(true), found=right)


def calibration_error(confidence: pl.Series, is_right: pl.Series) -> float:
    """Mean distance between how sure was said and how often it was right, over tenths, weighted by their size."""
    tenths = pl.DataFrame({"said": confidence, "right": is_right}).group_by((pl.col("said") * 10).floor()).agg(
        pl.len().alias("n"), (pl.col("said").mean() - pl.col("right").mean()).abs().alias("off")
    )  # fmt: skip
    return float((tenths["n"] * tenths["off"]).sum() / max(int(tenths["n"].sum()), 1))


def _share(flags: pl.Series) -> float:
    return int(flags.sum()) / max(len(flags), 1)


def judge(seed: int, entities: int = 150) -> dict[str, float]:
    """Figures of one seed."""
    world = generate(seed, entities=entities)
    written = as_written(world)
    months, today = months_seen(world), days_of(world.as_of)
    rows = streams_frame(written)
    found = find_streams(rows)
    streams = score_streams(world, rows, found)
    rows = rows.with_columns(pl.Series("stream_of", found.stream_of), pl.col("category").alias("true_category"))
    rows = rows.with_columns(pl.lit(None, dtype=pl.Utf8).alias("category")).with_columns(
        category_expression().alias("category")
    )
    rises = score_rises(
        world, rows, price_rises(rows.filter(pl.col("stream_of") >= 0).drop("stream").rename({"stream_of": "stream"}))
    )
    twice = duplicates(rows, as_of=today)
    doubled = score_duplicates(world, rows, twice)
    odd = score_unusual(rows, unusual(rows.filter(pl.col("type") != "reversal")))
    own, true = written["is_own"], written["transfer"].is_not_null()
    cadences = found.table.join(streams.matched, on="stream").join(
        world.streams.rename({"stream": "planted", "cadence": "true"}), on=["entity", "planted"]
    )
    named = cadences["cadence"].replace_strict(CADENCES, return_dtype=pl.Utf8) == cadences["true"].str.replace(
        "^bank.*", "monthly"
    )
    flow = score_cash_flow(written)
    return judge_forecast(world, written) | {
        "recurring_precision": streams.score.precision, "recurring_recall": streams.score.recall,
        "cadence_right": _share(named),
        "calibration_error": calibration_error(found.table["confidence"], ~found.table["stream"].is_in(streams.wrong["stream"].to_list())),
        "price_rise_precision": rises.score.precision, "price_rise_recall": rises.score.recall,
        "duplicates_precision": doubled.score.precision, "duplicates_recall": doubled.score.recall,
        "duplicate_alerts_per_entity_month": len(twice) / months,
        "unusual_precision": odd.score.precision, "unusual_recall": odd.score.recall,
        "unusual_false_per_entity_month": len(odd.wrong) / months,
        "transfers_precision": int((own & true).sum()) / max(int(own.sum()), 1), "transfers_recall": int((own & true).sum()) / int(true.sum()),
        "cash_flow_months_right": flow.recall,
        "categories_right": _share(rows["category"] == rows["true_category"]),
    }  # fmt: skip
