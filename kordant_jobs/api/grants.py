"""Proposals of agents about their own grants: the first request of a job, or other limits."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import Connection

from kordant_jobs.api.calls import Call
from kordant_jobs.api.problems import Problem, denied, invalid
from kordant_jobs.api.requests import job_named, priority_of
from kordant_jobs.api.schemas import GrantChange, Proposal
from kordant_jobs.domain.access.change_sets import ChangeKind
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.engine import Priority
from kordant_jobs.store.access import people
from kordant_jobs.store.access.changes import ChangeSet
from kordant_jobs.store.access.people import Grant

NEW = Grant(job="", max_priority=Priority.NORMAL, requests_per_hour=60)
"""The grant that a proposal starts from if the agent has none for the job."""


def target_of(connection: Connection, call: Call, body: Proposal) -> tuple[str, str, int, dict[str, Any]]:
    """The target of a proposal: job, agent, the version of the grant, and the fields that would change.

    Raises:
        Problem: the caller is not an agent, has no grant for this job, already has its first request approved, or
            proposes an invalid limit.
    """
    if call.principal.role is not Role.AGENT:
        raise denied("grants.of_agents")
    job = job_named(body.job).name
    grant = people.grants(connection, call.principal.id).get(job)
    version = 0 if grant is None else grant.version
    if ChangeKind(body.kind) is ChangeKind.GRANT:
        return job, call.principal.id, version, _checked(body.changes)
    if grant is None:
        raise denied("agent.no_grant_of_job")
    if not grant.ask_first:
        raise Problem("wrong_state", "the first request was approved: start the job.", state="approved",
                      allowed=["ask_first"])  # fmt: skip
    return job, call.principal.id, version, {"ask_first": False}


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return GrantChange.model_validate(values).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        raise invalid(error, "a bound of the grant is not valid.", at="/changes") from None


def difference(connection: Connection, one: ChangeSet) -> dict[str, tuple[Any, Any]]:
    """The current and the proposed value of each field that would change, by its name."""
    before, after = _before_and_after(connection, one)
    old, new = written(before), written(after)
    return {name: (old[name] if before.version else None, new[name]) for name in one.changes}


def is_stale(connection: Connection, one: ChangeSet) -> bool:
    """True when the grant has changed since the proposal."""
    return _before_and_after(connection, one)[0].version != one.base_version


def apply(connection: Connection, one: ChangeSet) -> bool:
    """Save the grant as proposed. False: it has changed since the proposal, and nothing is saved."""
    lock = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
    connection.execute(lock, {"name": f"grant {one.tier} {one.job}"})
    before, after = _before_and_after(connection, one)
    if before.version != one.base_version:
        return False
    people.save_grant(connection, one.tier, after, by=f"change_set:{one.id}")
    return True


def _before_and_after(connection: Connection, one: ChangeSet) -> tuple[Grant, Grant]:
    before = people.grants(connection, one.tier).get(one.job) or replace(NEW, job=one.job)
    if one.kind is ChangeKind.FIRST_TRIGGER:
        return before, replace(before, ask_first=False)
    asked = GrantChange.model_validate(one.changes)
    values = {name: getattr(asked, name) for name in one.changes}
    if "max_priority" in values:
        values["max_priority"] = priority_of(values["max_priority"], before.max_priority)
    return before, replace(before, **values)


def written(grant: Grant) -> dict[str, Any]:
    """A grant in the form of the API's responses."""
    values = {**asdict(grant), "max_priority": grant.max_priority.word}
    del values["version"]
    return values
