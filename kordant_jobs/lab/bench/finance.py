"""Bank rows into the ledger, beside the common ways; connections planned, and read from providers without limits.

The peers do what a plain program does: one row after the other, sealed the same way, in one transaction.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg2.extras import execute_batch
from pydantic import SecretStr
from sqlalchemy import Connection, Engine
from uuid_utils.compat import uuid7

from kordant_jobs.adapters.banks.pluggy import Pluggy
from kordant_jobs.domain.finance.states import AccountKind, EntityKind, Provider, TransactionState, TransactionType
from kordant_jobs.domain.finance.values import SeenTransaction
from kordant_jobs.jobs.bank_sync import service
from kordant_jobs.jobs.bank_sync.service import Limits
from kordant_jobs.lab.fakes.banks.faults import Faults
from kordant_jobs.lab.fakes.banks.ledger import Item, Ledger, TrueAccount
from kordant_jobs.lab.fakes.banks.pluggy import FakePluggy
from kordant_jobs.lab.figures import Figure
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.finance import connections, entities
from kordant_jobs.store.finance.rows import Target, alias_hash
from kordant_jobs.store.finance.tables import bank_accounts, transactions
from kordant_jobs.store.finance.upsert import upsert
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ROWS_AN_ACCOUNT = 1_000
BATCH_ACCOUNTS = 20
ACCOUNTS_AN_ENTITY = 2
PEER_ROWS = 3_000
NEW, CHANGED = 0.05, 0.05
SHOPS = ("PADARIA SOL", "POSTO SHELL", "METRO", "MERCADO EXTRA", "UBER TRIP", "PIX ENVIADO MARIA DE SOUZA")


@contextmanager
def _world() -> Iterator[tuple[Engine, Keyring]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kordant-bench-")))
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        db = database.create_engine(postgres.url())
        stack.callback(db.dispose)
        migrate.upgrade(db)
        keyring = Keyring(bytes(range(32)))
        with db.begin() as connection:
            keyring.check(connection)
        yield db, keyring


def _accounts(db: Engine, keyring: Keyring, number: int) -> dict[UUID, UUID]:
    """Accounts, each with the entity that it is of: two accounts are one household's."""
    made = {}
    with db.begin() as connection:
        for n in range(number):
            if n % ACCOUNTS_AN_ENTITY == 0:
                entity_id = entities.create(connection, keyring, kind=EntityKind.HOUSEHOLD, name=f"Bench {n}")
            made[uuid7()] = entity_id
        connection.execute(
            sa.insert(bank_accounts),
            [
                {
                    "id": one, "entity_id": entity_id, "kind": "checking", "currency": "BRL", "institution": "1",
                    "identity_index": one.bytes,
                }
                for one, entity_id in made.items()
            ],
        )  # fmt: skip
    return made


def _rows(chance: Random, number: int, start: int = 0) -> list[SeenTransaction]:
    begin = date(2025, 6, 1)
    return [
        SeenTransaction(
            provider_id=f"row-{start + n}",
            state=TransactionState.POSTED,
            booked_on=begin + timedelta(days=(start + n) % 360),
            amount=Decimal(chance.randrange(-50_000, 5_000)) / 100,
            currency="BRL",
            type=TransactionType.PIX,
            description=f"{chance.choice(SHOPS)} {n}",
        )
        for n in range(number)
    ]


def _target(account_id: UUID, entity_id: UUID, rows: Sequence[SeenTransaction], *, is_new: bool) -> Target:
    return Target(
        account_id=account_id,
        entity_id=entity_id,
        kind=AccountKind.CHECKING,
        provider=Provider.PLUGGY,
        rows=rows,
        is_new=is_new,
    )


def _next_day(chance: Random, rows: list[SeenTransaction]) -> list[SeenTransaction]:
    """The same rows: some changed, some new, in place of others."""
    changed, new = int(len(rows) * CHANGED), int(len(rows) * NEW)
    kept = [
        replace(one, amount=one.amount + 1, description=f"{one.description} X") if n < changed else one
        for n, one in enumerate(rows[: len(rows) - new])
    ]
    return kept + _rows(chance, new, start=10_000_000)


@dataclass(frozen=True, kw_only=True)
class _Spent:
    """Seconds of the clock, and CPU seconds of this process and of its server process."""

    wall: float
    own: float
    server: float

    @classmethod
    def until_now(cls, connection: Connection) -> _Spent:
        """Up to now."""
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        server = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return cls(wall=time.perf_counter(), own=time.process_time(), server=server)

    def __sub__(self, other: _Spent) -> _Spent:
        return _Spent(wall=self.wall - other.wall, own=self.own - other.own, server=self.server - other.server)

    @property
    def cpu(self) -> float:
        """Of both processes."""
        return self.own + self.server


