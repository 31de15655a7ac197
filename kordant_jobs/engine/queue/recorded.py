"""Converts a run that Dagster was asked to start to the payload of its request, and back.

A run's config is its job's payload and is stored as such. A run of a partition also stores its job and key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.payload import Payload


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
