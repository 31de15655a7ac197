"""Operations on the price list, change sets, the caller's own data, and the audit log."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs.api import grants
from kordant_jobs.api.calls import Answer, Call
from kordant_jobs.api.problems import Problem, denied, not_found
from kordant_jobs.api.requests import job_named
from kordant_jobs.api.schemas import Approval, Pause, Proposal, ScheduleChange, ScheduleDiff
from kordant_jobs.domain.access.change_sets import OF_GRANTS, WAITS, ChangeKind, ChangeState, digest_of
from kordant_jobs.domain.access.policy import SELF_DECISION, Action, Owner, decision_on
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.domain.schedules.rows import StoredScheduleRow
from kordant_jobs.domain.schedules.simulation import simulate
from kordant_jobs.errors import PermanentError
from kordant_jobs.redaction import redact
from kordant_jobs.store.access import changes, isolation, people, workflows
from kordant_jobs.store.access.changes import ChangeSet
from kordant_jobs.store.audit import log
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.triggers import price_list


def _shown(stored: StoredScheduleRow, call: Call) -> dict[str, Any]:
    values = {name: value for name, value in stored.row.to_json().items() if name not in {"job", "tier"}}
    return {
        "job": stored.row.key[0],
        "tier": stored.row.key[1],
        "name": stored.row.name,
        "version": stored.version,
        "values": values,
        "paused": stored.inactive_reason(call.now) if stored.pause else None,
        "changed_at": stored.changed_at,
        "changed_by": stored.changed_by,
    }


def _row(connection: Connection, job: str, tier: str, *, lock: bool = False) -> StoredScheduleRow:
    found = scheduler_config.get(connection, (job_or_name(job), tier), lock=lock)
    if found is None:
        raise not_found()
    return found


def job_or_name(name: str) -> str:
    """The name of a job by name or alias; a name that is not in the catalogue is returned unchanged."""
    try:
        return job_named(name).name
    except Problem:
        return name


def _answer(stored: StoredScheduleRow, call: Call) -> Answer:
    return Answer(body=_shown(stored, call), headers={"ETag": f'"v{stored.version}"'})


def list_rows(connection: Connection, call: Call) -> Answer:
    """All rows of the price list."""
    call.permit(Action.SCHEDULE_READ)
    return Answer(body={"items": [_shown(one, call) for one in scheduler_config.load(connection).rows]})


def read(connection: Connection, call: Call, job: str, tier: str) -> Answer:
    """One row of the price list, with its ETag."""
    call.permit(Action.SCHEDULE_READ)
    return _answer(_row(connection, job, tier), call)


def history(connection: Connection, call: Call, job: str, tier: str, *, limit: int) -> Answer:
    """The versions of a row, the newest first. Only admins and operators get the notes, which are free text."""
    call.permit(Action.SCHEDULE_READ)
    key = _row(connection, job, tier).row.key
    is_person = call.principal.role in {Role.ADMIN, Role.OPERATOR}
    items = [
        {
            "version": one.version,
            "changed_at": one.changed_at,
            "changed_by": one.changed_by,
            "note": one.note if is_person else None,
            "values": one.row,
        }
        for one in scheduler_config.history(connection, key, limit=limit)
    ]
    return Answer(body={"items": items})


def _matches(stored: StoredScheduleRow, if_match: str | None) -> None:
    if if_match is None:
        raise Problem("precondition_required", "send the ETag that you read as If-Match.")
    if if_match != f'"v{stored.version}"':
        raise Problem("precondition_failed", "the row has changed since you read it: read it again.")


def change(
    connection: Connection, call: Call, key: tuple[str, str], body: ScheduleChange, if_match: str | None
) -> Answer:
    """Change a row of the price list. The change is validated, and takes effect within seconds."""
    rule = call.permit(Action.SCHEDULE_WRITE)
    before = _row(connection, *key, lock=True)
    _matches(before, if_match)
    after = _changed(connection, before, body.changes, by=call.principal.id, note=body.note or None)
    versions = {"before": {"version": before.version}, "after": {"version": after.version}}
    call.record(
        connection, call.audit_entry("schedules.change", "schedule", "/".join(after.row.key), rule=rule, **versions)
    )
    return _answer(after, call)


def _changed(
    connection: Connection, before: StoredScheduleRow, values: dict[str, Any], *, by: str, note: str | None
) -> StoredScheduleRow:
    try:
        return price_list.change(connection, before.row.key, values, by=by, note=note)
    except (PermanentError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(error) from None


def _invalid(error: Exception) -> Problem:
    """The problem for invalid values; its text does not repeat them."""
    text = redact(str(error)) if isinstance(error, PermanentError) else "a value is not of its kind"
    return Problem("invalid", text[:300], errors=[{"pointer": "/changes", "detail": text[:300]}])


def pause(connection: Connection, call: Call, key: tuple[str, str], body: Pause) -> Answer:
    """Pause a row of the price list."""
    rule = call.permit(Action.SCHEDULE_PAUSE)
    before = _row(connection, *key, lock=True)
    try:
        after = price_list.pause(connection, before.row.key, reason=body.reason, until=body.until, by=call.principal.id)
    except PermanentError as error:
        raise _invalid(error) from None
    call.record(connection, call.audit_entry("schedules.pause", "schedule", "/".join(after.row.key), rule=rule))
    return _answer(after, call)


def resume(connection: Connection, call: Call, key: tuple[str, str]) -> Answer:
    """Resume a paused row."""
    rule = call.permit(Action.SCHEDULE_PAUSE)
    before = _row(connection, *key, lock=True)
    if before.pause is None:
        raise Problem("wrong_state", "the row is not paused.", state="running", allowed=["paused"])
    after = price_list.resume(connection, before.row.key, by=call.principal.id)
    call.record(connection, call.audit_entry("schedules.resume", "schedule", "/".join(after.row.key), rule=rule))
    return _answer(after, call)


def diff(connection: Connection, call: Call, key: tuple[str, str], body: ScheduleDiff) -> Answer:
    """The effect of a change on a row's runs. Nothing is written, and no numbers of subscriptions are shown."""
    call.permit(Action.SCHEDULE_READ)
    before = _row(connection, *key)
    try:
        after = price_list.proposed(before.row, body.changes)
    except (PermanentError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(error) from None
    until = call.now + timedelta(days=body.days)
    was = simulate(before, {}, start=call.now, until=until)
    will = simulate(StoredScheduleRow(**{**vars(before), "row": after}), {}, start=call.now, until=until)
    old, new = before.row.to_json(), after.to_json()
    return Answer(
        body={
            "schedule": after.name,
            "changed": {name: [old[name], new[name]] for name in new if old[name] != new[name]},
            "runs_before": len(was),
            "runs_after": len(will),
            "next_after": [{"name": one.name, "job": one.job, "starts_at": one.starts_at} for one in will[:10]],
        }
    )


def change_shown(one: ChangeSet) -> dict[str, Any]:
    """A change set in the form of the API's responses."""
    body = asdict(one)
    del body["owner"]
    return {**body, "state": one.state.value, "kind": one.kind.value, "changes": dict(one.changes)}


def _change_answer(one: ChangeSet, status: int = 200) -> Answer:
    return Answer(body=change_shown(one), status=status, headers={"ETag": f'"{one.digest[:16]}-{one.state}"'})


def propose(connection: Connection, call: Call, body: Proposal) -> Answer:
    """Propose a change of a row or of an agent's grant, for a person to decide."""
    rule = call.permit(Action.PROPOSE)
    kind = ChangeKind(body.kind)
    find_target = grants.target_of if kind in OF_GRANTS else _target_of
    job, tier, version, values = find_target(connection, call, body)
    if body.dry_run:
        call.record(connection, call.audit_entry("changes.propose_dry_run", kind.value, f"{job}/{tier}", rule=rule))
        expires_at = call.now + WAITS
        return Answer(
            body=change_shown(
                ChangeSet(id=UUID(int=0), kind=kind, job=job, tier=tier,
                          base_version=version, changes=values,
                          digest=digest_of(f"{job}/{tier}", version, values, expires_at),
                          state=ChangeState.PROPOSED, proposed_by=call.principal.id, owner=None,
                          proposed_at=call.now, expires_at=expires_at, decided_by=None, decided_at=None)
            )
        )  # fmt: skip
    made = changes.propose(connection, kind=kind, job=job, tier=tier, base_version=version, changes=values,
                           by=call.principal.id, owner=call.principal.on_behalf_of, now=call.now)  # fmt: skip
    call.record(connection, call.audit_entry("changes.propose", "change_set", str(made.id), rule=rule,
                                       after={"digest": made.digest}))  # fmt: skip
    return _change_answer(made, 202)


def _target_of(connection: Connection, call: Call, body: Proposal) -> tuple[str, str, int, dict[str, Any]]:
    before = _row(connection, body.job, body.tier)
    try:
        price_list.proposed(before.row, body.changes)
    except (PermanentError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(error) from None
    return *before.row.key, before.version, body.changes


def _owner(call: Call, one: ChangeSet) -> Owner:
    if one.proposed_by == call.principal.id:
        return Owner.OWN
    return Owner.SCOPE if call.principal.role in {Role.ADMIN, Role.OPERATOR} else Owner.OTHER


def _change_of(connection: Connection, call: Call, change_id: UUID, *, lock: bool = False) -> ChangeSet:
    call.permit(Action.READ_CHANGE, Owner.OWN)
    with isolation.released(connection):
        changes.expire(connection, now=call.now)
    found = changes.get(connection, change_id, lock=lock)
    if found is None:
        raise not_found()
    call.permit(Action.READ_CHANGE, _owner(call, found))
    return found


def read_change(connection: Connection, call: Call, change_id: UUID) -> Answer:
    """One change set."""
    return _change_answer(_change_of(connection, call, change_id))


def list_changes(connection: Connection, call: Call) -> Answer:
    """Change sets, the newest first; an agent sees only its own."""
    call.permit(Action.READ_CHANGE, Owner.OWN)
    with isolation.released(connection):
        changes.expire(connection, now=call.now)
    is_person = call.principal.role in {Role.ADMIN, Role.OPERATOR}
    found = changes.find(connection, proposed_by=None if is_person else call.principal.id, limit=100)
    return Answer(body={"items": [change_shown(one) for one in found]})


def withdraw(connection: Connection, call: Call, change_id: UUID) -> Answer:
    """Withdraw one's own proposal."""
    found = _change_of(connection, call, change_id, lock=True)
    if found.proposed_by != call.principal.id:
        raise denied("changes.withdraw_own")
    return _ended(connection, call, found, ChangeState.WITHDRAWN, "changes.withdraw_own")


def _ended(connection: Connection, call: Call, found: ChangeSet, state: ChangeState, rule: str) -> Answer:
    if found.state is not ChangeState.PROPOSED:
        raise Problem("wrong_state", f"the change set is {found.state}.", state=found.state.value, allowed=["proposed"])
    changes.move(connection, found.id, state, by=call.principal.id, now=call.now)
    call.record(connection, call.audit_entry(f"changes.{state}", "change_set", str(found.id), rule=rule,
                                       before={"state": "proposed"}, after={"state": state.value}))  # fmt: skip
    after = changes.get(connection, found.id)
    return _change_answer(after or found)


def _decidable(connection: Connection, call: Call, change_id: UUID) -> tuple[ChangeSet, str]:
    found = _change_of(connection, call, change_id, lock=True)
    rule = call.permit(decision_on(found.kind), _owner(call, found))
    if call.principal.id in {found.proposed_by, found.owner}:
        raise denied(SELF_DECISION)
    return found, rule


def reject(connection: Connection, call: Call, change_id: UUID) -> Answer:
    """Reject a proposal."""
    found, rule = _decidable(connection, call, change_id)
    answer = _ended(connection, call, found, ChangeState.REJECTED, rule)
    if found.kind is ChangeKind.GATE:
        workflows.wake(connection, UUID(found.tier), now=call.now)
    return answer


def approve(connection: Connection, call: Call, change_id: UUID, body: Approval) -> Answer:
    """Approve a proposal by the digest that the caller read. It is applied in this transaction, or is marked as
    conflicted if its base has changed."""
    found, rule = _decidable(connection, call, change_id)
    if body.digest != found.digest:
        raise Problem("precondition_failed", "the digest is of another proposal: read it again.")
    if found.kind in OF_GRANTS:
        is_applied = found.state is not ChangeState.PROPOSED or grants.apply(connection, found)
        return _ended(connection, call, found, ChangeState.APPLIED if is_applied else ChangeState.CONFLICTED, rule)
    if found.kind is not ChangeKind.SCHEDULE:
        answer = _ended(connection, call, found, ChangeState.APPLIED, rule)
        if found.kind is ChangeKind.GATE:
            workflows.wake(connection, UUID(found.tier), now=call.now)
        else:
            workflows.approve(connection, UUID(found.tier))
        return answer
    row = _row(connection, found.job, found.tier, lock=True)
    if found.state is ChangeState.PROPOSED and row.version != found.base_version:
        return _ended(connection, call, found, ChangeState.CONFLICTED, rule)
    answer = _ended(connection, call, found, ChangeState.APPLIED, rule)
    _changed(connection, row, dict(found.changes), by=f"change_set:{found.id}", note=f"approved by {call.principal.id}")
    return answer


def me(connection: Connection, call: Call) -> Answer:
    """The caller, with its scopes and an agent's grants."""
    mine = call.principal
    held = people.grants(connection, mine.id) if mine.role is Role.AGENT else {}
    return Answer(
        body={
            "id": mine.id,
            "role": mine.role.value,
            "scopes": sorted(mine.scopes),
            "tenants": None if mine.tenants is None else sorted(mine.tenants),
            "entities": None if mine.entities is None else sorted(mine.entities),
            "budgets": [grants.written(one) for one in held.values()],
        }
    )


def audit(connection: Connection, call: Call, *, before: int | None, limit: int) -> Answer:
    """Entries of the audit log, the newest first. An admin sees all, others see their own. Reading is recorded, too."""
    call.permit(Action.AUDIT_READ, Owner.OWN)
    actor = None if call.principal.role is Role.ADMIN else call.principal.id
    found = log.entries(connection, actor=actor, before=before, limit=limit)
    with isolation.released(connection):
        call.record(connection, call.audit_entry("audit.read", "audit", "log", after={"rows": len(found)}))
    items = [{"seq": seq, "entry": entry} for seq, entry in found]
    return Answer(body={"items": items, "next_before": found[-1][0] if len(found) == limit else None})
