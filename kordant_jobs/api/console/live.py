"""Notifies open pages of changes. One small query serves all pages of a process, so none holds a connection."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from kordant_jobs.api.problems import Problem
from kordant_jobs.api.watch import EVERY_S, PING_S, STREAMS

log = logging.getLogger(__name__)

LASTS_S = 600.0
"""Seconds after which a stream ends; the browser connects again, and its cookie is checked again."""

_MARK = sa.text("""
SELECT (SELECT id FROM kordant.job_requests ORDER BY id DESC LIMIT 1),
       (SELECT max(ended_at) FROM kordant.job_requests),
       (SELECT array_agg(lease_id ORDER BY lease_id) FROM kordant.job_requests WHERE status = 'running'),
       (SELECT min(run_at) FROM kordant.job_requests WHERE status = 'pending'),
       (SELECT count(*) FROM kordant.job_requests WHERE status = 'dead' AND acknowledged_at IS NULL),
       (SELECT array_agg((id, state, acknowledged_by) ORDER BY id)::text FROM kordant.operator_alerts
        WHERE state <> 'resolved'),
       (SELECT array_agg(job ORDER BY job) FROM kordant.job_pauses),
       (SELECT max(changed_at) FROM kordant.scheduler_config),
       (SELECT array_agg(id ORDER BY id) FROM kordant.change_sets WHERE state = 'proposed')
""")
"""Values that change when one of the lists changes; each is read from an index or a small table."""


@dataclass
class Changes:
    """Queries the database twice a second while a page is open, and notifies the streams when a list has changed."""

    db: Engine
    _last: tuple[Any, ...] = ()
    _version: int = 0
    _watchers: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def read(self) -> tuple[Any, ...]:
        """The current values that change when one of the lists changes."""
        with self.db.connect() as connection:
            return tuple(connection.execute(_MARK).one())

    def close(self) -> None:
        """Stop reading the database."""
        if self._task is not None:
            self._task.cancel()

    async def _poll(self) -> None:
        while self._watchers:
            try:
                now = await run_in_threadpool(self.read)
            except SQLAlchemyError as error:
                log.warning("changes could not be read: %s", type(error).__name__)
            else:
                if now != self._last:
                    self._last = now
                    self._version += 1
                    self._changed.set()
                    self._changed = asyncio.Event()
            await asyncio.sleep(EVERY_S)

    def stream(self) -> Response:
        """A stream of server-sent events. `watching` comes first: every later change is reported, and the page should
        reload to see earlier ones. Then `changed` comes at each change.

        Raises:
            Problem: there are too many watchers.
        """
        if self._watchers >= STREAMS:
            raise Problem("busy", "too many pages are open: reload this one instead.", headers={"Retry-After": "30"})
        return StreamingResponse(self._events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _events(self) -> AsyncIterator[str]:
        self._watchers += 1
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._poll())
            loop = asyncio.get_running_loop()
            ends_at, seen = loop.time() + LASTS_S, self._version
            yield "event: watching\ndata: 0\n\n"
            while loop.time() < ends_at:
                if seen == self._version:
                    try:
                        await asyncio.wait_for(self._changed.wait(), PING_S)
                    except TimeoutError:
                        yield ": ping\n\n"
                        continue
                seen = self._version
                yield f"event: changed\ndata: {seen}\n\n"
        finally:
            self._watchers -= 1
