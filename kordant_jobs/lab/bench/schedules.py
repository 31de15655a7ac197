"""Schedules: how long a tick takes to compute for many subscriptions, and how late the runs of ticks start.

A tick is everything between Dagster's question and our answer: deciding, noting, reading who is due, the run requests.
Lateness is from the tick's moment to the start of its run, idle and behind a thousand queued requests. There is no
peer: Dagster's own schedules know no subscriptions, and their runs start as the engine's bench says.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from rich.status import Status
from sqlalchemy.engine import Engine

from kordant_jobs.catalog import enqueue_many
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.catalog.reports_generate import ReportsGenerate
from kordant_jobs.cli.output import err
from kordant_jobs.cli.serve import build_stack
from kordant_jobs.cli.session import Session, open_session
from kordant_jobs.domain.schedules.cadence import Position, Progress
from kordant_jobs.domain.schedules.rows import Overlap, ScheduleRow
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.queue.enqueue import Item
from kordant_jobs.engine.queue.given import SCHEDULE_TAG
from kordant_jobs.engine.runs import HIDDEN
from kordant_jobs.errors import TransientError
from kordant_jobs.lab.figures import Figure
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.settings import load_settings
from kordant_jobs.store import migrate
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.store.schedules import progress as schedule_progress
from kordant_jobs.triggers import price_list
from kordant_jobs.triggers.orders import run_requests
from kordant_jobs.triggers.tick import RowCheck, decide_starts

KEY = ("darkwatch_scan", "premium")
TICKS = 5
FIRST_WITHIN_S = 300.0
QUEUED = 1_000
EVERY_MINUTE = "* * * * *"
DUE_AT_TAG = f"{HIDDEN}due_at"
TICKING = ("notifications_send", "darkwatch_scan")
"""Jobs that get a row of no tier which strikes every minute."""

_PEOPLE = """
INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, :count);
INSERT INTO kordant.subscriptions (id, subscriber_id, tier, started_at)
SELECT gen_random_uuid(), id, 'premium', now() - random() * interval '3 years' FROM kordant.subscribers;
"""


def measure_tick(server: EmbeddedPostgres, count: int) -> tuple[float, list[str]]:
    """The slowest of some ticks at each of which all of `count` subscriptions are due, and the plan of its question."""
    name = f"bench_{count}"
    admin = sa.create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    db = database.create_engine(server.url(name))
    try:
        migrate.upgrade(db)
        with db.begin() as connection:
            connection.execute(sa.text(_PEOPLE), {"count": count})
            price_list.ensure(connection)
            price_list.change(connection, KEY, {"cron": "0 2 * * *", "spread": False}, by="bench")
            due_slots.place(connection)
        with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
        return _ticks(db)
    finally:
        db.dispose()


def _ticks(db: Engine) -> tuple[float, list[str]]:
    first = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0) + timedelta(days=2)
    with db.begin() as connection:
        start = Progress(until=first - timedelta(hours=1), position=Position(first.date()))
        schedule_progress.save(connection, KEY, start)
    slowest = 0.0
    for day in range(TICKS):
        at = first + timedelta(days=day)
        began = time.perf_counter()
        taken = decide_starts(db, RowCheck(key=KEY, source=f"tick {at}", tick_at=at), busy=lambda: False, now=at)
        asked = [one for start in taken.starts for one in run_requests(taken.row or _never(), start)]
        slowest = max(slowest, time.perf_counter() - began)
        if not asked:
            raise TransientError(f"the tick of {at} started nothing ({taken.reason}): please report this")
    with db.connect() as connection:
        spans = due_slots.span_parameters(KEY, taken.starts[0].start.spans)
        plan = list(connection.execute(sa.text("EXPLAIN (ANALYZE, BUFFERS) " + due_slots.TICK), spans).scalars())
    return slowest, plan


def _never() -> ScheduleRow:
    raise TransientError("a tick gave starts without their row: please report this")


@contextmanager
def _system(folder: Path) -> Iterator[Session]:
    """The whole system on a state folder of its own, with rows that strike every minute."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("KORDANT_")]:
        del os.environ[name]
    os.environ.update({"KORDANT_STATE_DIR": str(folder), "KORDANT_LAUNCHER": "warm"})
    try:
        with open_session(load_settings()) as session:
            with session.db.begin() as connection:
                price_list.ensure(connection)
                for job in TICKING:
                    row = ScheduleRow(job=job, cron=EVERY_MINUTE, overlap=Overlap.ALLOW)
                    scheduler_config.save(connection, row, by="bench")
            with build_stack(session, 3970):
                yield session
    finally:
        os.environ.clear()
        os.environ.update(before)


