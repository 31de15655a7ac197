"""Requests: the list, filtered by the URL; one request with its attempts; and its actions."""

from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api import requests
from kordant_jobs.api.console.visit import Visit, an_id
from kordant_jobs.api.problems import Problem, not_found
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.engine.control import Cause, Filter, Request, RequestStatus, operate

PAGE = 50
HERE = "/console/requests"
ACTIONS = {one.value.removeprefix("requests."): one for one in requests.TAKES}
ASKED_FIRST = frozenset({Action.CANCEL, Action.EXPIRE})
"""Actions that ask for confirmation, since they cannot be undone."""
_STATES = {state.value: (state,) for state in RequestStatus}


def _filter(visit: Visit) -> tuple[dict[str, str | None], Filter]:
    """The conditions in the URL, as text and as a filter.

    Raises:
        Problem: a word is unknown; the text lists the known ones.
    """
    names = ("job", "state", "cause", "by", "tenant", "entity")
    asked = {name: visit.asked(name) for name in names}
    for name, known in (("state", set(RequestStatus)), ("cause", set(Cause)), ("job", set(BY_NAME))):
        if asked[name] is not None and asked[name] not in known:
            raise Problem("invalid", visit.words.say(
                "The filter %(name)s takes one of: %(known)s.", name=name, known=", ".join(sorted(known))))  # fmt: skip
    if asked["cause"] and not asked["state"]:
        asked["state"] = RequestStatus.DEAD.value
    return asked, Filter(
        job=asked["job"],
        statuses=_STATES.get(asked["state"] or ""),
        cause=Cause(asked["cause"]) if asked["cause"] else None,
        requested_by=asked["by"],
        tenant=asked["tenant"],
        entity_key=asked["entity"],
    )


def show_list(connection: Connection, visit: Visit) -> Response:
    """Show a page of requests, the newest first."""
    asked, where = _filter(visit)
    cursor = visit.asked("cursor")
    body = requests.list_requests(connection, visit.who, where, limit=PAGE, cursor=cursor).body
    is_all = cursor is None and body["next_cursor"] is None
    count = len(body["items"]) if is_all else operate.estimate(connection, requests.scoped(visit.who, where))
    return visit.page(
        "requests.html",
        visit.words.say("Requests"),
        items=body["items"],
        next_cursor=body["next_cursor"],
        asked=asked,
        filters={name: value for name, value in asked.items() if value},
        is_first=cursor is None,
        is_all=is_all,
        count=count,
        jobs=sorted(BY_NAME),
        states=list(RequestStatus),
        causes=list(Cause),
    )


def _found(connection: Connection, visit: Visit) -> tuple[dict[str, Any], Request]:
    """The request of the path, in the form of the API and as the engine's value."""
    request_id = an_id(visit.request.path_params["request_id"])
    shown = requests.read(connection, visit.who, request_id).body
    return shown, operate.find(connection, Filter(ids=(request_id,)))[0]


def _allowed(visit: Visit, request: Request) -> list[tuple[str, Action]]:
    """The actions that the reader may do on a request in its current state."""
    return [
        (name, action)
        for name, action in ACTIONS.items()
        if request.status in requests.TAKES[action]
        and visit.who.may(action, request)
        and not (action is Action.ACKNOWLEDGE and request.acknowledged_at)
    ]


def show_one(connection: Connection, visit: Visit) -> Response:
    """Show one request with its attempts. The payload is shown on demand, which the audit log records."""
    shown, request = _found(connection, visit)
    may_read = visit.who.may(Action.READ_OUTPUT, request)
    is_revealed = may_read and visit.asked("show") == "payload"
    attempts = operate.inspect(connection, request.id).attempts
    if is_revealed:
        visit.who.record(connection, visit.who.audit_entry("requests.read_payload", "request", str(request.id)))
    return visit.page(
        "request.html",
        visit.words.say("Request of %(job)s", job=request.job),
        one=shown,
        request_=request,
        attempts=attempts,
        may_read=may_read,
        payload=dict(request.payload) if is_revealed else None,
        actions=_allowed(visit, request),
        asked_first=ASKED_FIRST,
    )


def ask(connection: Connection, visit: Visit) -> Response:
    """Ask for confirmation before an action that cannot be undone."""
    shown, request = _found(connection, visit)
    name = visit.request.path_params["action"]
    if name not in dict(_allowed(visit, request)):
        return visit.go(f"{HERE}/{request.id}")
    return visit.page("ask.html", visit.words.say("Are you sure?"), one=shown, name=name)


def handle_form(connection: Connection, visit: Visit) -> Response:
    """Do the action, by the operation of the API."""
    action = ACTIONS.get(visit.request.path_params["action"])
    if action is None:
        raise not_found()
    _, request = _found(connection, visit)
    requests.act(connection, visit.who, request.id, action)
    return visit.go(f"{HERE}/{request.id}", done=visit.request.path_params["action"])
