"""The requests that Dagster's UI may send: by the mutation's field, the action that the policy decides on. Pure.

A mutation that is in neither table is refused, so that an upgrade of Dagster cannot add one unnoticed; a test compares
both tables with Dagster's schema.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    parse,
    value_from_ast_untyped,
)

from kordant_jobs.domain.access.policy import Action

_RUN = (
    "launchRun", "launchRunReexecution", "launchPipelineExecution", "launchPipelineReexecution",
    "launchPartitionBackfill", "cancelPartitionBackfill", "resumePartitionBackfill", "reexecutePartitionBackfill",
    "scheduleDryRun", "sensorDryRun",
)  # fmt: skip
TERMINATE = frozenset({"terminateRun", "terminateRuns", "terminatePipelineExecution"})
_ADMIN = (
    "startSchedule", "stopRunningSchedule", "resetSchedule", "startSensor", "stopSensor", "resetSensor",
    "setSensorCursor", "reloadRepositoryLocation", "reloadWorkspace", "setConcurrencyLimit", "deleteConcurrencyLimit",
    "freeConcurrencySlots", "freeConcurrencySlotsForRun",
)  # fmt: skip
MUTATIONS: Mapping[str, Action] = {
    **dict.fromkeys(_RUN, Action.UI_RUN),
    **dict.fromkeys(TERMINATE, Action.UI_RUN),
    **dict.fromkeys(_ADMIN, Action.UI_ADMIN),
    "setNuxSeen": Action.UI_READ,
    "logTelemetry": Action.UI_READ,
}
"""Every mutation that is passed on, for principals that may perform the action."""
UNRECORDED = frozenset({"setNuxSeen", "logTelemetry"})
"""Mutations that the UI sends by itself and that do not affect jobs."""
REFUSED = frozenset({
    "shutdownRepositoryLocation", "deleteRun", "deletePipelineRun", "wipeAssets", "addDynamicPartition",
    "deleteDynamicPartitions", "reportRunlessAssetEvents", "reportAssetCheckEvaluations", "setAppManagedComponent",
    "deleteAppManagedComponent", "refreshComponentState", "setAutoMaterializePaused", "launchMultipleRuns",
})  # fmt: skip
"""Mutations that are refused to everyone: they delete history, or bypass the queue."""

TOKENS = 20_000
"""The most GraphQL tokens of a document. The UI's largest has some 3,000."""
DEEPEST = 30
NAMES = frozenset({"jobName", "pipelineName", "runId", "runIds", "parentRunId", "rootRunId", "scheduleName",
                   "sensorName", "backfillId", "repositoryLocationName", "partitionSetName", "name", "id",
                   "concurrencyKey"})  # fmt: skip
_CLOSED = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
MANY = 20


class NotAllowed(ValueError):
    """The document is not passed on. The text gives the reason without repeating any of it."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One field of a mutation, with its arguments as plain values."""

    field: str
    arguments: Mapping[str, Any]

    @property
    def named(self) -> dict[str, str]:
        """The objects that it changes, by Dagster's own names for them, for the audit log. Run config and tags are left
        out."""
        found: dict[str, list[str]] = {}
        for name, value in _pairs(self.arguments):
            if name in NAMES and _CLOSED.fullmatch(value):
                found.setdefault(name, []).append(value)
        return {name: ",".join(values[:MANY]) for name, values in sorted(found.items())}

    @property
    def run_ids(self) -> list[str]:
        """The ids of the runs that it names."""
        return [value for name, value in _pairs(self.arguments) if name in {"runId", "runIds"}]


def _pairs(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text below a value, with the name of its argument."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            if key not in {"runConfigData", "runConfigYaml", "tags", "executionMetadata"}:
                yield from _pairs(below, str(key))
    elif isinstance(value, list):
        for below in value:
            yield from _pairs(below, name)
    elif isinstance(value, str):
        yield name, value


def read(query: Any, variables: Any, *, kinds: frozenset[OperationType]) -> list[Mutation]:
    """The mutations of a document; empty for a query or a subscription.

    Raises:
        NotAllowed: it cannot be read, holds more than one operation, or one of another kind.

    >>> q = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
    >>> [(one.field, one.named) for one in read(q, {"id": "ab"}, kinds=frozenset(OperationType))]
    [('terminateRun', {'runId': 'ab'})]
    >>> q = 'mutation($id: String! = "ab") { terminateRun(runId: $id) { __typename } }'
    >>> [one.run_ids for one in read(q, {}, kinds=frozenset(OperationType))]
    [['ab']]
    """
    if not isinstance(query, str) or not (variables is None or isinstance(variables, dict)):
        raise NotAllowed("a call holds one query as text, and variables as an object.")
    try:
        document = parse(query, no_location=True, max_tokens=TOKENS)
    except (GraphQLError, RecursionError):
        raise NotAllowed("the query cannot be read, or is too long.") from None
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    if len(operations) != 1:
        raise NotAllowed("a document holds one operation.")
    (operation,) = operations
    for definition in document.definitions:
        _bounded(getattr(definition, "selection_set", None), DEEPEST)
    if operation.operation not in kinds:
        raise NotAllowed(f"a {operation.operation.value} is not taken here.")
    if operation.operation is not OperationType.MUTATION:
        return []
    fields = operation.selection_set.selections
    plain = [one for one in fields if isinstance(one, FieldNode) and not one.directives]
    if len(plain) != len(fields) or len(plain) != 1:
        raise NotAllowed("a mutation holds one field, and no fragment or directive around it.")
    (field,) = plain
    defaults = {
        one.variable.name.value: value_from_ast_untyped(one.default_value)
        for one in operation.variable_definitions
        if one.default_value is not None
    }
    given = defaults | (variables or {})  # what Dagster will see: an id may stand in a default, too
    arguments = {one.name.value: value_from_ast_untyped(one.value, given) for one in field.arguments}
    return [Mutation(field=field.name.value, arguments=arguments)]


def _bounded(selections: SelectionSetNode | None, levels: int) -> None:
    if selections is None:
        return
    if levels == 0:
        raise NotAllowed(f"a document is nested deeper than {DEEPEST} levels.")
    for one in selections.selections:
        _bounded(getattr(one, "selection_set", None), levels - 1)
