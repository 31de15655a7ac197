"""Traces through the queue: rows written in a transaction carry its trace context, and the process that writes the end
of an attempt emits its spans. Without tracing all of it does nothing."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs import tracing
from kordant_jobs.engine.requests import Outcome

OF_RUNS: dict[str, str] = {}
"""The traceparents of the runs that this process executes, by run id."""
CARRY = "SELECT set_config('kordant.traceparent', %s, true)"
"""Gives rows that this transaction inserts into the queue and the outbox their trace context, for psycopg2."""

_CARRY = sa.text("SELECT set_config('kordant.traceparent', :traceparent, true)")
_ATTEMPTS = sa.text("""
SELECT a.run_id, a.request_id, r.job, r.traceparent, a.attempt, a.started_at, a.ended_at, a.outcome, a.cause,
       b.run_id AS run_before,
       (SELECT count(*) FROM kordant.job_attempts o WHERE o.run_id = b.run_id) AS requests_before
FROM kordant.job_attempts a JOIN kordant.job_requests r ON r.id = a.request_id
LEFT JOIN kordant.job_attempts b ON b.request_id = a.request_id AND b.attempt = a.attempt - 1
WHERE a.run_id = ANY(:run_ids) ORDER BY a.run_id, a.request_id
""")
FAILED = frozenset({Outcome.FAILURE, Outcome.LOST, Outcome.CANCELED})


@contextmanager
def sending(connection: Connection, job: str, *, message_id: UUID | None = None, count: int = 1) -> Iterator[None]:
    """Record that requests of a job enter the queue; requests inserted in the body carry this span."""
    if not tracing.is_on():
        yield
        return
    attributes = tracing.messaging("send", job, message_id=message_id, count=count)
    with tracing.span(f"send {job}", tracing.PRODUCER, attributes):
        _carry(connection)
        yield
    _carry(connection)


def _carry(connection: Connection) -> None:
    connection.execute(_CARRY, {"traceparent": tracing.current() or ""})


def began(connection: Connection, run_id: str) -> None:
    """Make the spans of this run's ops children of its attempt, and record the time from the claim until now. Called
    when the run begins in this process."""
    rows = connection.execute(_ATTEMPTS, {"run_ids": [run_id]}).all()
    if not rows:
        return
    own = OF_RUNS[run_id] = _identity(run_id, rows)
    now = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    attributes = _attributes("receive", run_id, rows)
    tracing.record(f"receive {rows[0].job}", tracing.CLIENT, attributes, began_at=rows[0].started_at, ended_at=now,
                   parent=own)  # fmt: skip


def ended(connection: Connection, run_ids: Collection[str], *, settled_at: datetime) -> None:
    """Emit the spans of attempts of runs whose end was just written in this transaction, by the process that wrote
    it."""
    if not run_ids or not tracing.is_on():
        return
    found = connection.execute(_ATTEMPTS, {"run_ids": list(run_ids)}).all()
    now = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    for run_id, some in groupby(found, lambda row: row.run_id):
        rows = [row for row in some if row.ended_at is not None]
        if not rows:
            continue
        first, own = rows[0], _identity(run_id, rows)
        carriers = [row.traceparent for row in rows if row.traceparent]
        alone = len(rows) == 1
        before = [_identity_before(first)] if alone and first.run_before else []
        tracing.record(
            f"process {first.job}",
            tracing.CONSUMER,
            _attributes("process", run_id, rows) | {"kordant.outcome": first.outcome},
            began_at=first.started_at,
            ended_at=settled_at,
            own=own,
            parent=first.traceparent if alone else None,
            links=before if alone else carriers,
            error=(first.cause or first.outcome) if first.outcome in FAILED else None,
        )
        tracing.record(f"settle {first.job}", tracing.CLIENT, _attributes("settle", run_id, rows), parent=own,
                       began_at=settled_at, ended_at=now)  # fmt: skip


def _attributes(operation: str, run_id: str, rows: Sequence[sa.Row[Any]]) -> dict[str, str | int]:
    first = rows[0]
    common = tracing.messaging(operation, first.job, message_id=first.request_id, count=len(rows))
    return {**common, "kordant.run_id": run_id, "kordant.attempt": first.attempt}


def _identity(run_id: str, rows: Sequence[sa.Row[Any]]) -> str:
    alone = len(rows) == 1
    return tracing.identity(
        run_id,
        trace_key=str(rows[0].request_id) if alone else run_id,
        parent=rows[0].traceparent if alone else None,
    )


def _identity_before(row: sa.Row[Any]) -> str:
    alone = row.requests_before == 1
    return tracing.identity(
        row.run_before,
        trace_key=str(row.request_id) if alone else row.run_before,
        parent=row.traceparent if alone else None,
    )
