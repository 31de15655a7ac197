"""Operations on events: list the topics, and receive an event, which starts the jobs of its topic."""

import hashlib
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Connection

from kordant_jobs.api import workflows
from kordant_jobs.api.calls import Answer, Call
from kordant_jobs.api.problems import Problem, denied, invalid
from kordant_jobs.api.requests import placed
from kordant_jobs.api.schemas import CloudEvent, NewExecution
from kordant_jobs.catalog import LISTENERS, TOPICS, WORKFLOW_TRIGGERED, Event, publish, reach_of
from kordant_jobs.domain.access.policy import Action, Owner, decide
from kordant_jobs.domain.access.principals import Principal
from kordant_jobs.engine import Payload
from kordant_jobs.store.access import received


def _is_granted(principal: Principal, topic: str) -> bool:
    return principal.topics is None or topic in principal.topics


def list_topics(call: Call) -> Answer:
    """The topics, with the schema of their events' data, and whether the caller may publish them."""
    call.permit(Action.READ)
    may = decide(call.principal, Action.PUBLISH, Owner.SCOPE).allowed
    return Answer(
        body={
            "items": [
                {
                    "topic": topic,
                    "purpose": (data.__doc__ or "").strip(),
                    "starts": [row.name for row, _ in LISTENERS[topic]] or ["agent_workflow"],
                    "may_publish": may and _is_granted(call.principal, topic),
                    "data_schema": data.model_json_schema(),
                }
                for topic, data in TOPICS.items()
            ]
        }
    )


def _data(topic: str, values: dict[str, Any]) -> Event:
    try:
        return TOPICS[topic].model_validate(values)
    except ValidationError as error:
        raise invalid(error, "the data is not what events of this topic carry.", at="/data") from None


def receive(connection: Connection, call: Call, body: CloudEvent) -> Answer:
    """Queue the requests that an event starts. The same event (sender, source and id) within 7 days starts nothing
    more."""
    rule = call.permit(Action.PUBLISH)
    if body.type not in TOPICS:
        raise Problem("unknown_topic", "there is no such topic; GET /api/jobs/topics lists them.")
    if not _is_granted(call.principal, body.type):
        raise denied("service.topic_not_granted")
    event = _data(body.type, body.data)
    tenant, entity = placed(call, body.tenant, body.subject)
    content = body.model_dump_json(exclude={"time"}).encode()
    key = {"principal_id": call.principal.id, "source": body.source, "event_id": body.id}
    known = received.claim(
        connection, **key, topic=body.type, body_hash=hashlib.blake2b(content, digest_size=16).digest(), now=call.now
    )
    if known is not None:
        if not known.same_body:
            raise Problem("key_reused", "this source and id came with another content: an event has an id of its own.")
        return _answer(body, known.request_ids, replayed=True)

    def allow(payload: Payload) -> None:
        if not call.principal.reaches(reach_of(payload)):
            raise denied("payload.reaches_beyond_scope")

    if body.type == WORKFLOW_TRIGGERED:
        values = event.model_dump()
        begun = workflows.execute(
            connection, call, values["workflow_id"],
            NewExecution(inputs=values["inputs"], tenant=tenant, entity_key=entity),
        )  # fmt: skip
        made = [begun.body["id"]]
    else:
        made = publish(connection, body.type, event, requested_by=call.principal.id, tenant=tenant, entity_key=entity,
                       allow=allow)  # fmt: skip
    received.finish(connection, **key, request_ids=made)
    call.record(connection, call.audit_entry("events.publish", "topic", body.type, rule=rule, tenant=tenant,
                                       after={"started": [str(one) for one in made]}))  # fmt: skip
    return _answer(body, made, replayed=False)


def _answer(body: CloudEvent, made: Any, *, replayed: bool) -> Answer:
    is_workflow = body.type == WORKFLOW_TRIGGERED
    ids: list[UUID] = list(made)
    return Answer(
        status=202,
        headers={"Idempotency-Replayed": "true"} if replayed else {},
        body={
            "event": body.id,
            "topic": body.type,
            "requests": [] if is_workflow else ids,
            "execution": ids[0] if is_workflow else None,
        },
    )
