"""Operators' alerts in Postgres: the current rules, the state of each alert, pending notices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.operators.alert_rules import (
    BY_NAME,
    AlertRule,
    AlertState,
    Move,
    NoticeKind,
    Severity,
    Standing,
)
from kordant_jobs.store.operators.tables import alert_rules, alert_silences, operator_alerts, operator_notices

OPEN = (AlertState.PENDING, AlertState.FIRING)
TRIED_FOR = timedelta(days=1)
"""The time after which a notice to an unreachable target is given up."""


def rules(connection: Connection) -> Mapping[str, AlertRule]:
    """The current rules, by name."""
    table = alert_rules.c
    newest = sa.select(alert_rules).distinct(table.rule).order_by(table.rule, table.version.desc())
    found = dict(BY_NAME)
    for row in connection.execute(newest):
        if row.rule in found:
            found[row.rule] = replace(
                found[row.rule],
                severity=Severity(row.severity),
                fires_at=row.fires_at,
                clears_at=row.clears_at,
                for_s=row.for_s,
                enabled=row.enabled,
            )
    return found


def set_rule(connection: Connection, rule: AlertRule, *, by: str) -> int:
    """Add a version of a rule, which applies from now on. Returns its number."""
    last = connection.execute(sa.select(sa.func.max(alert_rules.c.version)).where(alert_rules.c.rule == rule.name))
    version = (last.scalar() or 0) + 1
    connection.execute(
        sa.insert(alert_rules).values(
            rule=rule.name,
            version=version,
            severity=rule.severity,
            fires_at=rule.fires_at,
            clears_at=rule.clears_at,
            for_s=rule.for_s,
            enabled=rule.enabled,
            changed_by=by,
        )
    )
    return version


@dataclass(frozen=True, kw_only=True)
class Open:
    """An alert that has not ended."""

    id: UUID
    standing: Standing


def open_alerts(connection: Connection) -> dict[tuple[str, str], Open]:
    """Open alerts by rule and subject; locked, so that no other process changes them."""
    query = sa.select(operator_alerts).where(operator_alerts.c.state.in_(OPEN)).with_for_update()
    return {
        (row.rule, row.subject): Open(
            id=row.id,
            standing=Standing(
                state=AlertState(row.state),
                since=row.since,
                notified_at=row.told_at,
                is_acknowledged=row.acknowledged_by is not None,
            ),
        )
        for row in connection.execute(query)
    }


def write(
    connection: Connection,
    key: tuple[str, str],
    known: Open | None,
    move: Move,
    *,
    value: float | None,
    targets: int,
    silenced: bool,
    now: datetime,
) -> None:
    """Write the next state of an alert. Each address gets a notice, unless the alert is silenced."""
    if move.state is None:
        if known is not None:
            connection.execute(sa.delete(operator_alerts).where(operator_alerts.c.id == known.id))
        return
    alert_id = known.id if known else uuid7()
    told_at = {"told_at": now} if move.notice and not silenced else {}
    ended_at = {"ended_at": now} if move.state is AlertState.RESOLVED else {}
    values: dict[str, Any] = {"state": move.state, "value": value, **told_at, **ended_at}
    if known is None:
        connection.execute(
            sa.insert(operator_alerts).values(id=alert_id, rule=key[0], subject=key[1], since=now, **values)
        )
    else:
        connection.execute(sa.update(operator_alerts).where(operator_alerts.c.id == alert_id).values(values))
    was_notified = move.notice is NoticeKind.FIRED or (known is not None and known.standing.notified_at is not None)
    if move.notice and was_notified and not silenced:
        rows = [{"id": uuid7(), "alert_id": alert_id, "told": move.notice, "target": place} for place in range(targets)]
        if rows:
            connection.execute(sa.insert(operator_notices), rows)


def silenced(connection: Connection, *, now: datetime) -> set[tuple[str, str | None]]:
    """The active silences: rule and subject, None for any subject."""
    query = sa.select(alert_silences.c.rule, alert_silences.c.subject).where(alert_silences.c.until > now)
    return {(row.rule, row.subject) for row in connection.execute(query)}


def silence(connection: Connection, rule: str, subject: str | None, *, reason: str, until: datetime, by: str) -> UUID:
    """Silence a rule, or one subject of it, until this time. Alerts are still recorded."""
    silence_id: UUID = uuid7()
    values = {"id": silence_id, "rule": rule, "subject": subject, "reason": reason, "until": until, "silenced_by": by}
    connection.execute(sa.insert(alert_silences).values(values))
    return silence_id


def acknowledge(connection: Connection, alert_id: UUID, *, by: str) -> bool:
    """Acknowledge an alert: no more notices until it ends. False: it has ended, or was acknowledged before."""
    column = operator_alerts.c
    seen = sa.update(operator_alerts).where(
        column.id == alert_id, column.state.in_(OPEN), column.acknowledged_by.is_(None)
    )
    return connection.execute(seen.values(acknowledged_by=by)).rowcount > 0


def listed(connection: Connection, *, all_of_them: bool, limit: int) -> Sequence[Any]:
    """Rows of alerts, the newest first; ended ones only with `all_of_them`."""
    query = sa.select(operator_alerts).order_by(operator_alerts.c.since.desc()).limit(limit)
    return connection.execute(query if all_of_them else query.where(operator_alerts.c.state.in_(OPEN))).all()


def pending_notices(connection: Connection) -> Sequence[Any]:
    """Notices that were not sent yet, the oldest first, with their alert."""
    notice, alert = operator_notices.c, operator_alerts.c
    query = (
        sa.select(notice.id, notice.told, notice.target, alert.rule, alert.subject, alert.value, alert.since)
        .join(operator_alerts, alert.id == notice.alert_id)
        .where(notice.sent_at.is_(None), notice.made_at > sa.func.now() - TRIED_FOR)
        .order_by(notice.made_at, notice.id)
    )
    return connection.execute(query).all()


def note_try(connection: Connection, notice_id: UUID, *, was_sent: bool) -> None:
    """Record the result of an attempt to send a notice."""
    sent_at = {"sent_at": sa.func.clock_timestamp()} if was_sent else {}
    values = {"tries": operator_notices.c.tries + 1, **sent_at}
    connection.execute(sa.update(operator_notices).where(operator_notices.c.id == notice_id).values(values))
