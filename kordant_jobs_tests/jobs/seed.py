"""Exposures, alerts and verdicts for tests of what follows a scan, as darkwatch_scan writes them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.darkwatch.breaches import BreachSource
from kordant_jobs.domain.darkwatch.exposures import Judgement, SecretKind, Source, Verdict
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.store.darkwatch.tables import breaches, exposures, source_verdicts
from kordant_jobs.store.notifications.tables import alerts, notification_outbox

SEEN = datetime(2026, 6, 10, 12, tzinfo=UTC)
__all__ = ["SEEN", "Tier", "add_alert", "add_breach", "add_exposure", "add_verdict"]


def add_breach(
    db: Engine,
    name: str = "Adobe",
    *,
    title: str | None = None,
    source: BreachSource = BreachSource.HIBP,
    data_classes: tuple[str, ...] = ("Email addresses", "Passwords"),
    breached_on: date | None = date(2013, 10, 4),
    **more: Any,
) -> str:
    """A catalogued breach; returns its name."""
    row = {
        "name": name,
        "title": title or name,
        "source": source,
        "domain": f"{name.lower()}.example",
        "data_classes": list(data_classes),
        "breached_on": breached_on,
        **more,
    }
    with db.begin() as connection:
        connection.execute(sa.insert(breaches), row)
    return name


def add_exposure(
    db: Engine,
    item_id: UUID,
    breach_name: str,
    *,
    secret: SecretKind = SecretKind.NONE,
    judgement: Judgement = Judgement.ALERT,
    seen_at: datetime = SEEN,
) -> UUID:
    """An exposure of a watched item."""
    exposure_id = uuid4()
    row = {
        "id": exposure_id,
        "item_id": item_id,
        "breach_name": breach_name,
        "secret": secret,
        "judgement": judgement,
        "first_seen_at": seen_at,
        "last_seen_at": seen_at,
    }
    with db.begin() as connection:
        connection.execute(sa.insert(exposures), row)
    return exposure_id


def add_alert(
    db: Engine,
    subscription_id: UUID,
    item_id: UUID,
    breach_name: str,
    *,
    severity: Severity = Severity.HIGH,
    secret: SecretKind = SecretKind.NONE,
    occurrences: int = 1,
    kind: str = "email",
    seen_at: datetime = SEEN,
    why: list[dict[str, Any]] | None = None,
) -> UUID:
    """An exposure with its alert and its queued notification; returns the notification's id."""
    exposure_id = add_exposure(db, item_id, breach_name, secret=secret, seen_at=seen_at)
    alert_id, outbox_id = uuid4(), uuid4()
    found = {
        "code": "identifier_in_dump",
        "item_id": str(item_id),
        "kind": kind,
        "verified": True,
        "dump_id": str(uuid4()),
        "line": 42,
        "occurrences": occurrences,
    }
    told = [] if secret is SecretKind.NONE else [{"code": "secret_in_dump", "secret": secret.value}]
    reasons = why if why is not None else [found, *told, {"code": "breach_known", "breach_name": breach_name}]
    with db.begin() as connection:
        connection.execute(
            sa.insert(alerts),
            {
                "id": alert_id,
                "subscription_id": subscription_id,
                "exposure_id": exposure_id,
                "severity": severity,
                "why": reasons,
                "created_at": seen_at,
            },
        )
        connection.execute(
            sa.insert(notification_outbox),
            {"id": outbox_id, "alert_id": alert_id, "subscription_id": subscription_id, "channel": "email"},
        )
    return outbox_id


def add_verdict(
    db: Engine,
    subscription_id: UUID,
    verdict: Verdict,
    *,
    reason: str | None = None,
    source: str = Source.DUMPS,
    checked_at: datetime = SEEN,
    exposed: int = 0,
    new: int = 0,
) -> None:
    """What one source said of a subscription on a day."""
    row = {
        "subscription_id": subscription_id,
        "source": source,
        "checked_on": checked_at.date(),
        "verdict": verdict,
        "reason": reason,
        "exposures": exposed,
        "new_exposures": new,
        "covered_until": checked_at,
        "checked_at": checked_at,
    }
    with db.begin() as connection:
        connection.execute(sa.insert(source_verdicts), row)
