"""The progress of a run, readable while it works. It is written at most five times a second, so it costs little.

An op that reports progress is informed when the run is cancelled, so it can stop there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.engine.store.tables import run_progress
from kordant_jobs.errors import CancelRequested
from kordant_jobs.redaction import storable

WRITE_EVERY_S = 0.2

_UNWANTED = sa.text("""
    SELECT bool_and(r.cancel_requested_at IS NOT NULL) FROM kordant.job_leases l
    JOIN kordant.job_requests r ON r.lease_id = l.id AND r.status = 'running' WHERE l.run_id = :run_id
""")
"""True when every request of the run is to be cancelled. One other request keeps the run going."""


@dataclass(frozen=True, kw_only=True)
class ProgressReading:
    """The done and total amount in the run's own unit, and what the run is doing."""

    done: int
    total: int
    message: str


class Progress:
    """Counts the work of a run. Ops of one run share the count through the database."""

    def __init__(self, db: Engine, run_id: str) -> None:
        self._db = db
        self._run_id = run_id
        self._pending = 0
        self._written_at = 0.0

    def start(self, total: int, message: str) -> None:
        """Restart the count at 0 of `total`."""
        self._write(message, first_total=total, done=sa.literal(0), total=sa.literal(total))

    def expect(self, total: int, message: str) -> None:
        """Set the total, keeping the count."""
        self._write(message, first_total=total, total=sa.literal(total))

    def advance(self, by: int, message: str) -> None:
        """Add to the count; `message` names no person.

        Raises:
            CancelRequested: all that the run works for was cancelled; known within a fifth of a second.
        """
        self._pending += by
        if time.monotonic() - self._written_at >= WRITE_EVERY_S:
            self.flush(message)

    def flush(self, message: str) -> None:
        """Write the count now.

        Raises:
            CancelRequested: as `advance`.
        """
        pending, self._pending = self._pending, 0
        done, total = run_progress.c.done + pending, run_progress.c.total
        grown = sa.case((total > 0, sa.func.greatest(total, done)), else_=total)  # more came than was planned
        self._write(message, first_done=pending, done=done, total=grown)
        with self._db.connect() as connection:
            unwanted = connection.execute(_UNWANTED, {"run_id": self._run_id}).scalar()
        if unwanted:
            raise CancelRequested("this was cancelled: `kordant-jobs status` shows who asked for it.")

    def end(self, message: str) -> None:
        """Record that the run has finished: the count is set to the total, also where a part was left out."""
        done = sa.func.greatest(run_progress.c.done + self._pending, run_progress.c.total)
        self._pending = 0
        self._write(message, done=done, total=done)

    def _write(
        self, message: str, *, first_done: int = 0, first_total: int = 0, **changed: sa.ColumnElement[Any]
    ) -> None:
        message = storable(message)
        row = insert(run_progress).values(run_id=self._run_id, done=first_done, total=first_total, message=message)
        change = {**changed, "message": message, "updated_at": sa.func.now()}
        with self._db.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["run_id"], set_=change))
        self._written_at = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._pending:
            self.flush("")


def read_progress(db: Engine, run_id: str) -> ProgressReading | None:
    """The progress of the run; None before its first report."""
    with db.connect() as connection:
        row = connection.execute(sa.select(run_progress).where(run_progress.c.run_id == run_id)).one_or_none()
    return ProgressReading(done=row.done, total=row.total, message=row.message) if row else None
