"""Agents: their owners, grants and use, and their refusals, proposals and workflows."""

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api.console.visit import Visit
from kordant_jobs.api.problems import not_found
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.store.access import agents, changes, people, workflows
from kordant_jobs.store.operators import counts

PAGE = 50
NEWEST = 20


def show_list(connection: Connection, visit: Visit) -> Response:
    """Show a page of agents by id, and the refusals of all agents by rule."""
    visit.who.permit(Action.SYSTEM_READ, visit.who.of_all())
    after = visit.asked("after") or ""
    found, now = agents.listed(connection, after=after, limit=PAGE + 1), visit.who.now
    ids = tuple(one.agent_id for one in found[:PAGE])
    return visit.page(
        "agents.html",
        visit.words.say("Agents"),
        items=found[:PAGE],
        totals=visit.cached("agents", lambda: agents.totals(connection, ids, now=now), of=ids),
        after=found[PAGE - 1].agent_id if len(found) > PAGE else None,
        is_first=not after,
        denials=counts.denials(connection, Role.AGENT),
    )


def show_one(connection: Connection, visit: Visit) -> Response:
    """Show one agent: its grants and their use, refusals by rule, proposals and workflows."""
    visit.who.permit(Action.SYSTEM_READ, visit.who.of_all())
    agent_id, now = visit.request.path_params["agent_id"], visit.who.now
    found = agents.get(connection, agent_id)
    if found is None:
        raise not_found()
    grants = people.grants(connection, agent_id)
    uses = visit.cached("uses of an agent", lambda: agents.uses(connection, agent_id, now=now), of=agent_id)
    return visit.page(
        "agent.html",
        found.agent_id,
        one=found,
        jobs=sorted({*grants, *uses}),
        grants=grants,
        uses=uses,
        now=now,
        refusals=agents.refusals(connection, agent_id, now=now),
        proposals=changes.find(connection, proposed_by=agent_id, limit=NEWEST),
        workflows=workflows.listed(connection, agent_id=agent_id, limit=NEWEST),
    )
