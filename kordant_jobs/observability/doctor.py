"""The doctor: checks for known faults. Each finding has the fact, why it matters, and the command that repairs it.

It changes nothing. A check that cannot be made (nothing runs, the database does not answer) is skipped with the
reason. A check that breaks is reported as a fault itself, and the other checks go on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.errors import KordantError
from kordant_jobs.settings import Settings
from kordant_jobs.store import migrate


class State(StrEnum):
    """The result of a check. WARN: nothing is broken yet."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault: the fact, why it matters, and what to do."""

    state: State
    fact: str
    why: str
    fix: str


def fail(fact: str, why: str, fix: str) -> Finding:
    """A finding for a fault that breaks something now."""
    return Finding(state=State.FAIL, fact=fact, why=why, fix=fix)


def warn(fact: str, why: str, fix: str) -> Finding:
    """A finding for a fault that will break something, or hides another fault."""
    return Finding(state=State.WARN, fact=fact, why=why, fix=fix)


class Skipped(Exception):
    """The check cannot be made here; the text is the reason."""


@dataclass(frozen=True, kw_only=True)
class ExaminedSystem:
    """The system that is examined. `db` None: the database did not answer. `stack`: the state that `up` reports; None:
    no `up` runs on this state folder."""

    settings: Settings
    db: Engine | None
    stack: Mapping[str, Any] | None = None
    has_all_secrets: bool = True
    """False in the API, which has no other secrets than its own."""
    sends: bool = False
    """True when operators may be sent a test notice, and the heartbeat address a ping."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    """The clock of this machine."""
    nameserver: tuple[str, int] | None = None
    """Address and port of the DNS server to ask; None: the DNS servers configured on this machine."""

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

    @cached_property
    def missing_tables(self) -> str | None:
        """The reason why the database lacks tables or columns that checks read; None: it is at the newest migration."""
        if self.db is None or (stands_at := migrate.revision(self.db)) == migrate.newest():
            return None
        return "the database is empty" if stands_at is None else f"the database is at migration {stands_at}"

    def must_run(self) -> None:
        """Skip the check unless `up` runs.

        Raises:
            Skipped: `up` does not run.
        """
        if self.stack is None:
            raise Skipped("no `up` runs on this state folder")


Check = Callable[[ExaminedSystem], Iterator[Finding]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One check with its findings; `reason`: why it was skipped."""

    id: str
    what: str
    state: State
    findings: tuple[Finding, ...] = ()
    reason: str = ""


def examine(system: ExaminedSystem, checks: Mapping[str, Check]) -> list[Result]:
    """Make all checks in the given order."""
    return [_made(name, check, system) for name, check in checks.items()]


def _made(name: str, check: Check, system: ExaminedSystem) -> Result:
    what = (check.__doc__ or name).strip().splitlines()[0]
    try:
        found = tuple(check(system))
    except Skipped as skipped:
        return Result(id=name, what=what, state=State.SKIPPED, reason=str(skipped))
    except (KordantError, sa.exc.SQLAlchemyError, OSError) as error:
        if isinstance(error, sa.exc.ProgrammingError) and system.missing_tables is not None:
            return Result(id=name, what=what, state=State.SKIPPED, reason=system.missing_tables)
        text = str(error).splitlines()[0].rstrip(".")
        broken = fail(
            f"the check itself broke: {text}", "nothing is known of this", "fix that, and run the check again"
        )
        return Result(id=name, what=what, state=State.FAIL, findings=(broken,))
    states = {one.state for one in found}
    worst = next((state for state in (State.FAIL, State.WARN) if state in states), State.OK)
    return Result(id=name, what=what, state=worst, findings=found)


def exit_code(results: Sequence[Result]) -> int:
    """The exit code of the command: 0 all is well, 1 warnings, 2 faults."""
    states = {one.state for one in results}
    return 2 if State.FAIL in states else 1 if State.WARN in states else 0
