"""Jobs of the tests' own, with the limits that each test is about. Their runs are functions of this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from kordant_jobs.engine.jobs import JobRow, RetryPolicy
from kordant_jobs.engine.payload import MergeRule, Payload
from kordant_jobs.engine.requests import Priority

STEADY = RetryPolicy(jitter=0.0)


class Toy(Payload):
    """A number to tell requests apart."""

    job: ClassVar[str] = "toy"

    number: int = 0


class Mail(Payload):
    """As Toy, for the job that coalesces."""

    job: ClassVar[str] = "mail"
    merging: ClassVar[Mapping[str, MergeRule]] = {"number": max}

    number: int = 0


TOY = JobRow(
    name="toy",
    alias="toys.toy",
    purpose="tests",
    started_by="tests",
    payload=Toy,
    timeout_s=60,
    cpu_s=60,
    memory_mb=256,
    concurrency=4,
    retries=STEADY,
)
MAIL = replace(TOY, name="mail", alias="toys.mail", payload=Mail, concurrency=2, batch_size=1000)


def catalog(**changes: Any) -> dict[str, JobRow]:
    """The two jobs, with columns of `toy` changed."""
    return {"toy": replace(TOY, **changes), "mail": MAIL}


def mails(**changes: Any) -> dict[str, JobRow]:
    """The two jobs, with columns of `mail` changed."""
    return {"toy": TOY, "mail": replace(MAIL, **changes)}


LEVELS = list(Priority)