_STARTED = """
SELECT s.value, d.value AS due_at, r.start_time
FROM dagster.runs r
JOIN dagster.run_tags s ON s.run_id = r.run_id AND s.key = :schedule
JOIN dagster.run_tags d ON d.run_id = r.run_id AND d.key = :due_at
WHERE r.start_time IS NOT NULL
"""


def _lateness(db: Engine, *, since: datetime, until: datetime) -> list[float]:
    """Seconds from tick to the start of its run, for the ticks in a span; a run that did not start counts to now."""
    with db.connect() as connection:
        rows = connection.execute(sa.text(_STARTED), {"schedule": SCHEDULE_TAG, "due_at": DUE_AT_TAG}).all()
    started: dict[datetime, list[float]] = {}
    for row in rows:
        due_at = datetime.fromisoformat(row.due_at.replace("Z", "+00:00"))
        started.setdefault(due_at, []).append(float(row.start_time) - due_at.timestamp())
    tick = since.replace(second=0, microsecond=0) + timedelta(minutes=1)
    found: list[float] = []
    while tick <= until:
        ones = started.get(tick, [])
        found += ones + [time.time() - tick.timestamp()] * (len(TICKING) - len(ones))
        tick += timedelta(minutes=1)
    return found


def _minutes(db: Engine, minutes: int) -> list[float]:
    """Wait for a tick in each of these minutes. Returns their lateness."""
    since = datetime.now(UTC)
    until = since + timedelta(minutes=minutes)
    time.sleep(minutes * 60 + 8)
    return _lateness(db, since=since, until=until)


def measure_lateness(folder: Path, *, minutes: int) -> tuple[list[float], list[float]]:
    """Lateness when idle, and behind a thousand requests that wait in the queue."""
    with _system(folder) as session:
        _wait_for_first(session.db)
        idle = _minutes(session.db, minutes)
        with session.db.begin() as connection:
            enqueue_many(connection, _scans(QUEUED * 7 // 10), requested_by="bench")
            enqueue_many(connection, _reports(QUEUED * 3 // 10), requested_by="bench")
        busy = _minutes(session.db, minutes)
    return idle, busy


def _wait_for_first(db: Engine) -> None:
    """Wait until every row has had a run: the first one fills caches, and does not count."""
    deadline = time.monotonic() + FIRST_WITHIN_S
    rows = sa.text(f"SELECT count(DISTINCT s.value) FROM ({_STARTED}) s")  # noqa: S608 - a constant
    while time.monotonic() < deadline:
        with db.connect() as connection:
            if connection.execute(rows, {"schedule": SCHEDULE_TAG, "due_at": DUE_AT_TAG}).scalar_one() >= len(TICKING):
                return
        time.sleep(1)
    raise TransientError(f"no tick became a run within {FIRST_WITHIN_S:g} s: try again on a quieter machine")


def _scans(count: int) -> list[Item]:
    return [Item(payload=DarkwatchScan(subscription_ids=(uuid4(),))) for _ in range(count)]


def _reports(count: int) -> list[Item]:
    no_one: Payload = ReportsGenerate.model_validate(
        {
            "kind": "on_demand",
            "period_start_on": "2026-01-01",
            "period_end_on": "2026-02-01",
            "subscription_ids": [uuid4()],
        }
    )
    return [Item(payload=no_one) for _ in range(count)]


def measure(*, minutes: int, million: bool) -> list[Figure]:
    """The figures; the query plan of a tick goes to standard error.

    Raises:
        KordantError: a part did not start.
    """
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="kordant-bench-") as temporary, Status("measuring", console=err) as status:
        with EmbeddedPostgres(Path(temporary) / "postgres") as server:
            for count, key, goal in ((100_000, "tick_100k_s", 1.0), (1_000_000, "tick_1m_s", None)):
                if count == 1_000_000 and not million:
                    continue
                status.update(f"computing ticks for {count:,} subscriptions")
                slowest, plan = measure_tick(server, count)
                figures.append(Figure(key=key, value=slowest, unit="s", goal=goal))
                err.print(f"\nhow Postgres answers a tick for {count:,}:", *plan, sep="\n  ", markup=False)
        if minutes:
            status.update(f"waiting for ticks: {2 * minutes + 2} minutes")
            idle, busy = measure_lateness(Path(temporary) / "state", minutes=minutes)
            figures += [
                Figure(key="start_lateness_idle_p99_s", value=_p99(idle), unit="s", goal=1.0),
                Figure(key="start_lateness_busy_p99_s", value=_p99(busy), unit="s", goal=5.0),
            ]
    return figures


def _p99(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
