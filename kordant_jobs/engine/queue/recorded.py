"""Converts a claim to the order of its run; and a run that Dagster was asked to start to the payload of its request,
and back.

A run's config is its job's payload and is stored as such. A run of a partition also stores its job and key.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kordant_jobs.engine.jobs import JobRow, limit_tags
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.queue.claim import Claim
from kordant_jobs.engine.queue.work import REQUEST_TAG, REQUESTS_TAG
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.engine.runs import RunOrder
from kordant_jobs.engine.store.attempts import Move, Running
from kordant_jobs.errors import PermanentError


class AsStarted(BaseModel):
    """The configuration that Dagster starts a run with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    config: dict[str, Any]
    partition_key: str | None = None


class Partition(BaseModel):
    """A partition, and the Dagster job that has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    key: str


class PartitionRun(Payload):
    """The payload of a request for a run of a partition."""

    job: ClassVar[str] = ""

    partition: Partition
    payload: dict[str, Any]


class Refused(Payload):
    """A run configuration that is not a valid payload of its job: the job's first op reports that, also after a
    replay."""

    model_config = ConfigDict(frozen=True, extra="allow")

    job: ClassVar[str] = ""


def payload_of_run(row: JobRow, started: AsStarted) -> Payload:
    """The payload that a retry of such a run uses. Only the payload in its config counts, not its executor or log
    level."""
    values = row.payload.values_in(started.config)
    if started.partition_key is not None and started.job in row.dagster_jobs:
        return PartitionRun(partition=Partition(job=started.job, key=started.partition_key), payload=values)
    try:
        return row.payload.model_validate(values)
    except ValidationError:
        return Refused.model_validate(values)


def run_of(row: JobRow, payloads: Sequence[Payload]) -> AsStarted:
    """The run that serves these payloads: of a partition, or of the plain job."""
    first = payloads[0]
    if isinstance(first, PartitionRun):
        config = row.payload.run_config([row.payload.checked(first.payload)])
        return AsStarted(job=first.partition.job, config=config, partition_key=first.partition.key)
    return AsStarted(job=row.name, config=row.payload.run_config(payloads))


def claimed_payload(row: JobRow, payload: Mapping[str, Any]) -> Payload:
    """The payload of a claimed request; it may be a recorded one of a partition.

    Raises:
        PermanentError: it is not what the job takes; the text names the field.
    """
    if set(payload) == set(PartitionRun.model_fields):
        try:
            recorded = PartitionRun.model_validate(payload)
        except ValidationError:
            return row.payload.checked(payload)
        if recorded.partition.job in row.dagster_jobs:
            row.payload.checked(recorded.payload)
            return recorded
    return row.payload.checked(payload)


PRIORITY_TAG = "kordant/priority"
ATTEMPT_TAG = "kordant/attempt"


def sort_out(row: JobRow, requests: Sequence[Running]) -> tuple[list[Payload], list[Move]]:
    """The valid payloads, and the moves of the requests with invalid ones (requests may be written by SQL,
    unchecked)."""
    good: list[Payload] = []
    bad: list[Move] = []
    for one in requests:
        try:
            good.append(claimed_payload(row, one.payload))
        except PermanentError as error:
            bad.append(
                Move(
                    request_id=one.id,
                    status=RequestStatus.DEAD,
                    outcome=Outcome.FAILURE,
                    cause=Cause.INVALID,
                    error=str(error),
                )
            )
    return good, bad


def order_for(claim: Claim, row: JobRow, payloads: Sequence[Payload]) -> RunOrder:
    """The run that serves the claim's requests. A retry names the run that it follows, when all its requests have the
    same one."""
    parents = {one.run_id for one in claim.requests}
    roots = {one.root_run_id for one in claim.requests}
    alone = {REQUEST_TAG: str(claim.requests[0].id)} if len(claim.requests) == 1 else {}
    attempts = max(one.attempt for one in claim.requests)
    run = run_of(row, payloads)
    return RunOrder(
        run_id=claim.run_id,
        is_there=claim.is_there,
        job=run.job,
        run_config=run.config,
        partition_key=run.partition_key,
        tags={
            **alone,
            REQUESTS_TAG: str(len(claim.requests)),
            PRIORITY_TAG: min(one.priority for one in claim.requests).word,
            **({ATTEMPT_TAG: str(1 + attempts)} if attempts else {}),
            **limit_tags(row),
        },
        parent_run_id=parents.pop() if len(parents) == 1 else None,
        root_run_id=roots.pop() if len(roots) == 1 else None,
    )
