"""How these tests ask for runs of a toy, and look at what became of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.engine.queue import operate
from kordant_jobs.engine.queue.dispatch import DispatchSettings
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.engine.requests import Cause, Outcome
from kordant_jobs.engine.store.requests import Filter, Request, find, get
from kordant_jobs.lab.engine import FakeClock, InlineRuns, RunContext
from kordant_jobs_tests.engine.queue.toys import Toy, catalog

SEQUENTIAL = DispatchSettings(runs=1, critical_extra=0, tick_s=0.0)


def put(db: Engine, clock: FakeClock, number: int = 0, **more: Any) -> UUID:
    with db.begin() as connection:
        return enqueue(connection, Toy(number=number), requested_by="test", now=clock.now(), catalog=catalog(), **more)


def look(db: Engine, request_id: UUID) -> Request:
    with db.connect() as connection:
        found = get(connection, request_id)
    assert found is not None
    return found


def causes(db: Engine, request_id: UUID) -> list[tuple[Outcome | None, Cause | None]]:
    with db.connect() as connection:
        return [(one.outcome, one.cause) for one in operate.inspect(connection, request_id).attempts]


def numbers(db: Engine, runs: InlineRuns) -> list[int]:
    by_id = {}
    with db.connect() as connection:
        by_id = {str(one.id): one.payload["number"] for one in find(connection, Filter())}
    return [by_id[order.tags["kordant/request_id"]] for order in runs.orders]


def nothing(work: RunContext) -> None:
    """Succeed."""


def numbers_in(work: RunContext) -> list[int]:
    return [one.payload["number"] for one in work.requests()]
