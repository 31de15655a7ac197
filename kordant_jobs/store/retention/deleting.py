"""Counts rows whose time is over, and deletes them by ranges of the heap: a short transaction each, nothing waited for.

A range of pages is read once and its old rows deleted where they lie, which is several times faster than picking some
thousand rows by id again and again (`bench cleanup` has both). What another session holds is left, and so is what an
update moves behind the place that was reached: the next run meets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.postgres.schema import SCHEMA
from kordant_jobs.store.retention.holds import held_sql
from kordant_jobs.store.retention.kinds import TableKind

AIM_S = 0.2
"""How long a batch should take; the next one is made longer or shorter by it."""
FIRST_PAGES, PAGES_MAX = 64, 1024
VACUUM_ABOVE = 0.1
"""The share of a table that was deleted from which on its space is made free at once."""

_COUNT = """
SELECT count(*) FILTER (WHERE over AND NOT held), count(*) FILTER (WHERE over AND held), count(*),
       coalesce(sum(size) FILTER (WHERE over AND NOT held), 0), min(clock) FILTER (WHERE over AND NOT held),
       max(clock) FILTER (WHERE over AND NOT held)
FROM (SELECT {clock} AS clock, x.over, x.over AND {held} AS held, CASE WHEN x.over THEN pg_column_size(t.*) END AS size
      FROM {table} t, LATERAL (SELECT coalesce({clock} < :cutoff AND {where}, false)) x(over)) rows
"""

_DELETE = """
WITH gone AS MATERIALIZED (
    SELECT t.ctid AS place, t.* FROM {table} t
    WHERE t.ctid >= cast(:first AS tid) AND t.ctid < cast(:last AS tid)
      AND {clock} < :cutoff AND {where} AND NOT {held}
    FOR UPDATE OF t SKIP LOCKED
){children}
DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT place FROM gone))
"""

_CHILD = ", child{number} AS (DELETE FROM {table} c USING gone WHERE c.{column} = gone.id)"

_UNINDEXED = sa.text("""
SELECT c.conrelid::regclass::text || ' (' || a.attname || ')' FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.contype = 'f' AND c.confrelid = cast(:table AS regclass)
  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1]
                  AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) = '(' || a.attname || ' IS NOT NULL)'))
ORDER BY 1
""")


@dataclass(frozen=True, kw_only=True)
class Old:
    """Rows of one kind: those whose time is over, those of them on hold (not in `rows`), and all."""

    rows: int
    held: int = 0
    total: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one transaction deleted, and how long its locks were held."""

    rows: int
    seconds: float


def statement_of(kind: TableKind) -> str:
    """The deletion as SQL; what a plan's digest is made of."""
    held = held_sql(kind.kind, kind.table, owner=kind.owner, clock=kind.clock)
    children = "".join(
        _CHILD.format(number=number, table=f"{SCHEMA}.{table}", column=column)
        for number, (table, column) in enumerate(kind.children)
    )
    table = f"{SCHEMA}.{kind.table}"
    return _DELETE.format(table=table, clock=kind.clock, where=kind.where, held=held, children=children)


def count(connection: Connection, kind: TableKind, cutoff: datetime) -> Old:
    """What a deletion would take, and what it would leave."""
    held = held_sql(kind.kind, kind.table, owner=kind.owner, clock=kind.clock)
    query = _COUNT.format(table=f"{SCHEMA}.{kind.table}", clock=kind.clock, where=kind.where, held=held)
    row = connection.execute(sa.text(query), {"cutoff": cutoff}).one()
    return Old(rows=row[0], held=row[1], total=row[2], bytes=int(row[3]), oldest=row[4], newest=row[5])


def unindexed_references(connection: Connection, table: str) -> list[str]:
    """Foreign keys onto a table without an index: a deletion would read their whole table for every row."""
    return list(connection.execute(_UNINDEXED, {"table": f"{SCHEMA}.{table}"}).scalars())


def delete(
    db: Engine, kind: TableKind, cutoff: datetime, *, clock: Callable[[], float] = time.monotonic
) -> Generator[Batch]:
    """Delete what is older than `cutoff`, a batch at a time. Safe to break off and to repeat."""
    text = sa.text(statement_of(kind))
    with db.connect() as connection:
        pages = connection.execute(sa.text(f"SELECT pg_relation_size('{SCHEMA}.{kind.table}') / 8192")).scalar_one()
    first, step = 0, FIRST_PAGES
    while first < pages:
        last = min(first + step, pages)
        given = {"first": f"({first},0)", "last": f"({last},0)", "cutoff": cutoff}
        began = clock()
        with db.begin() as connection:
            connection.execute(sa.text("SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '10s'"))
            rows = connection.execute(text, given).rowcount
        took = clock() - began
        yield Batch(rows=rows, seconds=took)
        first, step = last, int(min(max(step * AIM_S / max(took, 0.001), 1), step * 2, PAGES_MAX))


def make_free(db: Engine, kind: TableKind) -> None:
    """Let the table use the space of deleted rows again. Somebody else's work on it goes first."""
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"VACUUM (SKIP_LOCKED, ANALYZE) {SCHEMA}.{kind.table}"))
