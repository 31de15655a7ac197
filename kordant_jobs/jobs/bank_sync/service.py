"""Load, decide, save: due connections are read concurrently, each completely or not at all.

A read holds no transaction; its result is written in one, with the cursor. A bank that does not answer occupies a
limited number of places until a deadline, so it delays no other.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from uuid_utils.compat import uuid7

from kordant_jobs.catalog import OfEntity, publish
from kordant_jobs.catalog.bank_sync import EVERY_S
from kordant_jobs.domain.finance.limits import RATES, RETRIES, Rate, next_due, retry_at
from kordant_jobs.domain.finance.states import (
    ConnectionStatus,
    ConsentEnd,
    ErrorClass,
    NoticeKind,
    Provider,
    SyncOutcome,
)
from kordant_jobs.domain.finance.values import ConnectionRead, SeenConsent
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.errors import KordantError
from kordant_jobs.ports import Bank, BankFailed, BankQuestion
from kordant_jobs.store.finance import connections, notices, runs, saving
from kordant_jobs.store.finance.calls import ProviderCalls
from kordant_jobs.store.finance.connections import Claimed, LeaseLost
from kordant_jobs.store.finance.entities import load_keys
from kordant_jobs.store.finance.runs import SyncResult
from kordant_jobs.store.people.keyring import Keyring

log = logging.getLogger(__name__)

JOB = "bank_sync"
CHUNK = 2_000
READ_MOST_S = 120.0
"""Seconds after which a read is aborted."""
DATABASE_THREADS = 4
DOWN_AFTER, DOWN_FOR_S = 5, 600
"""Consecutive failures of one institution within a run after which its other connections are deferred, and for how many
seconds."""
ENDS_AFTER_NOT_FOUND = 3
NOT_FOUND = "not_found"
FAULTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, OSError, RuntimeError, TypeError,
    ValueError, DBAPIError,
)  # fmt: skip
DEFERRED = {"budget": "budget", "rate": "rate", "updating": "not_due"}


@dataclass(frozen=True, kw_only=True)
class SyncPlan:
    """The plan of one run: ids only."""

    run_id: UUID
    chunks: tuple[tuple[UUID, ...], ...]
    total: int
    active: int
    deferred: tuple[tuple[str, int], ...]
    user_is_present: bool
    warned: int = 0


@dataclass
class ChunkSync:
    """The result of a chunk's connections."""

    outcomes: Counter[str] = field(default_factory=Counter)
    deferred: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    calls: int = 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most concurrent reads in all and of one institution, and how fast providers are called."""

    at_once: int = 48
    each_at_once: int = 8
    rates: Mapping[Provider, Rate] = field(default_factory=lambda: RATES)


def plan_sync(
    *,
    named: Sequence[UUID] = (),
    also_due: bool = True,
    user_is_present: bool = False,
    db: Engine,
    now: datetime,
) -> SyncPlan:
    """Decide for every connection: due, or deferred for a reason. Also notifies owners of consents that end and of
    stale data."""
    run_id = uuid7()
    with db.begin() as connection:
        warned = runs.warn_of_consents(connection, now=now) + runs.warn_of_stale(connection, now=now)
        within = timedelta(seconds=EVERY_S)
        planned = connections.plan(connection, now=now, within=within, named=named, also_due=also_due)
        runs.begin(connection, run_id, planned, now=now)
    due = planned.due
    return SyncPlan(
        run_id=run_id,
        chunks=tuple(due[start : start + CHUNK] for start in range(0, len(due), CHUNK)),
        total=len(due),
        active=planned.active,
        deferred=tuple(sorted(planned.deferred.items())),
        user_is_present=user_is_present,
        warned=warned,
    )


def read_chunk(
    plan: SyncPlan,
    chunk: Sequence[UUID],
    *,
    db: Engine,
    keyring: Keyring,
    banks: Mapping[Provider, Bank],
    limits: Limits,
    advance: Callable[[int, str], None],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ChunkSync:
    """Read a chunk's connections concurrently. Safe to repeat: a connection whose read was saved is not due again."""
    reader = _Reader(plan, db, keyring, banks, limits, advance, clock)
    with ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="bank-sync") as threads:
        return asyncio.run(reader.all(chunk, threads))


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """The result of one connection: its outcome, or the reason of its deferral; `rows` counts its rows by what happened
    to them."""

    outcome: SyncOutcome | None = None
    deferred: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)


LEASE_HELD = _Turn(deferred="lease_held")


