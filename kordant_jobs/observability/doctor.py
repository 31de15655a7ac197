"""Looks for what is known to go wrong: each check says what is so, why that matters, and the command that mends it.

It changes nothing. A check that cannot be made (nothing runs, the database does not answer) is skipped with the
reason, and one that breaks is a failure of its own and stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.errors import KordantError
from kordant_jobs.settings import Settings


class State(StrEnum):
    """The result of a check. WARN: nothing is lost yet."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong: the fact, why it matters, what to do."""

    state: State
    fact: str
    why: str
    fix: str


def fail(fact: str, why: str, fix: str) -> Finding:
    """A fault that breaks something now."""
    return Finding(state=State.FAIL, fact=fact, why=why, fix=fix)


def warn(fact: str, why: str, fix: str) -> Finding:
    """A fault that will break something, or hides one."""
    return Finding(state=State.WARN, fact=fact, why=why, fix=fix)


class Skipped(Exception):
    """The check cannot be made here, and why."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """The system under examination. `db` None: the database did not answer. `stack` None: no `up` runs on this state
    folder."""

    settings: Settings
    db: Engine | None
    stack: Mapping[str, Any] | None = None
    sends: bool = False
    """True when operators may be sent a test notice, and the heartbeat address a ping."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    """This machine's."""
    nameserver: tuple[str, int] | None = None
    """Address and port of the DNS server that is asked; None: those of this machine."""

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection on which no statement takes longer than 5 s.

        Raises:
            Skipped: there is no database.
        """
        if self.db is None:
            raise Skipped("the database does not answer")
        with self.db.connect() as connection, connection.begin():
            connection.execute(sa.text("SET LOCAL statement_timeout = '5s'"))
            yield connection

    def rows(self, query: str, **given: Any) -> Sequence[sa.Row[Any]]:
        """The rows of a query.

        Raises:
            Skipped: there is no database.
        """
        with self.connection() as connection:
            return connection.execute(sa.text(query), given).all()

    def must_run(self) -> None:
        """End a check of what only runs with `up`.

        Raises:
            Skipped: it does not run.
        """
        if self.stack is None:
            raise Skipped("no `up` runs on this state folder")


Check = Callable[[Patient], Iterator[Finding]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One check with what it found; `reason` of a skipped one."""

    id: str
    what: str
    state: State
    findings: tuple[Finding, ...] = ()
    reason: str = ""


def examine(patient: Patient, checks: Mapping[str, Check]) -> list[Result]:
    """Make every check, in their order."""
    return [_made(name, check, patient) for name, check in checks.items()]


def _made(name: str, check: Check, patient: Patient) -> Result:
    what = (check.__doc__ or name).strip().splitlines()[0]
    try:
        found = tuple(check(patient))
    except Skipped as skipped:
        return Result(id=name, what=what, state=State.SKIPPED, reason=str(skipped))
    except (KordantError, sa.exc.SQLAlchemyError, OSError) as error:
        text = str(error).splitlines()[0].rstrip(".")
        broken = fail(f"the check itself broke: {text}", "nothing is known of this", "mend that, and look again")
        return Result(id=name, what=what, state=State.FAIL, findings=(broken,))
    states = {one.state for one in found}
    worst = next((state for state in (State.FAIL, State.WARN) if state in states), State.OK)
    return Result(id=name, what=what, state=worst, findings=found)


def exit_code(results: Sequence[Result]) -> int:
    """0: well, 1: warnings, 2: something fails."""
    states = {one.state for one in results}
    return 2 if State.FAIL in states else 1 if State.WARN in states else 0
