"""Operators' alerts: the open and the ended ones, the forms to acknowledge and silence, and the rules."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api.calls import Call
from kordant_jobs.api.console.visit import Visit, an_id
from kordant_jobs.api.problems import Problem
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.domain.operators.alert_rules import BY_NAME
from kordant_jobs.store.operators import alerts

HERE = "/console/alerts"
SHOWN = 100


def show(connection: Connection, visit: Visit) -> Response:
    """Show the open and the ended alerts, and the rules with their silences."""
    visit.who.permit(Action.SYSTEM_READ, visit.who.of_all())
    silenced: dict[str, list[str]] = {}
    for rule, subject in sorted(alerts.silenced(connection, now=visit.who.now), key=str):
        silenced.setdefault(rule, []).append(subject or visit.words.say("everything"))
    return visit.page(
        "alerts.html",
        visit.words.say("Alerts"),
        standing=alerts.listed(connection, all_of_them=False, limit=SHOWN),
        ended=[one for one in alerts.listed(connection, all_of_them=True, limit=SHOWN) if one.ended_at],
        rules=alerts.rules(connection),
        silenced=silenced,
    )


def handle_form(connection: Connection, visit: Visit) -> Response:
    """Acknowledge one alert, or silence a rule."""
    form = visit.form
    if form.get("action") == "silence":
        hours = form.get("hours", "")
        silence(
            connection, visit.who, form.get("rule", ""), form.get("subject") or None, reason=form.get("reason", ""),
            hours=float(hours) if hours.replace(".", "", 1).isdecimal() else 0.0,
        )  # fmt: skip
        return visit.go(HERE, done="silence")
    acknowledge(connection, visit.who, an_id(form.get("alert", "")))
    return visit.go(HERE, done="acknowledge")


LONGEST_H = 24 * 30


def acknowledge(connection: Connection, call: Call, alert_id: UUID) -> None:
    """Acknowledge an alert: its reminders stop, and the next notice says that it has ended.

    Raises:
        Problem: the alert has ended or is acknowledged already, or the caller lacks the right.
    """
    rule = call.permit(Action.ALERT_HANDLE, call.of_all())
    if not alerts.acknowledge(connection, alert_id, by=call.principal.id):
        raise Problem("wrong_state", "the alert has ended, or is acknowledged already.")
    call.record(connection, call.audit_entry("alerts.acknowledge", "alert", str(alert_id), rule=rule))


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
    call.record(connection, call.audit_entry("alerts.silence", "silence", str(made), rule=rule, after={"rule": name}))
