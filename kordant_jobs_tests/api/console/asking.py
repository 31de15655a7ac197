"""What the tests of the console ask the database."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.store.audit import log

Dead = Callable[..., list[UUID]]


def status_of(db: Engine, request_id: UUID) -> str:
    with db.connect() as connection:
        found = sa.text("SELECT status FROM kordant.job_requests WHERE id = :id")
        return str(connection.execute(found, {"id": request_id}).scalar_one())


def actions(db: Engine) -> list[str]:
    with db.connect() as connection:
        return [entry["action"] for _, entry in log.entries(connection, limit=100)]
