"""Watch requests by server-sent events. One query serves all watchers of a process, so none holds a connection."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from kordant_jobs.api.calls import Call
from kordant_jobs.api.problems import Problem, not_found
from kordant_jobs.api.requests import OPEN, shown
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.engine.control import Filter, Request, operate

EVERY_S = 0.5
STREAMS, STREAMS_OF_ONE = 500, 50
"""The most concurrent streams: in a process, and of one principal."""
PING_S = 15.0


@dataclass
class RequestWatcher:
    """Reads all watched requests twice a second, and passes them to their watchers."""

    db: Engine
    _queues: dict[UUID, set[asyncio.Queue[Request]]] = field(default_factory=lambda: defaultdict(set))
    _of_one: Counter[str] = field(default_factory=Counter)
    _task: asyncio.Task[None] | None = None

    def join(self, request_id: UUID, principal_id: str) -> asyncio.Queue[Request]:
        """Watch a request. Returns a queue that gets the request twice a second.

        Raises:
            Problem: there are too many watchers.
        """
        if self._of_one.total() >= STREAMS or self._of_one[principal_id] >= STREAMS_OF_ONE:
            raise Problem(
                "busy", "too many streams are open: close one, or ask again later.", headers={"Retry-After": "30"}
            )
        queue: asyncio.Queue[Request] = asyncio.Queue(maxsize=4)
        self._queues[request_id].add(queue)
        self._of_one[principal_id] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        return queue

    def leave(self, request_id: UUID, principal_id: str, queue: asyncio.Queue[Request]) -> None:
        """Stop watching."""
        self._queues[request_id].discard(queue)
        if not self._queues[request_id]:
            del self._queues[request_id]
        self._of_one[principal_id] -= 1

    def close(self) -> None:
        """Stop reading the database."""
        if self._task is not None:
            self._task.cancel()

    def read(self, ids: tuple[UUID, ...]) -> list[Request]:
        """The current state of these requests."""
        with self.db.connect() as connection:
            return operate.find(connection, Filter(ids=ids))

    async def _poll(self) -> None:
        while self._queues:
            await asyncio.sleep(EVERY_S)
            for request in await run_in_threadpool(self.read, tuple(self._queues)):
                for queue in self._queues.get(request.id, set()):
                    if not queue.full():
                        queue.put_nowait(request)


def _event(name: str, data: dict[str, object]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, default=str)}\n\n"


async def events(watcher: RequestWatcher, call: Call, request_id: UUID, *, timeout_s: float) -> Response:
    """The stream of one request. Its events: `snapshot`, `state` at each change, `end` when it ends, `bye` on time-out.

    Raises:
        Problem: there is no such request, the caller may not see it, or too many streams are open.
    """
    found = await run_in_threadpool(watcher.read, (request_id,))
    if not found:
        call.permit(Action.READ)
        raise not_found()
    call.permit_on(Action.READ, found[0])
    queue = watcher.join(request_id, call.principal.id)

    async def stream() -> AsyncIterator[str]:
        try:
            last = shown(call, found[0])
            yield _event("snapshot", last)
            deadline, request = time.monotonic() + timeout_s, found[0]
            while request.status in OPEN:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    yield _event("bye", {"id": str(request_id)})
                    return
                try:
                    request = await asyncio.wait_for(queue.get(), min(left_s, PING_S))
                except TimeoutError:
                    yield ": ping\n\n"
                    continue
                if (now := shown(call, request)) != last:
                    last = now
                    yield _event("state", last)
            yield _event("end", last)
        finally:
            watcher.leave(request_id, call.principal.id, queue)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
