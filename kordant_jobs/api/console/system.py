"""Sources, the audit log, and the doctor."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api import schedules
from kordant_jobs.api.console.visit import Visit
from kordant_jobs.api.problems import Problem
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.observability import standing
from kordant_jobs.observability.checks import CHECKS
from kordant_jobs.observability.doctor import ExaminedSystem, examine
from kordant_jobs.settings import load_settings
from kordant_jobs.store.darkwatch import source_states

PAGE = 50


def show_sources(connection: Connection, visit: Visit) -> Response:
    """Show each source with its state, its last answer, and today's verdicts, with the reasons of unknown ones."""
    visit.who.permit(Action.SYSTEM_READ, visit.who.of_all())
    verdicts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    reasons = []
    for source, verdict, reason, count in visit.cached(
        "verdicts", lambda: connection.execute(sa.text(standing.VERDICTS)).all()
    ):
        verdicts[source][verdict] += count
        if reason:
            reasons.append((source, verdict, reason, count))
    states = {one.source.value: one for one in source_states.known(connection)}
    return visit.page(
        "sources.html",
        visit.words.say("Sources"),
        names=sorted({*states, *verdicts}),
        states=states,
        verdicts=verdicts,
        reasons=reasons,
        now=visit.who.now,
    )


def show_audit(connection: Connection, visit: Visit) -> Response:
    """Show entries of the audit log, the newest first: all to an admin, their own to others. Reading is recorded."""
    before = visit.asked("before")
    if before is not None and not (before.isdecimal() and len(before) < 18):
        raise Problem("bad_cursor", visit.words.say("This is no place in the log."))
    body = schedules.audit(connection, visit.who, before=int(before) if before else None, limit=PAGE).body
    return visit.page(
        "audit.html", visit.words.say("Audit log"), items=body["items"], next_before=body["next_before"],
        is_first=before is None,
    )  # fmt: skip


def show_doctor(connection: Connection, visit: Visit) -> Response:
    """Show the result of the last examination."""
    visit.who.permit(Action.SYSTEM_READ, visit.who.of_all())
    kept = visit.console.examined
    at, results = kept[-1] if kept else (None, ())
    return visit.page("doctor.html", visit.words.say("Doctor"), at=at, results=results)


def examine_now(connection: Connection, visit: Visit) -> Callable[[], Response]:
    """Make all checks, after the transaction since they take some seconds, and keep the results for the page."""
    visit.who.permit(Action.SYSTEM_READ, visit.who.of_all())
    backend = visit.console.backend

    def afterwards() -> Response:
        here = ExaminedSystem(settings=load_settings(), db=backend.db, stack=backend.stack(), has_all_secrets=False)
        results = examine(here, CHECKS)
        visit.console.examined[:] = [(datetime.now(UTC), results)]
        return visit.go("/console/doctor", done="examined")

    return afterwards
