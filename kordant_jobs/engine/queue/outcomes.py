"""Decides the next state of requests when their run ended, was lost, or could not start, by `retry_rules`, in one
transaction."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs.engine.jobs import DEFAULT_RETRIES, JobRow
from kordant_jobs.engine.queue.retry_rules import Ended, next_state
from kordant_jobs.engine.requests import Cause, Outcome
from kordant_jobs.engine.runs import RETURNING, RunEnd
from kordant_jobs.engine.store import attempts, leases, requests
from kordant_jobs.engine.store.attempts import Move, Running
from kordant_jobs.engine.store.leases import Reaped
from kordant_jobs.redaction import redact

ERROR_LENGTH = 500
LOST_TEXT = "the run was lost: its lease was not extended (killed, paused, or cut off from the database)."


def run_ended(
    connection: Connection,
    end: RunEnd,
    rows: Mapping[str, JobRow],
    *,
    returning: bool = False,
    now: datetime,
    summary: Mapping[str, Any] | None = None,
    items_failed: int = 0,
) -> bool:
    """Handle the end of a run: free its slot and move its requests on. False when that was done before. `returning`: we
    stopped the run to return its work to the queue, so the attempt does not count. `summary` and `items_failed` are
    stored with the requests of a successful run."""
    ended = _ended(end, returning=returning)
    if ended.outcome is Outcome.SUCCESS:
        return attempts.complete_run(
            connection,
            end.run_id,
            cpu_s=end.cpu_s,
            peak_memory_mb=end.peak_memory_mb,
            now=now,
            summary=summary,
            items_failed=items_failed,
        )
    lease = attempts.lease_of_run(connection, end.run_id)
    if lease is None:
        return False
    settle(connection, [lease.id], ended, rows, error=end.error, now=now, end=end)
    attempts.note_use(connection, lease.id, cpu_s=end.cpu_s, peak_memory_mb=end.peak_memory_mb)
    if leases.release_claims(connection, [lease.id]):
        requests.wake_sensors(connection)  # what the run had claimed waits for another
    leases.release(connection, [lease.id])
    return True


def _ended(end: RunEnd, *, returning: bool) -> Ended:
    outcome = Outcome(end.outcome)
    if end.cause == RETURNING and outcome is not Outcome.SUCCESS:
        return Ended(outcome=Outcome.RETURNED)
    if returning and outcome in {Outcome.CANCELED, Outcome.FAILURE, Outcome.LOST}:
        return Ended(outcome=Outcome.RETURNED)
    reported = Cause(end.cause) if end.cause in set(Cause) else None
    cause = reported or {Outcome.FAILURE: Cause.EXCEPTION, Outcome.LOST: Cause.LOST}.get(outcome)
    return Ended(outcome=outcome, cause=cause, permanent=end.permanent, retry_after_s=end.retry_after_s)


def reap_lost(connection: Connection, rows: Mapping[str, JobRow], *, now: datetime) -> list[Reaped]:
    """Remove expired leases; their requests follow the rule for a lost run. Where the run had not begun (the process
    that claimed it died before the hand-over) they wait again at once, and the attempt does not count."""
    gone = leases.reap(connection, now=now)
    begun, not_begun = ([one.id for one in gone if one.adopted is adopted] for adopted in (True, False))
    if begun:
        requests.wake_sensors(connection)  # what these runs had claimed waits for others
        settle(connection, begun, Ended(outcome=Outcome.LOST, cause=Cause.LOST), rows, error=LOST_TEXT, now=now)
    if not_begun:
        settle(connection, not_begun, Ended(outcome=Outcome.RETURNED), rows, error=None, now=now)
    return gone


def settle(
    connection: Connection,
    lease_ids: Sequence[UUID],
    ended: Ended,
    rows: Mapping[str, JobRow],
    *,
    error: str | None,
    now: datetime,
    end: RunEnd | None = None,
) -> None:
    """Move every request that still runs under these leases to its next state."""
    text = redact(" ".join(error.split()))[:ERROR_LENGTH] if error else None
    running = attempts.running(connection, lease_ids, lock=True)
    attempts.move(connection, [_move(one, ended, rows, text, now, end) for one in running], now=now)


def _move(
    one: Running, ended: Ended, rows: Mapping[str, JobRow], error: str | None, now: datetime, end: RunEnd | None
) -> Move:
    if one.cancel_requested_at is not None and ended.outcome not in {Outcome.SUCCESS, Outcome.PARTIAL}:
        ended = Ended(outcome=Outcome.CANCELED)
    policy = rows[one.job].retries if one.job in rows else DEFAULT_RETRIES
    then = next_state(ended, policy, attempt=one.counted, now=now, chance=random.random())  # noqa: S311 - jitter
    return Move(
        request_id=one.id,
        status=then.status,
        run_at=then.run_at,
        outcome=ended.outcome,
        cause=ended.cause,
        error=None if ended.outcome is Outcome.SUCCESS else error,
        cpu_s=None if end is None else end.cpu_s,
        peak_memory_mb=None if end is None else end.peak_memory_mb,
        run_id=None if end is None else end.run_id,
    )
