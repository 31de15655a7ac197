"""What a request of a job carries: the root of all payloads. The models themselves are the jobs'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """Root of all payloads. Frozen; an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: ClassVar[str]

    @classmethod
    def run_config(cls, batch: Sequence[Self]) -> Mapping[str, Any]:
        """The Dagster run config of one run that serves all of `batch`. Empty: the job reads its requests itself."""
        return {}
