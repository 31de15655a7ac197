"""Operations on operators' alerts."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs.api.calls import Call
from kordant_jobs.api.problems import Problem
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.domain.operators.alert_rules import BY_NAME
from kordant_jobs.store.operators import alerts

LONGEST_H = 24 * 30


def acknowledge(connection: Connection, call: Call, alert_id: UUID) -> None:
    """Acknowledge an alert: its reminders stop, and the next notice says that it has ended.

    Raises:
        Problem: the alert has ended or is acknowledged already, or the caller lacks the right.
    """
    rule = call.permit(Action.ALERT_HANDLE, call.of_all())
    if not alerts.acknowledge(connection, alert_id, by=call.principal.id):
        raise Problem("wrong_state", "the alert has ended, or is acknowledged already.")
    call.record(connection, call.entry("alerts.acknowledge", "alert", str(alert_id), rule=rule))


def silence(connection: Connection, call: Call, name: str, subject: str | None, *, reason: str, hours: float) -> None:
    """Silence a rule, or one subject of it, for `hours`.

    Raises:
        Problem: the rule is unknown, the reason is empty, `hours` is out of range, or the caller lacks the right.
    """
    rule = call.permit(Action.ALERT_HANDLE, call.of_all())
    if name not in BY_NAME or not reason.strip() or not 0 < hours <= LONGEST_H:
        raise Problem("invalid", f"a silence has a rule, a reason, and at most {LONGEST_H} hours.")
    until = call.now + timedelta(hours=hours)
    made = alerts.silence(connection, name, subject, reason=reason.strip()[:500], until=until, by=call.principal.id)
    call.record(connection, call.entry("alerts.silence", "silence", str(made), rule=rule, after={"rule": name}))
