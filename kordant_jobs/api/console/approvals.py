"""Approvals: the proposals of agents, their effect, and a person's decision."""

from datetime import datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api import grants, schedules
from kordant_jobs.api.console.visit import SIGN_IN, Visit, an_id
from kordant_jobs.api.problems import Problem, not_found
from kordant_jobs.api.schemas import Approval, ScheduleDiff
from kordant_jobs.domain.access.change_sets import OF_GRANTS, ChangeKind, ChangeState
from kordant_jobs.domain.access.policy import Action, Owner, decide, decision_on
from kordant_jobs.domain.schedules.cadence import next_tick
from kordant_jobs.store.access import changes
from kordant_jobs.store.schedules import config as scheduler_config

HERE = "/console/approvals"
TICKS, DAYS_MOST = 60, 31
"""The range over which a proposal is simulated: about 60 ticks of the row, at most 31 days."""


def show_list(connection: Connection, visit: Visit) -> Response:
    """Show proposals, those that wait for a decision first."""
    items = schedules.list_changes(connection, visit.who).body["items"]
    waiting = [one for one in items if one["state"] == ChangeState.PROPOSED]
    decided = [one for one in items if one["state"] != ChangeState.PROPOSED]
    return visit.page("approvals.html", visit.words.say("Approvals"), waiting=waiting, decided=decided)


def _id(visit: Visit) -> UUID:
    return an_id(visit.request.path_params["change_id"])


def _may_decide(connection: Connection, visit: Visit, shown: dict[str, Any]) -> bool:
    found = changes.get(connection, shown["id"])
    if found is None or found.state is not ChangeState.PROPOSED:
        return False
    principal = visit.who.principal
    is_own = principal.id in {found.proposed_by, found.owner}
    return not is_own and decide(principal, decision_on(found.kind), Owner.SCOPE).allowed


def _days(connection: Connection, key: tuple[str, str], now: datetime) -> int:
    stored = scheduler_config.get(connection, key)
    first = next_tick(stored.row, now) if stored else None
    second = next_tick(stored.row, first) if stored and first else None
    if first is None or second is None:
        return DAYS_MOST
    return min(max(ceil((second - first) * TICKS / timedelta(days=1)), 1), DAYS_MOST)


def show_one(connection: Connection, visit: Visit) -> Response:
    """Show one proposal: old and new values, and the runs with and without it."""
    shown = schedules.read_change(connection, visit.who, _id(visit)).body
    difference: dict[str, Any] | None = None
    is_stale, days = False, 1
    if shown["kind"] == ChangeKind.SCHEDULE and visit.may(Action.SCHEDULE_READ):
        key = (shown["job"], shown["tier"])
        try:
            is_stale = schedules.read(connection, visit.who, *key).body["version"] != shown["base_version"]
            days = _days(connection, key, visit.who.now)
            tried = ScheduleDiff(changes=shown["changes"], days=days)
            difference = schedules.diff(connection, visit.who, key, tried).body
        except Problem:
            difference = None
    found = changes.get(connection, shown["id"])
    if found is not None and found.kind in OF_GRANTS:
        is_stale = grants.is_stale(connection, found)
        difference = {"schedule": f"{found.tier}: {found.job}", "changed": grants.difference(connection, found)}
    return visit.page(
        "approval.html",
        visit.words.say("Proposal for %(job)s", job=shown["job"]),
        one=shown,
        difference=difference,
        is_stale=is_stale and shown["state"] == ChangeState.PROPOSED,
        may_decide=_may_decide(connection, visit, shown),
        days=days,
    )


def handle_form(connection: Connection, visit: Visit) -> Response:
    """Approve the proposal by the digest of what was shown, or reject it. A reader whose sign-in is older than
    `session.FRESH` must sign in again first."""
    change_id, decision = _id(visit), visit.form.get("decision")
    if not visit.is_fresh:
        return visit.go(SIGN_IN, to=f"{HERE}/{change_id}", again=1)
    if decision == "reject":
        schedules.reject(connection, visit.who, change_id)
        return visit.go(f"{HERE}/{change_id}", done="reject")
    if decision != "approve" or not visit.form.get("digest"):
        raise not_found()
    approval = Approval.model_construct(digest=visit.form["digest"])
    state = schedules.approve(connection, visit.who, change_id, approval).body["state"]
    return visit.go(f"{HERE}/{change_id}", done="approve" if state == ChangeState.APPLIED else state)
