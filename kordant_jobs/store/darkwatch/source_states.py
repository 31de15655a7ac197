"""The state of each outside source, shared by all processes: its rate limit, and a circuit breaker.

After `OPEN_AFTER` consecutive questions without an answer a source is not asked for half a minute, then one question is
let through; each further failure doubles the pause. A 429 pauses it for as long as it asks, without counting.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason, Verdict
from kordant_jobs.engine import PartyRate
from kordant_jobs.engine.control import leases
from kordant_jobs.ports import Answer, SourceTerms
from kordant_jobs.store.darkwatch.source_tables import source_states

OPEN_AFTER = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 900.0
LIMITED_PAUSE_S = 60.0
"""The pause in seconds after a 429 without Retry-After: the window of most limits."""
PROBE_S = 30.0
"""Seconds that other questions wait for the one that is let through."""
TERMS_TTL = timedelta(days=1)

NOT_ITS_FAULT = frozenset({UnknownReason.BAD_REQUEST, UnknownReason.FORBIDDEN, UnknownReason.RATE_LIMITED})
"""Reasons that concern the question or our plan, not the source's health."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The number of requests that may be sent now; when it is 0, the wait in seconds and the reason."""

    granted: int
    wait_s: float = 0.0
    reason: UnknownReason | None = None


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """The state of a source."""

    source: Source
    failures: int = 0
    last_reason: UnknownReason | None = None
    open_until: datetime | None = None
    last_ok_at: datetime | None = None
    last_failed_at: datetime | None = None
    terms: SourceTerms | None = None
    terms_at: datetime | None = None


def state_of(connection: Connection, source: Source, *, lock: bool = False) -> SourceState:
    """Read the state of a source; a source without a row gets one."""
    connection.execute(insert(source_states).values(source=source).on_conflict_do_nothing())
    query = sa.select(source_states).where(source_states.c.source == source)
    return _state(connection.execute(query.with_for_update() if lock else query).one())


def known(connection: Connection) -> list[SourceState]:
    """The state of every source that was asked before, by name."""
    return [_state(row) for row in connection.execute(sa.select(source_states).order_by(source_states.c.source))]


def _state(row: sa.Row[Any]) -> SourceState:
    return SourceState(
        source=Source(row.source),
        failures=row.failures,
        last_reason=UnknownReason(row.last_reason) if row.last_reason else None,
        open_until=row.open_until,
        last_ok_at=row.last_ok_at,
        last_failed_at=row.last_failed_at,
        terms=_terms(row.terms) if row.terms else None,
        terms_at=row.terms_at,
    )


def _terms(kept: dict[str, Any]) -> SourceTerms:
    return SourceTerms(**{**kept, "stealer_log_domains": tuple(kept.get("stealer_log_domains", ()))})


def _write(connection: Connection, source: Source, **values: object) -> None:
    connection.execute(sa.update(source_states).where(source_states.c.source == source).values(**values))


def admit(
    connection: Connection, source: Source, requests: int, *, rates: Sequence[PartyRate], now: datetime
) -> Admission:
    """Take up to `requests` requests from every bucket of the source, unless its circuit breaker is open."""
    state = state_of(connection, source, lock=True)
    if state.open_until is not None and state.open_until > now:
        wait_s = (state.open_until - now).total_seconds()
        limited = state.last_reason is UnknownReason.RATE_LIMITED
        reason = UnknownReason.RATE_LIMITED if limited else UnknownReason.CIRCUIT_OPEN
        return Admission(granted=0, wait_s=wait_s, reason=reason)
    names = [f"source:{source}:{place}" for place in range(len(rates))]
    there = [
        leases.open_bucket(connection, name, per_s=rate.per_s, burst=rate.burst, now=now)
        for name, rate in zip(names, rates, strict=True)
    ]
    granted = min([requests, *there])
    if granted <= 0:
        waits = [
            (leases.next_token_at(connection, name, per_s=rate.per_s, now=now) - now).total_seconds()
            for name, rate in zip(names, rates, strict=True)
        ]
        return Admission(granted=0, wait_s=max([0.05, *waits]), reason=UnknownReason.RATE_LIMITED)
    if state.failures >= OPEN_AFTER:
        granted = 1
    for name in names:
        leases.spend(connection, name, granted)
    if state.failures >= OPEN_AFTER:
        _write(connection, source, open_until=now + timedelta(seconds=PROBE_S))
    return Admission(granted=granted)


def overdraw(connection: Connection, source: Source, requests: int, *, rates: Sequence[PartyRate]) -> None:
    """Take tokens beyond those available: the next request waits for them."""
    for place in range(len(rates)):
        leases.spend(connection, f"source:{source}:{place}", requests)


def pause_s(failures: int) -> float:
    """Seconds for which a source is not asked after this number of consecutive failures.

    >>> [pause_s(n) for n in (4, 5, 6, 7, 20)]
    [0.0, 30.0, 60.0, 120.0, 900.0]
    """
    if failures < OPEN_AFTER:
        return 0.0
    return float(min(FIRST_PAUSE_S * 2.0 ** min(failures - OPEN_AFTER, 10), LONGEST_PAUSE_S))


def report(connection: Connection, source: Source, answers: Sequence[Answer], *, now: datetime) -> SourceState:
    """Update the state of a source from a batch of answers."""
    state = state_of(connection, source, lock=True)
    limited = [answer for answer in answers if answer.reason is UnknownReason.RATE_LIMITED]
    failed = [one.reason for one in answers if one.reason is not None and one.reason not in NOT_ITS_FAULT]
    good = any(answer.verdict is not Verdict.UNKNOWN for answer in answers)
    failures = 0 if good else state.failures + len(failed)
    pause = pause_s(failures)
    reason = failed[-1] if failed and not good else state.last_reason
    if limited:
        pause = max(pause, *(answer.retry_after_s or LIMITED_PAUSE_S for answer in limited))
        reason = UnknownReason.RATE_LIMITED
    _write(
        connection,
        source,
        failures=failures,
        open_until=now + timedelta(seconds=pause) if pause else None,
        last_reason=reason,
        last_ok_at=now if good else state.last_ok_at,
        last_failed_at=now if failed or limited else state.last_failed_at,
    )
    return state_of(connection, source)


def keep_terms(connection: Connection, source: Source, terms: SourceTerms, *, now: datetime) -> None:
    """Store the terms of the key's plan."""
    state_of(connection, source)
    _write(connection, source, terms=asdict(terms), terms_at=now)


def close(connection: Connection, source: Source) -> None:
    """Close the circuit breaker, so that the source is asked again at once."""
    state_of(connection, source)
    _write(connection, source, failures=0, open_until=None, last_reason=None)


def report_off_once(connection: Connection, source: Source, *, off: bool) -> bool:
    """True when the source is off for the first time, so that it must be reported."""
    state_of(connection, source)
    column = source_states.c.told_off_at
    wanted = column.is_(None) if off else column.is_not(None)
    done = connection.execute(
        sa.update(source_states)
        .where(source_states.c.source == source, wanted)
        .values(told_off_at=sa.func.now() if off else None)
    )
    return off and done.rowcount > 0
