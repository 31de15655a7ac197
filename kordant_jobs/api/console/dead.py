"""Dead letters by job and cause, and the actions on a whole group."""

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api import requests
from kordant_jobs.api.console.visit import Visit
from kordant_jobs.api.problems import Problem, not_found
from kordant_jobs.api.schemas import BulkAction, BulkFilter
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.engine.control import Cause, Filter, operate

HERE = "/console/dead"
ACTIONS = ("replay", "acknowledge")
TYPED_FROM = 1_000
"""The number of requests from which on the reader must type the action's name to confirm it."""


def show(connection: Connection, visit: Visit) -> Response:
    """Show the groups, those with the most unacknowledged first; only of one job if the URL names it."""
    visit.who.permit(Action.READ)
    job = visit.asked("job")
    where = requests.scoped(visit.who, Filter(job=job))
    return visit.page(
        "dead.html",
        visit.words.say("Dead letters"),
        groups=operate.dead_groups(connection, where),
        job=job,
        actions=ACTIONS if visit.may(Action.BULK) else (),
    )


def _filter(visit: Visit) -> BulkFilter:
    """The group that the query or the form names."""
    values = visit.form if visit.request.method == "POST" else visit.request.query_params
    job, cause = values.get("job", ""), values.get("cause", "")
    if job not in BY_NAME or cause not in set(Cause) or visit.request.path_params["action"] not in ACTIONS:
        raise not_found()
    is_new = False if visit.request.path_params["action"] == "acknowledge" else None
    return BulkFilter(job=job, cause=Cause(cause), acknowledged=is_new)


def ask(connection: Connection, visit: Visit) -> Response:
    """Ask for confirmation, with the number of requests."""
    visit.who.permit(Action.BULK)
    meant = _filter(visit)
    where = requests.scoped(visit.who, Filter(**meant.model_dump(exclude_none=True)))
    groups = operate.dead_groups(connection, where)
    return visit.page(
        "ask_all.html",
        visit.words.say("Are you sure?"),
        group=groups[0] if groups else None,
        name=visit.request.path_params["action"],
        typed_from=TYPED_FROM,
    )


def handle_form(connection: Connection, visit: Visit) -> Response:
    """Do the action on the whole group, if its size is still about the confirmed one."""
    name, expected = visit.request.path_params["action"], visit.form.get("expected_count", "")
    meant = _filter(visit)
    if not expected.isdecimal():
        raise not_found()
    if int(expected) >= TYPED_FROM and visit.form.get("typed", "").strip().lower() != name:
        raise Problem("invalid", visit.words.say("Type the word %(word)s to go on. Nothing was done.", word=name))
    body = BulkAction(action=name, filter=meant, expected_count=int(expected))
    done = requests.bulk(connection, visit.who, body).body["done"]
    return visit.go(HERE, done=name, count=done)
