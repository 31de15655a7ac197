"""Load, decide, save: one scan of county records, in steps that may each be repeated.

Read what is new at the watched counties → join it with the watched parcels → record the results.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.adapters.counties.description import County
from kordant_jobs.adapters.counties.understand import NotUnderstood
from kordant_jobs.domain.property.findings import UnknownReason, Verdict
from kordant_jobs.engine import Progress
from kordant_jobs.errors import CancelRequested, DatabaseUnavailable, KeyringError, SettingsError, SourceUnavailable
from kordant_jobs.jobs.hometitle_scan.reading import read_county
from kordant_jobs.jobs.hometitle_scan.roll import batched, read_roll
from kordant_jobs.jobs.hometitle_scan.rules.history import read_history
from kordant_jobs.jobs.hometitle_scan.rules.owners import find_owner, is_news
from kordant_jobs.store.darkwatch import scans
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import matching, records, watches

JOB = "hometitle_scan"
CHUNKS = 16
BATCH = 2_000
"""Watches whose histories are loaded at once."""
AT_ONCE = 4
"""Counties that are read concurrently, so that a slow one does not delay the alerts of the others."""
NOT_COMPARED = "its documents could not be compared"
"""The start of the reason why a county is unknown whose watches have to be compared again."""
FILE_IS_LOST = (
    NotUnderstood.COLUMN_MISSING.value,
    NotUnderstood.FILE_DAMAGED.value,
    NotUnderstood.FILE_MISSING.value,
    NotUnderstood.FILE_UNMATCHED.value,
    NotUnderstood.ROW_DAMAGED.value,
)
"""Problems of which each may hide a document on any parcel."""
ROW_IS_LOST = (NotUnderstood.NO_KEY, NotUnderstood.NO_CODE, NotUnderstood.BAD_PARCEL)
LOST_MOST = 20
"""When more than one in this many rows of a county's last read cannot be used, any of them may concern a watched
parcel."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The window of new records: what became known in `since` ≤ time < `until`. Left out: since each subscription's
    last scan, and until now. A window with a start repeats a past day: it writes missing alerts, but changes no
    verdicts or watermarks, since it says nothing of today."""

    since: datetime | None = None
    until: datetime | None = None


SINCE_LAST = Window()


@dataclass(frozen=True, kw_only=True)
class TitlePlan:
    """The plan of one scan: ids only. A chunk is a county and a range of its blind indexes."""

    scope: scans.Scope
    window: Window
    until: datetime
    counties: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    new_documents: int
    requests: int
    chunks: tuple[tuple[str, tuple[UUID, ...]], ...]
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The counts of one chunk."""

    watches: int = 0
    instruments: int = 0
    new_findings: int = 0


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The number of watched parcels and owners by verdict, the number of new alerts, and the counties (`stale`) whose
    newest record is older than their latency."""

    clean: int
    found: int
    unknown: int
    new_alerts: int
    stale: tuple[str, ...] = field(default=())


def now_of(db: Engine) -> datetime:
    """The database's clock."""
    with db.connect() as connection:
        moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return moment


