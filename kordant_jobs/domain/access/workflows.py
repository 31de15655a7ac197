"""Workflows of agents: typed steps that run from the top, and the decision of one step. Pure.

A value of a step may be a reference: `${inputs.NAME}` or `${steps.NAME.output.PATH}`. There are no expressions, no
code, and no loops: `goto` names a later step.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

STEPS_MAX = 50
AWAIT_MAX_S, GATE_MAX_S = 7 * 86_400, 72 * 3600
"""The longest waits of a step: for a person, as for any change set; for a job, the time in which its dead letter may be
handled."""
FIRST_CHECK_S, LAST_CHECK_S = 2.0, 60.0
"""The times between checks of a waiting workflow, which holds no process: 2 s, then twice as long each time, up to a
minute."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Plain = str | int | bool | None
_REFERENCE = re.compile(r"\$\{(?:inputs\.([a-z][a-z0-9_]*)|steps\.([a-z][a-z0-9_]*)\.output\.([a-z][a-z0-9_.]*))\}")


class WorkflowState(StrEnum):
    """The state of a version of a workflow."""

    DRAFT = "draft"
    """Waiting for a person."""
    APPROVED = "approved"
    RETIRED = "retired"


class StepStatus(StrEnum):
    """The state of a step of an execution."""

    WAITING = "waiting"
    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"
    SKIPPED = "skipped"


class ExecutionStatus(StrEnum):
    """The state of an execution. DENIED: a rule or a person refused it."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    DENIED = "denied"
    FAILED = "failed"


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    name: Name


class Trigger(_Step):
    """Queue a request of a job, within the agent's grant."""

    type: Literal["trigger"]
    job: Annotated[str, Field(max_length=100)]
    payload: dict[str, Any] = Field(default_factory=dict, max_length=50)
    priority: Literal["critical", "high", "normal", "low"] | None = None


class Await(_Step):
    """Wait until the request of an earlier step has ended."""

    type: Literal["await"]
    step: Name
    timeout_s: Annotated[int, Field(ge=1, le=AWAIT_MAX_S)]


class Check(_Step):
    """Read the state of an earlier step's request, without waiting."""

    type: Literal["check"]
    step: Name


class Case(BaseModel):
    """Go to a later step when the comparison with the value is true."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    op: Literal["eq", "ne", "gt", "lt", "in"]
    value: Plain | list[Plain]
    goto: Name


class Decide(_Step):
    """Go to the step of the first case that matches the value, else to `otherwise`, else to the next step."""

    type: Literal["decide"]
    on: Annotated[str, Field(pattern=_REFERENCE.pattern)]
    cases: Annotated[tuple[Case, ...], Field(min_length=1, max_length=20)]
    otherwise: Name | None = None


class Propose(_Step):
    """Propose a change of a row of the price list. A person decides on it; the workflow does not wait for that."""

    type: Literal["propose"]
    job: Annotated[str, Field(max_length=100)]
    tier: Literal["basic", "plus", "premium", "all"] = "all"
    changes: Annotated[dict[str, Plain], Field(min_length=1, max_length=20)]


class Gate(_Step):
    """Wait for a person's approval. A refusal, or no answer, ends the workflow."""

    type: Literal["gate"]
    message: Annotated[str, Field(min_length=1, max_length=500)]
    timeout_s: Annotated[int, Field(ge=60, le=GATE_MAX_S)] = GATE_MAX_S


class Notify(_Step):
    """Send the operators a message: in the run's log and in the audit log."""

    type: Literal["notify"]
    message: Annotated[str, Field(min_length=1, max_length=500)]


class Stop(_Step):
    """End the workflow here."""

    type: Literal["stop"]
    status: Literal["completed", "stopped"] = "completed"


Step = Annotated[Trigger | Await | Check | Decide | Propose | Gate | Notify | Stop, Field(discriminator="type")]
OneStep: TypeAdapter[Step] = TypeAdapter(Step)