def _wal(db: Engine) -> Decimal:
    with db.connect() as connection:
        found: Decimal = connection.execute(sa.text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one()
        return found


def measure(*, rows: int, planned: int, synced: int) -> list[Figure]:
    """Upsert, plan and sync, each beside its peers."""
    with _world() as (db, keyring):
        figures = _upserts(db, keyring, rows)
        figures += _plan(db, keyring, planned)
    if synced:
        with _world() as (db, keyring):
            figures += _sync(db, keyring, synced)
    return figures


def _upserts(db: Engine, keyring: Keyring, rows: int) -> list[Figure]:
    chance = Random(1)  # noqa: S311 - no secret
    owners = _accounts(db, keyring, max(BATCH_ACCOUNTS, rows // ROWS_AN_ACCOUNT))
    accounts = list(owners)
    first: dict[UUID, list[SeenTransaction]] = {}
    loads = list[_Spent]()
    for start in range(0, len(accounts), BATCH_ACCOUNTS):
        part = accounts[start : start + BATCH_ACCOUNTS]
        seen = {one: _rows(chance, ROWS_AN_ACCOUNT) for one in part}
        if start == 0:
            first = seen
        loads.append(_write(db, keyring, owners, seen, is_new=True))
    total = len(accounts) * ROWS_AN_ACCOUNT
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE kordant.transactions"))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    batch = BATCH_ACCOUNTS * ROWS_AN_ACCOUNT
    ours, plain, many = list[_Spent](), list[_Spent](), list[_Spent]()
    current = first
    for _ in range(3):
        current = {one: _next_day(chance, found) for one, found in current.items()}
        ours.append(_write(db, keyring, owners, current, is_new=False))
        plain.append(_peer(db, keyring, owners, current, chance, together=False))
        many.append(_peer(db, keyring, owners, current, chance, together=True))
    before = _wal(db)
    again = _write(db, keyring, owners, current, is_new=False)
    wal = float(_wal(db) - before)
    mine, theirs, batched = (
        rows / sorted(one.wall for one in found)[1]
        for rows, found in ((batch, ours), (PEER_ROWS, plain), (PEER_ROWS, many))
    )
    mine_cpu, theirs_cpu = (
        rows / sorted(one.cpu for one in found)[1] for rows, found in ((batch, ours), (PEER_ROWS, plain))
    )
    return [
        Figure(key="first_rows_per_s", value=total / sum(one.wall for one in loads), unit="rows/s", goal=None),
        Figure(
            key="first_rows_per_backend_cpu_s", value=total / sum(one.server for one in loads), unit="rows/s",
            goal=40_000, direction="min",
        ),
        Figure(
            key="upsert_rows_per_s", value=mine, unit="rows/s", goal=25 * theirs, direction="min",
            peer="row by row", peer_value=theirs,
        ),
        Figure(
            key="upsert_rows_per_s_beside_executemany", value=mine, unit="rows/s", goal=5 * batched, direction="min",
            peer="execute_batch", peer_value=batched,
        ),
        Figure(
            key="upsert_rows_per_cpu_s", value=mine_cpu, unit="rows/s", goal=None, direction="min",
            peer="row by row", peer_value=theirs_cpu,
        ),
        Figure(key="unchanged_rows_per_s", value=batch / again.wall, unit="rows/s", goal=None),
        Figure(key="wal_bytes_when_nothing_changed", value=wal, unit="bytes", goal=None),
        Figure(key="upsert_peak_mb", value=peak_mb, unit="MB", goal=None),
    ]  # fmt: skip


def _write(
    db: Engine,
    keyring: Keyring,
    owners: Mapping[UUID, UUID],
    seen: dict[UUID, list[SeenTransaction]],
    *,
    is_new: bool,
) -> _Spent:
    targets = [_target(one, owners[one], found, is_new=is_new) for one, found in seen.items()]
    with db.begin() as connection:
        before = _Spent.until_now(connection)
        keys = entities.load_keys(connection, keyring, list({owners[one] for one in seen}))
        upsert(connection, keyring, keys, targets, run_id=None, now=NOW)
        used = _Spent.until_now(connection) - before
        began = time.perf_counter()
    return replace(used, wall=used.wall + time.perf_counter() - began)  # with its commit


_ONE = """
INSERT INTO kordant.transactions (id, account_id, entity_id, alias, state, booked_on, amount, currency, type,
                                  description_encrypted, merchant_key, content_hash, extra_hash)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (account_id, alias) DO UPDATE SET booked_on = excluded.booked_on, amount = excluded.amount,
    description_encrypted = excluded.description_encrypted, content_hash = excluded.content_hash
WHERE transactions.content_hash <> excluded.content_hash
"""


def _peer(
    db: Engine,
    keyring: Keyring,
    owners: Mapping[UUID, UUID],
    seen: dict[UUID, list[SeenTransaction]],
    chance: Random,
    *,
    together: bool,
) -> _Spent:
    """The time for `PEER_ROWS` rows, row by row or in batches of statements; rolled back."""
    account_id, found = next(iter(seen.items()))
    entity_id = owners[account_id]
    rows = (_next_day(chance, found) * (PEER_ROWS // len(found) + 1))[:PEER_ROWS]
    with db.connect() as connection:
        before = _Spent.until_now(connection)
        keys = entities.load_keys(connection, keyring, [entity_id])
        raw: Any = connection.connection.driver_connection
        with raw.cursor() as cursor:
            if together:
                execute_batch(cursor, _ONE, [_values(keyring, keys, account_id, entity_id, one) for one in rows], 500)
            else:
                for one in rows:
                    cursor.execute(_ONE, _values(keyring, keys, account_id, entity_id, one))
        used = _Spent.until_now(connection) - before
        raw.rollback()
    return used


def _values(
    keyring: Keyring, keys: SubscriberKeys, account_id: UUID, entity_id: UUID, one: SeenTransaction
) -> tuple[Any, ...]:
    made = uuid7()
    content = keyring.sign("bank-row-content", f"{one.booked_on}|{one.amount}|{one.description}".encode())
    return (
        str(made), str(account_id), str(entity_id), alias_hash(keyring, Provider.PLUGGY, one.provider_id or ""),
        one.state.value, one.booked_on, one.amount, one.currency, one.type.value,
        keys.seal(entity_id, transactions.c.description_encrypted, made, one.description), "x", content, content,
    )  # fmt: skip


_FILL = sa.text("""
INSERT INTO kordant.bank_connections (id, entity_id, provider, institution, item_index, next_due_at, status)
SELECT gen_random_uuid(), :entity, CASE WHEN n % 5 = 0 THEN 'pluggy' ELSE 'ofb' END, (n % 40)::text,
       decode(md5(n::text), 'hex'), cast(:now AS timestamptz) + (n % 7 - 4) * interval '1 hour',
       CASE WHEN n % 19 = 0 THEN 'needs_user' ELSE 'active' END
FROM generate_series(1, :number) n
""")


def _plan(db: Engine, keyring: Keyring, number: int) -> list[Figure]:
    with db.begin() as connection:
        entity_id = entities.create(connection, keyring, kind=EntityKind.FIRM, name="Plan")
        connection.execute(_FILL, {"entity": entity_id, "now": NOW, "number": number})
    found = []
    for _ in range(5):
        began = time.perf_counter()
        with db.begin() as connection:
            connections.plan(connection, now=NOW, within=timedelta(minutes=15))
        found.append(time.perf_counter() - began)
    return [Figure(key=f"tick_plan_{number // 1000}k_s", value=sorted(found)[2], unit="s", goal=0.5)]


def _sync(db: Engine, keyring: Keyring, number: int) -> list[Figure]:
    """Sync the given number of connections, each with an account, at a provider without limits that takes 300 ms an
    answer."""
    ledger = Ledger(now=NOW)
    with FakePluggy(ledger, faults=Faults(latency_s=0.3)) as server:
        with db.begin() as connection:
            for n in range(number):
                ledger.add_item(Item(id=f"item-{n}", institution=str(n % 40)))
                ledger.add_account(TrueAccount(id=f"account-{n}", kind="checking", number=f"{n}-1", item=f"item-{n}"))
                entity_id = entities.create(connection, keyring, kind=EntityKind.HOUSEHOLD, name=f"Household {n}")
                connections.create(
                    connection,
                    keyring,
                    entity_id=entity_id,
                    provider=Provider.PLUGGY,
                    institution=str(n % 40),
                    item=f"item-{n}",
                    now=NOW,
                )
        client = Pluggy("client", SecretStr("secret"), base_url=server.url)
        began, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with db.begin() as connection:
            connection.execute(sa.text("UPDATE kordant.bank_connections SET provider = 'pluggy'"))
        plan = service.plan_sync(named=_ids(db), db=db, now=NOW)
        results = [
            service.read_chunk(
                plan,
                chunk,
                db=db,
                keyring=keyring,
                banks={Provider.PLUGGY: client},
                limits=Limits(rates={}),
                advance=lambda number, words: None,
                clock=lambda: NOW,
            )
            for chunk in _whole(plan.chunks, _ids(db))
        ]
        took = time.perf_counter() - began
        figures = service.finish(plan, results, db=db, now=NOW)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    return [
        Figure(key="sync_connections_per_s", value=figures["successful"] / took, unit="1/s", goal=12, direction="min"),
        Figure(key="sync_10k_minutes", value=10_000 / (figures["successful"] / took) / 60, unit="min", goal=15),
        Figure(key="sync_failed", value=figures["failed"], unit="", goal=0),
        Figure(key="sync_memory_grown_mb", value=grown, unit="MB", goal=None),
    ]


def _ids(db: Engine) -> list[UUID]:
    with db.connect() as connection:
        return list(connection.execute(sa.text("SELECT id FROM kordant.bank_connections ORDER BY id")).scalars())


def _whole(chunks: Sequence[Sequence[UUID]], ids: Sequence[UUID]) -> list[Sequence[UUID]]:
    """All connections, whatever a provider's rate would allow in one tick."""
    planned = {one for chunk in chunks for one in chunk}
    left = [one for one in ids if one not in planned]
    return [*chunks, *(left[start : start + service.CHUNK] for start in range(0, len(left), service.CHUNK))]