def plan_scan(
    scope: scans.Scope,
    window: Window = SINCE_LAST,
    *,
    db: Engine,
    keyring: Keyring,
    counties: Counties,
    progress: Progress | None = None,
) -> TitlePlan:
    """Read new records of the watched counties, and distribute the watches that may have something new. A county that
    cannot be read does not stop the others: its saved records are joined, and its verdict is unknown. For a past window
    nothing is read; saved records are joined."""
    until = now_of(db)
    with db.begin() as connection:
        scans.choose(connection, scope)
        watched = matching.counties_watched(connection)
    is_over = window.until is not None and window.until <= until

    def read(name: str) -> _Read:
        return _read_one(name, scope, now=until, db=db, keyring=keyring, counties=counties, progress=progress)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="county") as pool:
        asked = [pool.submit(copy_context().run, read, name) for name in watched if not is_over]
        reads = [one.result() for one in asked]
    failed = [one for read_one in reads for one in read_one.failed]
    new, requests = sum(one.documents for one in reads), sum(one.requests for one in reads)
    with db.begin() as connection:
        scans.choose(connection, scope)
        due = {name: matching.due(connection, name, since=window.since, until=window.until) for name in watched}
    total = sum(map(len, due.values()))
    size = max(1, -(-total // CHUNKS))
    chunks = [(name, tuple(part)) for name, them in due.items() for part in batched(them, max(size, 200))]
    return TitlePlan(
        scope=scope,
        window=window,
        until=until,
        counties=tuple(watched),
        failed=tuple(failed),
        new_documents=new,
        requests=requests,
        chunks=tuple(chunks),
        total=total,
    )


@dataclass
class _Read:
    """The result of reading one county."""

    documents: int = 0
    requests: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def _read_one(
    name: str,
    scope: scans.Scope,
    *,
    now: datetime,
    db: Engine,
    keyring: Keyring,
    counties: Counties,
    progress: Progress | None,
) -> _Read:
    """Read a county and its owner roll. An error affects this county only."""
    done = _Read()
    with _contained(done.failed, name):
        county = counties.get(name)
        saved, done.requests = read_county(
            county, db=db, keyring=keyring, counties=counties, today=now.date(), progress=progress
        )
        done.documents = saved.new + saved.changed
    if done.failed:
        with db.begin() as connection:
            records.save_state(connection, name, reason=done.failed[0][1][:300])
        return done
    with _contained(done.failed, f"{name} (owner roll)"):
        done.requests += read_roll(county, scope, db=db, keyring=keyring, counties=counties, now=now)
    if done.failed:
        with db.begin() as connection:
            records.save_roll_reason(connection, name, done.failed[0][1][:300])
    return done


_OF_VALUES = frozenset({"22001", "22003", "22007", "22008", "22021", "22P05", "54000"})
"""Error codes with which Postgres refuses a value: too long, out of range, wrong encoding. Its other errors are not the
county's fault."""


@contextmanager
def _contained(failed: list[tuple[str, str]], name: str) -> Iterator[None]:
    """Contain any failure of one county: it is added to `failed`. Since the text of a foreign error may quote the
    county's data, its type and its place in our code are reported instead."""
    try:
        yield
    except (SourceUnavailable, SettingsError) as error:
        failed.append((name, str(error)))
    except (CancelRequested, DatabaseUnavailable, KeyringError):
        raise
    except Exception as error:
        if isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) not in _OF_VALUES:
            raise
        failed.append((name, f"something in its records or its file was not expected: {_where(error)}"))


def _where(error: BaseException) -> str:
    """The type of an error, and the last line of our code that it passed through."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "kordant_jobs" in file.parts:
            place = f" in {file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}"


def compare(
    chunk: tuple[str, Sequence[UUID]], *, db: Engine, keyring: Keyring, counties: Counties, progress: Progress
) -> Compared:
    """Read the histories of a chunk's parcels and write the findings. Safe to repeat: there is one finding for each
    watch and instrument. When it fails, the county is unknown, and the next scan compares its watches again."""
    failed: list[tuple[str, str]] = []
    done = Compared()
    with _contained(failed, chunk[0]):
        done = _compare(chunk, db=db, keyring=keyring, counties=counties, progress=progress)
    if failed:
        with db.begin() as connection:
            records.save_state(connection, chunk[0], reason=f"{NOT_COMPARED}: {failed[0][1]}"[:300])
    return done


def _compare(
    chunk: tuple[str, Sequence[UUID]], *, db: Engine, keyring: Keyring, counties: Counties, progress: Progress
) -> Compared:
    name, ids = chunk
    county = counties.get(name)
    done = Compared()
    for part in batched(ids, BATCH):
        with db.begin() as connection:
            opened = watches.load(connection, keyring, ids=part)
            on_parcels = matching.histories(connection, [one.id for one in opened if one.parcel is not None])
            by_name = matching.named(connection, [one.id for one in opened if one.parcel is None])
            rows = []
            for watch in opened:
                found = on_parcels if watch.parcel is not None else by_name
                rows += _findings(watch, found.get(watch.id, []), county, keyring)
            new = matching.save_findings(connection, rows)
        done = Compared(
            watches=done.watches + len(part),
            instruments=done.instruments + len(rows),
            new_findings=done.new_findings + new,
        )
        progress.advance(len(part), "comparing")
    return done


def _findings(watch: watches.Watch, rows: Sequence[Any], county: County, keyring: Keyring) -> list[matching.Row]:
    by_key = {row.key: row for row in rows}
    instruments = [records.opened(keyring, row) for row in rows]
    if watch.parcel is not None:
        found = read_history(instruments, known_owners=watch.owners, order=county.name_order)
    else:
        found = find_owner(instruments, watch.owners, people=county.people, order=county.name_order)
    return [
        matching.Row(
            watch_id=watch.id,
            instrument_id=by_key[one.key].id,
            finding=one,
            is_news=is_news(
                known_at=by_key[one.key].known_at,
                is_first_load=by_key[one.key].is_first_load,
                recorded_on=by_key[one.key].recorded_on,
                watched_since=watch.created_at,
                latency_days=county.latency_days,
            ),
        )
        for one in found
    ]


def record(plan: TitlePlan, *, db: Engine, counties: Counties) -> Recorded:
    """Write alerts with their notifications, verdicts and watermarks, in one transaction."""
    with db.begin() as connection:
        scans.choose(connection, plan.scope)
        states = records.states(connection)
        verdicts, stale = {}, []
        for name in plan.counties:
            reason, as_of = _why_unknown(states.get(name), counties, name, plan.until.date())
            verdicts[name] = (reason, as_of)
            if reason is UnknownReason.STALE:
                stale.append(f"{name} (newest record of {as_of})")
            if reason in _SAID and plan.window.since is None:
                said = _SAID[reason].format(as_of=as_of or "no day")
                records.save_state(connection, name, reason=said)  # so that operators are alerted
        alerts = matching.save_alerts(connection)
        count = dict.fromkeys(Verdict, 0)
        if plan.window.since is None:
            with_roll = [name for name in plan.counties if name in counties.by_id and counties.by_id[name].owner_roll]
            again = [name for name in plan.counties if (states[name].reason or "").startswith(NOT_COMPARED)]
            count |= matching.save_verdicts(
                connection, verdicts, until=plan.until, with_roll=with_roll, compare_again=again
            )
    return Recorded(
        clean=count[Verdict.CLEAN],
        found=count[Verdict.FOUND],
        unknown=count[Verdict.UNKNOWN],
        new_alerts=alerts,
        stale=tuple(stale),
    )


_SAID = {
    UnknownReason.STALE: "its newest record is of {as_of}, older than its latency: is its feed paused?",
    UnknownReason.ROWS_NOT_UNDERSTOOD: "a part of its records was not understood: `counties list` says which",
}


def _why_unknown(
    state: records.CountyState | None, counties: Counties, name: str, today: date
) -> tuple[UnknownReason | None, date | None]:
    """The reason why a county is unknown today, None when it is not; and the day of its newest record."""
    if state is None or state.read_at is None:
        return UnknownReason.SOURCE_FAILED if state and state.reason else UnknownReason.NEVER_READ, None
    if name not in counties.by_id or (state.reason is not None and not _is_said_here(state.reason)):
        return UnknownReason.SOURCE_FAILED, state.data_as_of
    lost = sum(state.rows_not_understood.get(one, 0) for one in ROW_IS_LOST)
    has_no_parcel = state.rows_not_understood.get(NotUnderstood.NO_PARCEL, 0) * 2 > state.rows  # some do everywhere
    is_lost = any(one.startswith(FILE_IS_LOST) for one in state.rows_not_understood)
    if is_lost or has_no_parcel or lost * LOST_MOST > state.rows:
        return UnknownReason.ROWS_NOT_UNDERSTOOD, state.data_as_of
    if state.data_as_of is None or (today - state.data_as_of).days > counties.by_id[name].latency_days:
        return UnknownReason.STALE, state.data_as_of
    if counties.by_id[name].owner_roll and state.roll_reason is not None:
        return UnknownReason.ROLL_NOT_READ, state.data_as_of
    return None, state.data_as_of


def _is_said_here(reason: str) -> bool:
    """True when `record` wrote the county's state, not a failed read."""
    return any(reason.startswith(said.partition("{")[0]) for said in _SAID.values())
