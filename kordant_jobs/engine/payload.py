"""The base class of all payloads of requests. The models themselves belong to the jobs.

A payload is also the run config of the job's first op, so that a request, a launchpad, a backfill and `dagster job
execute` use the same fields and get the same error texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from kordant_jobs.errors import PermanentError
from kordant_jobs.redaction import redact


class MergeRule(Protocol):
    """The rule by which a run merges the values that many requests have for one field, as `max` or `union`."""

    def __call__(self, values: Sequence[Any], /) -> Any:
        """One value for all of them."""


def union(values: Sequence[Iterable[Any]]) -> tuple[Any, ...]:
    """All elements of the values, sorted: a rule for `Payload.merging`.

    >>> union([(3, 1), (1, 2)])
    (1, 2, 3)
    """
    return tuple(sorted({one for value in values for one in value}))


class Payload(BaseModel):
    """The base class of payloads. Frozen; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: ClassVar[str]
    op: ClassVar[str] = "plan"
    """The op whose config the payload is: the first of the job."""
    merging: ClassVar[Mapping[str, MergeRule]] = {}
    """The rule by field that merges the values of several requests into one run's, for example `{"limit": max}`. The
    merged value must itself be valid."""

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """`values` as this payload.

        Raises:
            PermanentError: they are not what the job takes; the text names the field, not its value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(["payload", *map(str, first["loc"])])
            raise PermanentError(redact(f"{cls.job}: {field}: {first['msg'].removeprefix('Value error, ')}.")) from None

    @classmethod
    def merged(cls, batch: Sequence[Self]) -> Self:
        """One payload that covers all of `batch`, which is not empty. More than one payload needs rules in
        `merging`."""
        if len(batch) == 1:
            return batch[0]
        return batch[0].model_copy(
            update={name: rule([getattr(one, name) for one in batch]) for name, rule in cls.merging.items()}
        )

    @classmethod
    def run_config(cls, batch: Sequence[Self]) -> dict[str, Any]:
        """The Dagster run config of one run that serves all of `batch`, without values at their defaults."""
        return {"ops": {cls.op: {"config": cls.merged(batch).model_dump(mode="json", exclude_defaults=True)}}}

    @classmethod
    def values_in(cls, run_config: Mapping[str, Any]) -> dict[str, Any]:
        """The payload's values in a run config, unchecked: the opposite of `run_config`."""
        op = run_config.get("ops", {}).get(cls.op) or {}
        return dict(op.get("config") or {})
