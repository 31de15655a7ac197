"""Runs that Dagster itself started (UI, sensor, schedule, backfill, command line), as requests that can be retried.

Most are what a payload of the job says, and are kept as one. Others (a day's partition, a config that no payload has)
are kept as they were started: job, config and partition, which hold ids only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.queue.enqueue import checked


class AsStarted(BaseModel):
    """How Dagster was told to start a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    config: dict[str, Any]
    partition_key: str | None = None


class StartedByDagster(Payload):
    """The payload of a request that was made from a run. Read at the claim; nobody can send one in."""

    job: ClassVar[str] = ""

    started_by_dagster: AsStarted


def payload_of_run(row: JobRow, started: AsStarted) -> Payload:
    """What a retry of such a run does: a payload of the job where one says the same, else the run as it was started.

    A job that coalesces always gets a payload of its own, since its retry may share a run with others.
    """
    given = _op_config(started.config)
    if row.batch_size > 1:
        given = {name: value for name, value in (given or {}).items() if name in row.payload.model_fields}
        return _payload(row, given) or row.payload()
    if started.job == row.name and started.partition_key is None and given is not None:
        payload = _payload(row, given)
        if payload is not None and _says(payload, given):
            return payload
    return StartedByDagster(started_by_dagster=started)


def claimed_payload(row: JobRow, payload: Mapping[str, Any]) -> Payload:
    """The payload of a claimed request, recorded ones included.

    Raises:
        PermanentError: it is not what the job takes; the text names the field.
    """
    if set(payload) == set(StartedByDagster.model_fields):
        try:
            recorded = StartedByDagster.model_validate(payload)
        except ValidationError:
            return checked(row, payload)
        if recorded.started_by_dagster.job in row.dagster_jobs:
            return recorded
    return checked(row, payload)


def _op_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The config of the one op that a run configures; {} when there is none, None when there is more."""
    ops = config.get("ops", {})
    if set(config) - {"ops"} or len(ops) > 1:
        return None
    (op,) = ops.values() if ops else ({},)
    return dict(op.get("config", {})) if set(op) <= {"config"} else None


def _payload(row: JobRow, given: Mapping[str, Any]) -> Payload | None:
    try:
        return row.payload.model_validate(given)
    except ValidationError:
        return None


def _says(payload: Payload, given: Mapping[str, Any]) -> bool:
    """Whether a run of this payload is configured as the one that was given."""
    said = _op_config(payload.run_config([payload])) or {}
    return all(said.get(name) == value for name, value in given.items())