class WorkflowDefinition(BaseModel):
    """The definition of a workflow: its inputs by name and type, and its steps."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    inputs: dict[Name, Literal["text", "number", "boolean"]] = Field(default_factory=dict, max_length=20)
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=STEPS_MAX)]

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> WorkflowDefinition:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("two steps have the same name")
        for position, step in enumerate(self.steps):
            earlier, later = set(names[:position]), set(names[position + 1 :])
            if isinstance(step, Await | Check) and step.step not in {
                one.name for one in self.steps[:position] if isinstance(one, Trigger)
            }:
                raise ValueError(f"{step.name}: no earlier trigger is called {step.step}")
            if isinstance(step, Decide):
                targets = {case.goto for case in step.cases} | ({step.otherwise} if step.otherwise else set())
                if not targets <= later:
                    raise ValueError(f"{step.name}: {min(targets - later)} is no later step")
            for text in _texts(step.model_dump()):
                self._check_reference(step.name, text, earlier)
        return self

    def _check_reference(self, name: str, text: str, earlier: set[str]) -> None:
        if "${" not in text:
            return
        found = _REFERENCE.fullmatch(text)
        if found is None:
            raise ValueError(f"{name}: a reference stands alone, as ${{inputs.x}} or ${{steps.s.output.status}}")
        if found[1] and found[1] not in self.inputs:
            raise ValueError(f"{name}: there is no input {found[1]}")
        if found[2] and found[2] not in earlier:
            raise ValueError(f"{name}: {found[2]} is no earlier step")

    def digest(self) -> str:
        """The digest that a person approves: any change of the definition gives another digest."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()

    def faults_of(self, inputs: Mapping[str, Any]) -> list[str]:
        """The faults of the inputs of an execution."""
        kinds = {"text": str, "number": int | float, "boolean": bool}
        faults = [f"there is no input {name}" for name in sorted(set(inputs) - set(self.inputs))]
        for name, kind in self.inputs.items():
            value = inputs.get(name)
            fits = isinstance(value, kinds[kind]) and (kind == "boolean") is isinstance(value, bool)
            if not fits:
                faults.append(f"the input {name} must be a {kind}")
            elif isinstance(value, str) and (len(value) > 200 or "${" in value):
                faults.append(f"the input {name} is too long, or holds a reference")
        return faults


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for one in (*value, *value.values()) for text in _texts(one)]
    if isinstance(value, list | tuple):
        return [text for one in value for text in _texts(one)]
    return []


def resolved(value: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> Any:
    """`value` with every reference replaced by its value; a path that does not exist gives null.

    >>> resolved({"a": "${inputs.x}", "b": ["${steps.s.output.status}"]}, {"x": 3}, {"s": {"status": "completed"}})
    {'a': 3, 'b': ['completed']}
    """
    if isinstance(value, Mapping):
        return {name: resolved(one, inputs, outputs) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(one, inputs, outputs) for one in value]
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    if found[1]:
        return inputs.get(found[1])
    at: Any = outputs.get(found[2])
    for name in found[3].split("."):
        at = at.get(name) if isinstance(at, Mapping) else None
    return at


def goes_to(step: Decide, value: Any) -> str | None:
    """The step that a decision leads to; None: the next one. A value that cannot be compared matches no case.

    >>> step = OneStep.validate_python({"type": "decide", "name": "d", "on": "${inputs.n}",
    ...                                 "cases": [{"op": "gt", "value": 3, "goto": "many"}]})
    >>> goes_to(step, 5), goes_to(step, 2), goes_to(step, None)
    ('many', None, None)
    """
    for case in step.cases:
        if _fits(case, value):
            return case.goto
    return step.otherwise


def _fits(case: Case, value: Any) -> bool:
    if case.op == "eq":
        return bool(value == case.value)
    if case.op == "ne":
        return bool(value != case.value)
    if case.op == "in":
        return isinstance(case.value, list) and value in case.value
    both_numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, case.value))
    if not both_numbers:
        return False
    return bool(value > case.value if case.op == "gt" else value < case.value)


def next_check_s(looks: int) -> float:
    """Seconds until the next check of a waiting execution, by the number of checks so far.

    >>> [next_check_s(looks) for looks in (0, 1, 4, 9)]
    [2.0, 4.0, 32.0, 60.0]
    """
    return min(FIRST_CHECK_S * 2.0 ** min(looks, 10), LAST_CHECK_S)
