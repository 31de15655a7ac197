"""`bench insights`: the whole catalogue over many entities, beside plain pandas an entity at a time, in the same call."""

from __future__ import annotations

import resource
import time
from datetime import date

import numpy as np
import pandas as pd
import polars as pl

from kordant_jobs.domain.insights.assess import Books, assess
from kordant_jobs.domain.insights.backtest import backtest
from kordant_jobs.domain.insights.categories import category_expression
from kordant_jobs.domain.insights.forecast import Corrections, corrections
from kordant_jobs.lab.bench.figures import Figure
from kordant_jobs.lab.households.books import books_of
from kordant_jobs.lab.households.generator import generate

ROWS_AN_ENTITY = 100
SEED_ENTITIES, MONTHS = 500, 6
SHARD = 5_000
PEER_ENTITIES = 300


def many_books(entities: int, *, first: int = 0) -> tuple[Books, date]:
    """Books of entities numbered from `first`: 500 made ones again and again, each with about 100 rows of six months.
    What repeats is kept whole; of the rest so many rows as fit."""
    world = generate(1, entities=SEED_ENTITIES, months=MONTHS)
    books = books_of(world)
    chance = pl.col("id").hash(7) / 2**64
    kept = books.rows.with_columns(chance.alias("chance")).sort("entity", "chance")
    kept = (
        kept.filter(pl.int_range(pl.len()).over("entity") < ROWS_AN_ENTITY).drop("chance").sort("entity", "day", "id")
    )
    return _tiled(Books(rows=kept, accounts=books.accounts), entities, first), world.as_of


def _tiled(books: Books, entities: int, first: int) -> Books:
    copies = -(-entities // SEED_ENTITIES)
    accounts = int(books.accounts["account"].max() or 0) + 1  # type: ignore[call-overload]

    def again(frame: pl.DataFrame) -> pl.DataFrame:
        return pl.concat(
            [
                frame.with_columns(pl.col("entity") + copy * SEED_ENTITIES + first, pl.col("account") + copy * accounts)
                for copy in range(copies)
            ]
        ).filter(pl.col("entity") < first + entities)

    return Books(rows=again(books.rows), accounts=again(books.accounts))


def by_pandas(books: Books) -> int:
    """What somebody writes first: pandas, an entity at a time; the easier half of the catalogue. Returns findings."""
    rows = books.rows.with_columns(category_expression()).filter(~pl.col("is_own")).to_pandas()
    rows["month"] = (pd.to_datetime("1970-01-01") + pd.to_timedelta(rows["day"], unit="D")).dt.to_period("M")
    findings = 0
    for _, mine in rows.groupby("entity"):
        findings += len(mine.groupby(["month", "category"])["cents"].agg(["sum", "count"]))
        for _, group in mine.groupby(["account", "payee"]):
            ordered = group.sort_values("day")
            if len(ordered) >= 3:
                gaps = ordered["day"].diff().dropna()
                steps = ordered["cents"].abs().pct_change().abs()
                findings += bool(gaps.std() <= 3 and steps.median() <= 0.08)
            if len(ordered) >= 8:
                logs = np.log(ordered["cents"].abs())
                spread = max(1.4826 * (logs - logs.median()).abs().median(), 0.12)
                findings += int(((logs - logs.median()) / spread >= 4).sum())
            twice = ordered["cents"].eq(ordered["cents"].shift()) & ordered["day"].diff().le(1)
            findings += int(twice.sum())
    return findings


def measure(entities: int) -> list[Figure]:
    """Seconds of a full refresh in memory, and how many times faster than pandas, by CPU an entity."""
    sample, today = many_books(PEER_ENTITIES)
    known: Corrections = corrections(backtest(many_books(3_000)[0], today=today))
    assess(sample, today=today, corrections=known)  # compiled, read from the cache
    began, wall, rows, found = time.process_time(), time.perf_counter(), 0, 0
    made = 0.0
    for first in range(0, entities, SHARD):
        at, cpu = time.perf_counter(), time.process_time()
        books, _ = many_books(min(SHARD, entities - first), first=first)
        made, wall = made + time.process_time() - cpu, wall + time.perf_counter() - at
        rows += len(books.rows)
        found += len(assess(books, today=today, corrections=known))
    ours = time.process_time() - began - made
    seconds = time.perf_counter() - wall
    peer = []
    for _ in range(3):
        cpu = time.process_time()
        by_pandas(sample)
        peer.append(time.process_time() - cpu)
    theirs = sorted(peer)[1] / PEER_ENTITIES * entities
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure(key="refresh_1e5_s", value=seconds / entities * 1e5, unit="s", goal=180),
        Figure(
            key="refresh_ratio", value=theirs / ours, unit="times", goal=20, direction="min",
            peer="pandas, an entity at a time", peer_value=1.0,
        ),
        Figure(key="refresh_cpu_s", value=ours, unit="s", goal=None),
        Figure(key="refresh_rows", value=rows, unit="rows", goal=None),
        Figure(key="insights", value=found, unit="insights", goal=None),
        Figure(key="peak_mb", value=peak, unit="MB", goal=2048),
    ]  # fmt: skip
