"""Counts rows whose term is over, and deletes them by ranges of the heap: in short transactions that hardly wait.

A range of pages is read once and its old rows are deleted in place, which is several times faster than selecting some
thousand rows by id repeatedly (`bench cleanup` has both). A range in which another session holds a row is tried again
without such rows: locking each row first costs two to three times as much, and hardly any is ever held. The next run
deletes the rows that were skipped, and those that an update moved behind the current position.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from kordant_jobs.postgres.schema import SCHEMA
from kordant_jobs.store.retention.holds import held_sql
from kordant_jobs.store.retention.kinds import TableKind

LOCK_TIMEOUT, LAST_LOCK_TIMEOUT = "50ms", "1s"
"""The time for which the deletion of a range waits for a lock before the range is tried again without locked rows;
and then, for locks of rows that foreign keys delete with it."""
AIM_S = 0.2
"""The target duration of a batch in seconds; the size of the next batch is adjusted to it."""
FIRST_PAGES, PAGES_MAX = 64, 1024
FIRST_ROWS, ROWS_MAX = 1_000, 20_000
"""The rows of a batch of a drained table: at first, and at most."""
PARENTS = 200
"""The parent rows whose drained tables are emptied together."""
VACUUM_ABOVE = 0.1
"""The share of deleted rows in a table above which it is vacuumed at once."""

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

_DELETE_UNLOCKED = """
DELETE FROM {table} t
WHERE t.ctid >= cast(:first AS tid) AND t.ctid < cast(:last AS tid) AND {clock} < :cutoff AND {where} AND NOT {held}
"""

_CHILD = ", child{number} AS (DELETE FROM {table} c USING gone WHERE c.{column} = gone.id)"

_PARENTS = "SELECT t.id FROM {table} t WHERE {clock} < :cutoff AND {where} AND NOT {held}"
_DRAIN = """
DELETE FROM {child} WHERE ctid = ANY(ARRAY(
    SELECT c.ctid FROM {table} t JOIN {child} c ON c.{column} = t.id
    WHERE t.id = ANY(cast(:parents AS uuid[])) AND {clock} < :cutoff AND {where} AND NOT {held}
    LIMIT :rows FOR UPDATE SKIP LOCKED
))
"""
_ALONG = """
SELECT count(*) FROM {table} t JOIN {child} c ON c.{column} = t.id WHERE {clock} < :cutoff AND {where} AND NOT {held}
"""

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
    """The numbers of rows of one kind: those whose term is over, those among them on hold (not in `rows`), and all.
    `along`: rows of other tables that are deleted with them."""

    rows: int
    along: int = 0
    held: int = 0
    total: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The rows that one transaction deleted, with those of drained tables (`along`), and how long its locks were
    held."""

    rows: int
    seconds: float
    along: int = 0


Note = Callable[[Connection, int, int], None]
"""Called in each batch's own transaction with the numbers of rows that it deleted, and of rows of drained tables."""


def _keep_no_record(connection: Connection, rows: int, along: int) -> None:
    """Does nothing; for callers that keep no record."""


def statement_of(kind: TableKind) -> str:
    """The deletion as SQL; a plan's digest is made from it."""
    children = "".join(
        _CHILD.format(number=number, table=f"{SCHEMA}.{table}", column=column)
        for number, (table, column) in enumerate(kind.children)
    )
    return _DELETE.format(**_of(kind), children=children)


def _of(kind: TableKind) -> dict[str, str]:
    """The values of the kind for the statements above."""
    held = held_sql(kind.kind, kind.table, owner=kind.owner, clock=kind.clock)
    return {"table": f"{SCHEMA}.{kind.table}", "clock": kind.clock, "where": kind.where, "held": held}


def count(connection: Connection, kind: TableKind, cutoff: datetime) -> Old:
    """Count the rows that a deletion would delete, and those that it would keep."""
    row = connection.execute(sa.text(_COUNT.format(**_of(kind))), {"cutoff": cutoff}).one()
    along = 0
    for table, column in (*kind.children, *kind.drained) if row[0] else ():
        query = _ALONG.format(**_of(kind), child=f"{SCHEMA}.{table}", column=column)
        along += connection.execute(sa.text(query), {"cutoff": cutoff}).scalar_one()
    return Old(rows=row[0], along=along, held=row[1], total=row[2], bytes=int(row[3]), oldest=row[4], newest=row[5])


