"""A part of `bench finance`: the whole catalogue of insights over many entities, beside plain pandas."""

import resource
import time
from datetime import date, datetime
from datetime import time as time_of_day
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.domain.finance.values import ZONE
from kordant_jobs.domain.insights.assess import assess
from kordant_jobs.domain.insights.books import Books
from kordant_jobs.domain.insights.categories import category_expression
from kordant_jobs.domain.insights.forecast import Corrections, backtest, corrections
from kordant_jobs.jobs.insights_refresh import service
from kordant_jobs.lab.figures import Figure
from kordant_jobs.lab.households.books import books_of
from kordant_jobs.lab.households.generator import generate
from kordant_jobs.postgres import database
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate

ROWS_AN_ENTITY = 100
SEED_ENTITIES, MONTHS = 500, 6
SHARD = 5_000
PEER_ENTITIES = 300


def many_books(entities: int, *, first: int = 0) -> tuple[Books, date]:
    """Books of entities numbered from `first`: 500 made ones again and again, about 100 rows of six months each."""
    made, today = _made_once()
    return _tiled(made, entities, first), today


@cache
def _made_once() -> tuple[Books, date]:
    world = generate(1, entities=SEED_ENTITIES, months=MONTHS)
    books = books_of(world)
    chance = pl.col("id").hash(7) / 2**64
    kept = books.rows.with_columns(chance.alias("chance")).sort("entity", "chance")
    kept = (
        kept.filter(pl.int_range(pl.len()).over("entity") < ROWS_AN_ENTITY).drop("chance").sort("entity", "day", "id")
    )
    return Books(rows=kept, accounts=books.accounts), world.as_of


def _tiled(books: Books, entities: int, first: int) -> Books:
    copies = -(-entities // SEED_ENTITIES)
    accounts = len(books.accounts)

    def again(frame: pl.DataFrame) -> pl.DataFrame:
        return pl.concat(
            [
                frame.with_columns(pl.col("entity") + copy * SEED_ENTITIES + first, pl.col("account") + copy * accounts)
                for copy in range(copies)
            ]
        ).filter(pl.col("entity") < first + entities)

    return Books(rows=again(books.rows), accounts=again(books.accounts))


def by_pandas(books: Books) -> int:
    """The code one writes first: pandas, an entity at a time; the easier half of the catalogue. Returns findings."""
    rows = pd.DataFrame(
        books.rows.with_columns(category_expression()).filter(~pl.col("is_own")).to_dict(as_series=False)
    )
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


def _ids(kind: int, column: str | pl.Expr) -> pl.Expr:
    """An id made from a number."""
    number = (pl.col(column) if isinstance(column, str) else column).cast(pl.String).str.zfill(12)
    return pl.concat_str(pl.lit(f"0000000{kind}-0000-4000-8000-"), number)


def fill_many(connection: Connection, books: Books, today: date) -> None:
    """Write tiled books into the tables of banks, without anything sealed."""
    rows, accounts = books.rows, books.accounts
    entities = accounts.select(_ids(1, "entity").alias("id")).unique()
    key = pl.lit(b"1234567890123456").alias
    write_frame(connection, entities.with_columns(pl.lit("household").alias("kind")), "kordant.entities")
    write_frame(
        connection,
        entities.select(pl.col("id").alias("entity_id"), pl.lit(1).alias("data_version")),
        "kordant.entity_versions",
    )
    write_frame(
        connection,
        accounts.select(
            _ids(2, "account").alias("id"), _ids(1, "entity").alias("entity_id"), "kind",
            pl.lit("BRL").alias("currency"),
            pl.lit("bench").alias("institution"), _ids(2, "account").cast(pl.Binary).alias("identity_index"),
        ),
        "kordant.bank_accounts",
    )  # fmt: skip
    write_frame(
        connection,
        accounts.select(
            _ids(2, "account").alias("account_id"), pl.lit("current").alias("kind"),
            pl.lit(datetime.combine(today, time_of_day(23), ZONE)).alias("as_of_at"),
            (pl.col("balance") / 100).alias("amount"), pl.lit("BRL").alias("currency"),
        ),
        "kordant.bank_balances",
    )  # fmt: skip
    number = pl.col("account").cast(pl.Int64) * 10_000 + pl.int_range(pl.len()).over("account")
    write_frame(
        connection,
        rows.select(
            _ids(3, number).alias("id"), _ids(2, "account").alias("account_id"), _ids(1, "entity").alias("entity_id"),
            _ids(3, number).cast(pl.Binary).alias("alias"), "state",
            pl.from_epoch("day", time_unit="d").alias("booked_on"), (pl.col("cents") / 100).alias("amount"),
            pl.lit("BRL").alias("currency"), "type", pl.col("mcc").cast(pl.String),
            pl.col("payee").alias("merchant_key"), pl.col("no").alias("instalment_no"),
            pl.col("of").alias("instalment_of"),
            pl.when("is_own").then(pl.lit("own")).alias("transfer_status"), key("content_hash"), key("extra_hash"),
        ),
        "kordant.transactions",
    )  # fmt: skip


def measure_stored(entities: int) -> list[Figure]:
    """The same over real tables: read by COPY, assessed, written; then again for the hundredth that changed."""
    with TemporaryDirectory(prefix="kordant-bench-") as folder, EmbeddedPostgres(Path(folder) / "postgres") as postgres:
        db = database.create_engine(postgres.url("postgres"))
        migrate.upgrade(db)
        today = many_books(10)[1]
        for first in range(0, entities, SHARD):
            with db.begin() as connection:
                fill_many(connection, _numbered(min(SHARD, entities - first), first), today)
        with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE kordant.transactions, kordant.bank_accounts"))
        now = datetime.combine(today, time_of_day(12), ZONE)
        at = time.perf_counter()
        service.correct(db=db, now=now)
        corrected = time.perf_counter() - at
        full, rows = _refresh(db, now)
        with db.begin() as connection:
            connection.execute(
                sa.text("UPDATE kordant.entity_versions SET data_version = 2 WHERE entity_id::text LIKE '%00'")
            )
        some, again = _refresh(db, now)
        db.dispose()
    return [
        Figure(key="corrections_s", value=corrected, unit="s", goal=None),
        Figure(key="stored_1e5_s", value=full / entities * 1e5, unit="s", goal=180),
        Figure(key="stored_entities", value=rows, unit="entities", goal=None),
        Figure(key="stale_1_percent_1e5_s", value=some / entities * 1e5, unit="s", goal=5),
        Figure(key="stale_entities", value=again, unit="entities", goal=None),
    ]


def _numbered(entities: int, first: int) -> Books:
    books, _ = many_books(entities, first=first)
    shift = first * 10
    return Books(
        rows=books.rows.with_columns(pl.col("account") + shift),
        accounts=books.accounts.with_columns(pl.col("account") + shift),
    )


def _refresh(db: Engine, now: datetime) -> tuple[float, int]:
    at = time.perf_counter()
    plan = service.plan(named=(), force=False, db=db, now=now)
    done = [service.refresh(plan, chunk, db=db, progress=lambda count, what: None) for chunk in plan.chunks]
    return time.perf_counter() - at, sum(one.entities for one in done)


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
