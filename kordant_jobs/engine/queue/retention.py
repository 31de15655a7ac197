"""How long ended requests, their attempts and idempotency keys are kept. What waits or runs is never touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.requests import RequestStatus
from kordant_jobs.store import requests
from kordant_jobs.store.schema import idempotency_keys

BULK = 10_000
"""Requests deleted in one transaction: about 0.3 s, so that no lock is held for long."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Days for which each kind is kept after it ended."""

    done_days: float = 30.0
    """Completed and cancelled: a month of history for dashboards and questions of support."""
    dead_days: float = 90.0
    """Dead letters, expired ones too: longer, since somebody may still look into them."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was deleted."""

    requests: int
    dead: int
    idempotency_keys: int


def prune(db: Engine, *, now: datetime, keep: Keep | None = None, bulk: int = BULK) -> Pruned:
    """Delete what is older than its time, in transactions of `bulk` requests each. Safe to repeat and to break off."""
    keep = keep or Keep()
    rules: Mapping[str, tuple[Sequence[RequestStatus], float]] = {
        "requests": ((RequestStatus.COMPLETED, RequestStatus.CANCELLED), keep.done_days),
        "dead": ((RequestStatus.DEAD, RequestStatus.EXPIRED), keep.dead_days),
    }
    gone = dict.fromkeys(rules, 0)
    for kind, (statuses, days) in rules.items():
        ended_before = now - timedelta(days=days)
        while True:
            with db.begin() as connection:
                count = requests.prune(connection, statuses, ended_before=ended_before, limit=bulk)
            gone[kind] += count
            if count < bulk:
                break
    with db.begin() as connection:
        keys = connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.until <= now)).rowcount
    return Pruned(requests=gone["requests"], dead=gone["dead"], idempotency_keys=keys)