def unindexed_references(connection: Connection, table: str) -> list[str]:
    """Foreign keys to a table that lack an index: a deletion would read the whole referencing table for every row."""
    return list(connection.execute(_UNINDEXED, {"table": f"{SCHEMA}.{table}"}).scalars())


def delete(
    db: Engine,
    kind: TableKind,
    cutoff: datetime,
    *,
    note: Note = _keep_no_record,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Batch]:
    """Delete rows older than `cutoff`, a batch at a time. Safe to interrupt and to repeat."""
    yield from _drain(db, kind, cutoff, note=note, clock=clock)
    skipping = (sa.text(statement_of(kind)), LAST_LOCK_TIMEOUT)
    unlocked = (sa.text(_DELETE_UNLOCKED.format(**_of(kind))), LOCK_TIMEOUT)
    ways = [skipping] if kind.children else [unlocked, skipping]
    with db.connect() as connection:
        pages = connection.execute(sa.text(f"SELECT pg_relation_size('{SCHEMA}.{kind.table}') / 8192")).scalar_one()
    first, step = 0, FIRST_PAGES
    while first < pages:
        last = min(first + step, pages)
        given = {"first": f"({first},0)", "last": f"({last},0)", "cutoff": cutoff}
        began = clock()
        rows = _delete_range(db, ways, given, note)
        took = clock() - began
        yield Batch(rows=rows, seconds=took)
        first, step = last, _next(step, took, PAGES_MAX)


def _delete_range(
    db: Engine, ways: Sequence[tuple[sa.TextClause, str]], given: Mapping[str, object], note: Note
) -> int:
    """Delete the old rows of a range of pages, in the first way (statement, lock time-out) that no lock stops."""
    (text, lock_timeout), *others = ways
    try:
        with _short(db, lock_timeout) as connection:
            rows = connection.execute(text, given).rowcount
            if rows:
                note(connection, rows, 0)
    except OperationalError as error:
        if not others or not isinstance(error.orig, LockNotAvailable):
            raise
        return _delete_range(db, others, given, note)
    return rows


def _drain(
    db: Engine, kind: TableKind, cutoff: datetime, *, note: Note, clock: Callable[[], float]
) -> Generator[Batch]:
    """Empty the drained tables of rows that belong to old rows: a cascade of all of them would take too long."""
    if not kind.drained:
        return
    with db.connect() as connection:
        found = connection.execute(sa.text(_PARENTS.format(**_of(kind))), {"cutoff": cutoff}).scalars()
        parents = [str(one) for one in found]
    step = FIRST_ROWS
    for start in range(0, len(parents), PARENTS):
        for table, column in kind.drained:
            text = sa.text(_DRAIN.format(**_of(kind), child=f"{SCHEMA}.{table}", column=column))
            is_more = True
            while is_more:
                given = {"parents": parents[start : start + PARENTS], "cutoff": cutoff, "rows": step}
                began = clock()
                with _short(db, LAST_LOCK_TIMEOUT) as connection:
                    along = connection.execute(text, given).rowcount
                    if along:
                        note(connection, 0, along)
                took, is_more = clock() - began, along == step
                if along:
                    yield Batch(rows=0, along=along, seconds=took)
                    step = _next(step, took, ROWS_MAX)


@contextmanager
def _short(db: Engine, lock_timeout: str) -> Iterator[Connection]:
    """A transaction that is aborted when it waits for a lock longer than `lock_timeout`, or takes long."""
    with db.begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{lock_timeout}'; SET LOCAL statement_timeout = '10s'"))
        yield connection


def _next(step: int, took: float, most: int) -> int:
    """The size of the next batch, by how long one of `step` took."""
    return int(min(max(step * AIM_S / max(took, 0.001), 1), step * 2, most))


def make_free(db: Engine, kind: TableKind) -> None:
    """Vacuum the table, so that the space of deleted rows is used again. Other transactions on it have precedence."""
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"VACUUM (SKIP_LOCKED, ANALYZE) {SCHEMA}.{kind.table}"))