@dataclass
class _Reader:
    """Reads the connections of one chunk. Counters are changed only in the event loop, never in the threads that query
    Postgres."""

    plan: SyncPlan
    db: Engine
    keyring: Keyring
    banks: Mapping[Provider, Bank]
    limits: InitVar[Limits]
    advance: Callable[[int, str], None]
    clock: Callable[[], datetime]

    def __post_init__(self, limits: Limits) -> None:
        self._places = asyncio.Semaphore(limits.at_once)
        self._own = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(limits.each_at_once))
        self._down = Counter[str]()
        self._calls = {provider: ProviderCalls(self.db, self.keyring, provider, limits.rates) for provider in Provider}
        self._done = ChunkSync()

    async def all(self, chunk: Sequence[UUID], threads: ThreadPoolExecutor) -> ChunkSync:
        """Read every connection; an error with one does not stop the others."""
        asyncio.get_running_loop().set_default_executor(threads)
        banks = await asyncio.to_thread(_institutions, self.db, chunk)
        async with asyncio.TaskGroup() as tasks:
            for one in chunk:
                tasks.create_task(self._turn(one, banks.get(one, "")))
        self._done.calls = sum(one.made for one in self._calls.values())
        return self._done

    async def _turn(self, connection_id: UUID, institution: str) -> None:
        async with self._own[institution], self._places:
            turn = await self._one(connection_id, institution)
            if turn.outcome is not None:
                self._done.outcomes[turn.outcome.value] += 1
            if turn.outcome in {SyncOutcome.COMPLETE, SyncOutcome.PARTIAL}:
                self._down[institution] = 0
            if turn.deferred is not None:
                self._done.deferred[turn.deferred] += 1
            self._done.rows.update(turn.rows)
            self.advance(1, "reading")

    async def _one(self, connection_id: UUID, institution: str) -> _Turn:
        claimed = await asyncio.to_thread(self._claim, connection_id)
        if claimed is None:
            return LEASE_HELD
        began = time.monotonic()
        try:
            if self._down[institution] >= DOWN_AFTER:
                raise BankFailed(ErrorClass.BUSY, "institution_down", retry_after_s=DOWN_FOR_S)
            return await self._read(claimed, began)
        except BankFailed as failure:
            if failure.error_class is ErrorClass.TRANSIENT:
                self._down[institution] += 1
            return await asyncio.to_thread(self._fail, claimed, failure, began)
        except LeaseLost:
            return LEASE_HELD
        except saving.TooManyBad:
            bad = BankFailed(ErrorClass.PERMANENT, "too_many_bad_rows")
            return await asyncio.to_thread(self._fail, claimed, bad, began)
        except (KordantError, OperationalError):
            raise
        except FAULTS as error:  # of ours, over one bank's answer: the others are read
            log.warning("connection %s could not be read: %s", connection_id, type(error).__name__)
            fault = BankFailed(ErrorClass.PERMANENT, f"internal_{type(error).__name__}"[:60])
            return await asyncio.to_thread(self._fail, claimed, fault, began)

    def _claim(self, connection_id: UUID) -> Claimed | None:
        with self.db.begin() as connection:
            return connections.claim(connection, self.keyring, connection_id, now=self.clock())

    async def _read(self, claimed: Claimed, began: float) -> _Turn:
        bank = self.banks.get(claimed.provider)
        if bank is None:
            raise BankFailed(ErrorClass.OURS, "provider_off")
        now = self.clock()
        present = self.plan.user_is_present
        calls = self._calls[claimed.provider].for_connection(now=now, user_is_present=present)
        question = BankQuestion(
            institution=claimed.institution,
            item=claimed.item,
            cursor=claimed.cursor,
            known=claimed.known,
            now=now,
        )
        try:
            async with asyncio.timeout(READ_MOST_S):
                read = await bank.read(question, calls)
        except TimeoutError:
            raise BankFailed(ErrorClass.TRANSIENT, "timed_out") from None
        remaining = calls.least_remaining()
        try:
            return await asyncio.to_thread(self._save, claimed, read, remaining, began)
        except IntegrityError:  # a row came meanwhile that was not there when it was looked for
            return await asyncio.to_thread(self._save, claimed, read, remaining, began)

    def _save(self, claimed: Claimed, read: ConnectionRead, remaining: int | None, began: float) -> _Turn:
        now, spread = self.clock(), spread_of(claimed.id)
        is_whole = not read.failures and all(one.failure is None for one in read.accounts)
        due_at = next_due(claimed.provider, now, spread=spread, remaining=remaining)
        if not is_whole and claimed.failures < len(RETRIES):  # what fails for longer costs calls no more often
            due_at = retry_at(ErrorClass.TRANSIENT, claimed.failures + 1, now, spread=spread, after_s=None)
        with self.db.begin() as connection:
            saved = saving.save(
                connection, self.keyring, claimed, read, run_id=self.plan.run_id, now=now, due_at=due_at
            )
            outcome = SyncOutcome.PARTIAL if saved.failures else SyncOutcome.COMPLETE
            result = SyncResult(
                connection_id=claimed.id,
                outcome=outcome,
                error_class=ErrorClass.TRANSIENT if saved.failures else None,
                error_code=saved.failures[0] if saved.failures else None,
                counts=dict(saved.counts),
                data_as_of=read.as_of_at,
                duration_ms=_elapsed_ms(began),
            )
            runs.note(connection, self.plan.run_id, result, now=now)
            if saved.data_version is not None:
                publish(connection, "sync.completed", OfEntity(entity_id=claimed.entity_id), requested_by="bank_sync")
        return _Turn(outcome=outcome, rows=saved.counts)

    def _fail(self, claimed: Claimed, failure: BankFailed, began: float) -> _Turn:
        """Write why a connection was not read, and when it is due again. A busy one counts as deferred, not as
        tried."""
        now, spread = self.clock(), spread_of(claimed.id)
        is_deferred = failure.error_class is ErrorClass.BUSY
        due_at = retry_at(failure.error_class, claimed.failures + 1, now, spread=spread, after_s=failure.retry_after_s)
        with self.db.begin() as connection:
            try:
                connections.hold(connection, claimed)
            except LeaseLost:
                return LEASE_HELD
            connections.put_off(connection, claimed, due_at=due_at, reason=failure.code, failed=not is_deferred)
            if is_deferred:
                return _Turn(deferred=DEFERRED.get(failure.code, "not_due"))
            if failure.error_class is ErrorClass.USER:
                self._needs_user(connection, claimed, failure, now=now)
            result = SyncResult(
                connection_id=claimed.id,
                outcome=SyncOutcome.FAILED,
                error_class=failure.error_class,
                error_code=failure.code,
                duration_ms=_elapsed_ms(began),
            )
            runs.note(connection, self.plan.run_id, result, now=now)
            if failure.code == NOT_FOUND:
                self._may_be_gone(connection, claimed, now=now)
        return _Turn(outcome=SyncOutcome.FAILED)

    def _may_be_gone(self, connection: Connection, claimed: Claimed, *, now: datetime) -> None:
        """End a connection that its provider has not known three times in a row."""
        if runs.last_failed_with(connection, claimed.id, NOT_FOUND) >= ENDS_AFTER_NOT_FOUND:
            why = ConsentEnd.OTHER
            ended = ConnectionStatus.ENDED
            connections.set_status(connection, claimed.id, ended, reason=NOT_FOUND, now=now, consent_end=why)
            self._notify(connection, claimed, NoticeKind.CONSENT_ENDED, why.value, now=now)

    def _needs_user(self, connection: Connection, claimed: Claimed, failure: BankFailed, *, now: datetime) -> None:
        """Stop reading until the owner acts, since only they can repair it. A consent that ended ends the
        connection."""
        consent: SeenConsent | None = failure.consent
        ended = consent is not None and consent.ended is not None
        if consent is not None:
            keys = load_keys(connection, self.keyring, [claimed.entity_id], for_writing=True)
            connections.save_consent(connection, keys, claimed, consent, now=now)
        status = ConnectionStatus.ENDED if ended else ConnectionStatus.NEEDS_USER
        connections.set_status(connection, claimed.id, status, reason=failure.code, now=now)
        kind = NoticeKind.CONSENT_ENDED if ended else NoticeKind.NEEDS_USER
        self._notify(connection, claimed, kind, failure.code, now=now)

    def _notify(
        self, connection: Connection, claimed: Claimed, kind: NoticeKind, reason: str, *, now: datetime
    ) -> None:
        notices.queue(
            connection,
            entity_id=claimed.entity_id,
            connection_id=claimed.id,
            kind=kind,
            key=f"{kind.value} {claimed.id} {reason} {now.date()}",
            severity=Severity.MEDIUM,
            facts={"reason": reason, "institution": claimed.institution, "provider": claimed.provider.value},
        )


def finish(plan: SyncPlan, results: Sequence[ChunkSync], *, db: Engine, now: datetime) -> dict[str, int]:
    """End the run: the counts {successful, failed, total}, and the numbers of deferred connections and of changes."""
    deferred = sum((one.deferred for one in results), Counter[str]())
    rows = sum((one.rows for one in results), Counter[str]())
    with db.begin() as connection:
        successful, failed = runs.end(connection, plan.run_id, deferred, now=now)
    every = Counter(dict(plan.deferred)) + deferred
    return {
        "successful": successful,
        "failed": failed,
        "total": successful + failed,
        "active": plan.active,
        **{f"deferred_{reason}": number for reason, number in sorted(every.items())},
        **{f"rows_{name}": number for name, number in sorted(rows.items()) if number},
        "calls": sum(one.calls for one in results),
        "warned": plan.warned,
    }


def spread_of(connection_id: UUID) -> float:
    """A fixed number from 0 to 1 for each connection."""
    return (connection_id.int & 0xFFFF) / 0xFFFF


def _elapsed_ms(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def _institutions(db: Engine, chunk: Sequence[UUID]) -> dict[UUID, str]:
    with db.connect() as connection:
        return connections.institutions(connection, chunk)
