"""Dumps that a scan left to another scan: its subscriptions are scanned again when that scan may have read them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.engine import Merge, Priority
from kordant_jobs.jobs.darkwatch_scan.drops import now_of
from kordant_jobs.jobs.darkwatch_scan.rules import again_after
from kordant_jobs.jobs.darkwatch_scan.service import ScanPlan
from kordant_jobs.store.darkwatch import dumps


def scan_again(plan: ScanPlan, left: Sequence[UUID], *, db: Engine) -> UUID | None:
    """Queue the same scan for later, since another scan has the dumps in `left`; the new one reads dumps. Scans of the
    same subscriptions and window share one waiting request. Returns its id; None when the scan chose no
    subscriptions."""
    if not plan.subscriptions:
        return None
    window = plan.window
    payload = DarkwatchScan(
        tiers=tuple(Tier(tier) for tier in plan.scope.tiers),
        subscription_ids=plan.scope.subscription_ids,
        known_from=window.since,
        known_until=window.until if window.since else None,
    )
    key = hashlib.sha256(payload.model_dump_json().encode()).hexdigest()
    with db.begin() as connection:
        now = now_of(connection)
        waited = max((now - dump.registered_at for dump in dumps.load(connection, left)), default=timedelta(0))
        return enqueue(
            connection,
            payload,
            requested_by="darkwatch_scan.left",
            priority=Priority.NORMAL,
            run_at=now + again_after(waited, being_read=not plan.left),
            merge=Merge(key=f"left:{key}"),
        )
