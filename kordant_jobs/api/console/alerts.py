"""Operators' alerts: the open and the ended ones, the forms to acknowledge and silence, and the rules."""

from __future__ import annotations

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api import alerts as operations
from kordant_jobs.api.console.visit import Visit, an_id
from kordant_jobs.domain.access.policy import Action
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
        operations.silence(
            connection, visit.who, form.get("rule", ""), form.get("subject") or None, reason=form.get("reason", ""),
            hours=float(hours) if hours.replace(".", "", 1).isdecimal() else 0.0,
        )  # fmt: skip
        return visit.go(HERE, done="silence")
    operations.acknowledge(connection, visit.who, an_id(form.get("alert", "")))
    return visit.go(HERE, done="acknowledge")
