"""Weeks of bank sync with every behaviour of the contract, killed again and again; judged by the banks' own ledgers."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy import Engine

from kordant_jobs.domain.finance.states import ConnectionStatus, EntityKind, Provider
from kordant_jobs.jobs.bank_sync.hooks import take_webhook
from kordant_jobs.lab.banks.behaviour import BankDays, Counts
from kordant_jobs.lab.banks.small_bank import compare
from kordant_jobs.lab.fakes.banks.belvo import FakeBelvo
from kordant_jobs.lab.fakes.banks.certificates import make
from kordant_jobs.lab.fakes.banks.faults import Faults
from kordant_jobs.lab.fakes.banks.ledger import Item, Ledger, reconnected
from kordant_jobs.lab.fakes.banks.ofb import FakeOfb
from kordant_jobs.lab.fakes.banks.pluggy import FakePluggy
from kordant_jobs.lab.figures import Figure, finish
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.finance import connections, entities
from kordant_jobs.store.people.keyring import Keyring

BEGIN = datetime(2026, 2, 1, 12, tzinfo=UTC)
TICKS_A_DAY = 6
MASTER = bytes(range(32))
RECONNECTS_ON, REVOKES_ON = 12, 20
QUIET_DAYS = 22
"""Days without news, faults and kills at the end: longer than a pending row is waited for."""


@dataclass(kw_only=True)
class Books:
    """The faults that a simulation found, counted."""

    lost: int = 0
    doubled: int = 0
    difference: Decimal = Decimal(0)
    kills: int = 0
    ticks: int = 0
    failed: int = 0
    refused: int = 0
    after_revoked: int = 0
    rows: int = 0
    webhooks: int = 0
    wrong: list[str] = field(default_factory=list)
    """Rows that are lost or doubled, to look into."""
    played: Counts = field(default_factory=Counts)


class Worker:
    """A process that syncs; it may be killed, and is then started again."""

    def __init__(self, given: Path) -> None:
        self._given = given
        self._process: subprocess.Popen[str] | None = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kordant_jobs.lab.banks.worker", str(self._given)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._process.stdout is not None  # noqa: S101 - asked for
            if self._process.stdout.readline().strip() != "ready":
                raise RuntimeError("the worker did not start.")
        return self._process

    def tick(self, now: datetime, *, kill_after_s: float | None = None) -> dict[str, int] | None:
        """One tick; None: it was killed in the middle."""
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - asked for
        assert process.stdout is not None  # noqa: S101 - asked for
        process.stdin.write(now.isoformat() + "\n")
        process.stdin.flush()
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            process.kill()
            process.wait()
            return None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the worker ended by itself.")
        figures: dict[str, int] = json.loads(line)
        return figures

    def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@dataclass(kw_only=True)
class World:
    """Fake providers, our database, and the days that are played."""

    db: Engine
    keyring: Keyring
    banks: dict[Provider, BankDays]
    servers: dict[Provider, Any]
    worker: Worker
    chance: Random
    entity_ids: list[UUID] = field(default_factory=list)
    connection_ids: dict[tuple[Provider, str], UUID] = field(default_factory=dict)
    books: Books = field(default_factory=Books)

    def connect(self, provider: Provider, item: Item, entity_id: UUID) -> None:
        """Our side of a connection."""
        secret = item.id
        if provider is Provider.OFB:
            secret = json.dumps({"consent": item.id, "refresh_token": item.refresh_token})
        with self.db.begin() as connection:
            self.connection_ids[provider, item.id] = connections.create(
                connection,
                self.keyring,
                entity_id=entity_id,
                provider=provider,
                institution=item.institution,
                item=secret,
                now=self.banks[provider].ledger.now,
            )

    def end(self, provider: Provider, item: str) -> None:
        """Its owner deletes a connection."""
        with self.db.begin() as connection:
            connections.set_status(
                connection,
                self.connection_ids[provider, item],
                ConnectionStatus.ENDED,
                reason="user",
                now=self.banks[provider].ledger.now,
            )

    def move(self, now: datetime) -> None:
        """The same time at every bank."""
        for one in self.banks.values():
            one.ledger.now = now

    def send_webhooks(self, now: datetime) -> None:
        """A storm of webhooks: each several times, in any order."""
        bank = self.banks[Provider.PLUGGY]
        events = [
            {"event": "transactions/deleted", "eventId": f"deleted-{row}", "itemId": item, "transactionIds": [row]}
            for item, row in bank.deleted
        ]
        events += [
            {"event": event, "eventId": f"{event}-{item}-{now.isoformat()}", "itemId": item}
            for item in bank.ledger.items
            for event in ("item/updated", "transactions/created")
            if self.chance.random() < 0.3
        ]
        bank.deleted.clear()
        storm = events * 3
        self.chance.shuffle(storm)
        for one in storm:
            with self.db.begin() as connection:
                take_webhook(connection, self.keyring, Provider.PLUGGY, json.dumps(one).encode(), now=now)
            self.books.webhooks += 1


@contextmanager
def open_world(seed: int, *, households: int, faults: float) -> Iterator[World]:
    """A world of its own: servers, a database, a worker."""
    chance = Random(seed)  # noqa: S311 - no secret
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kordant-banks-")))
        fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres", settings=fast))
        db = database.create_engine(postgres.url())
        stack.callback(db.dispose)
        migrate.upgrade(db)
        keyring = Keyring(MASTER)
        with db.begin() as connection:
            keyring.check(connection)
        certificates = make(folder)
        ledgers = {provider: Ledger(now=BEGIN) for provider in (Provider.PLUGGY, Provider.OFB, Provider.BELVO)}
        servers: dict[Provider, Any] = {
            Provider.PLUGGY: FakePluggy(ledgers[Provider.PLUGGY], page_size=40),
            Provider.OFB: FakeOfb(ledgers[Provider.OFB], certificates=certificates, page_size=30),
            Provider.BELVO: FakeBelvo(ledgers[Provider.BELVO], page_size=50),
        }
        for number, server in enumerate(servers.values()):
            server.faults = Faults(rate=faults, seed=seed + number)
            stack.enter_context(server)
        url = servers[Provider.OFB].url
        given = {
            "database": postgres.url(),
            "master": MASTER.hex(),
            "pluggy": servers[Provider.PLUGGY].url,
            "belvo": servers[Provider.BELVO].url,
            "ofb": {
                "institution": "201", "base_url": url, "token_url": f"{url}/token", "client_id": "kordant",
                "certificate": str(certificates.client), "ca": str(certificates.ca),
            },
        }  # fmt: skip
        path = folder / "given.json"
        path.write_text(json.dumps(given), "utf-8")
        path.chmod(0o600)
        worker = Worker(path)
        stack.callback(worker.stop)
        world = World(
            db=db,
            keyring=keyring,
            banks={
                name: BankDays(
                    ledger=ledger,
                    chance=Random(seed * 10 + number),  # noqa: S311 - no secret
                    has_webhooks=name is Provider.PLUGGY,
                    back_dates=name is Provider.PLUGGY,
                )
                for number, (name, ledger) in enumerate(ledgers.items())
            },
            servers=servers,
            worker=worker,
            chance=chance,
        )
        for number in range(households):
            with db.begin() as connection:
                made = entities.create(connection, keyring, kind=EntityKind.HOUSEHOLD, name=f"Household {number}")
            world.entity_ids.append(made)
            for name, bank in world.banks.items():
                item = f"{name}-{number}"
                bank.open(item, "201", ("checking", "card") if name is not Provider.BELVO else ("checking", "savings"))
                world.connect(name, bank.ledger.items[item], made)
        yield world


def play(world: World, *, days: int, kills: int) -> None:
    """The days, killed at `kills` of their ticks; then quiet ones until everything has ended. Prints a line of progress
    every three days."""
    started = time.monotonic()
    struck = set(world.chance.sample(range(TICKS_A_DAY, days * TICKS_A_DAY), kills))
    revoked: list[UUID] = []
    longest = 0.5
    for tick in range((days + QUIET_DAYS) * TICKS_A_DAY):
        day, part = divmod(tick, TICKS_A_DAY)
        now = BEGIN + timedelta(days=day, hours=part * 24 / TICKS_A_DAY)
        is_played = day < days
        if part == 0 and day and day % 3 == 0:
            typer.echo(f"day {day} of {days + QUIET_DAYS}, {time.monotonic() - started:.0f} s", err=True)
        world.move(now)
        if part == 0 and is_played:
            for bank in world.banks.values():
                bank.play(now.date())
            if day == RECONNECTS_ON:
                _reconnect(world)
            if day == REVOKES_ON:
                revoked = _revoke(world)
        if day == days and part == 0:
            for server in world.servers.values():
                server.faults.rate = 0.0
        world.servers[Provider.PLUGGY].duplicate_rows = world.chance.random() < 0.3
        world.servers[Provider.PLUGGY].full_next = world.chance.random() < 0.3
        if is_played and world.chance.random() < 0.4:
            world.send_webhooks(now)
        if tick in struck:
            world.worker.tick(now, kill_after_s=world.chance.uniform(0.0, longest))
            world.books.kills += 1
        began = time.monotonic()
        figures = world.worker.tick(now)
        longest = max(longest * 0.8, time.monotonic() - began)
        world.books.ticks += 1
        world.books.failed += (figures or {}).get("failed", 0)
    _judge(world, revoked)


def _reconnect(world: World) -> None:
    """A household deletes a connection and connects again, at each provider, under other ids."""
    for name, bank in world.banks.items():
        old, new = f"{name}-0", f"{name}-0-again"
        world.end(name, old)
        reconnected(bank.ledger, old, Item(id=new, institution="201"))
        world.connect(name, bank.ledger.items[new], world.entity_ids[0])


def _revoke(world: World) -> list[UUID]:
    """A consent is revoked at the bank; its accounts stay as they were then. Their ids with us."""
    bank = world.banks[Provider.OFB]
    item = bank.ledger.items["ofb-1"]
    item.consent_status, item.rejection = "REJECTED", "CUSTOMER_MANUALLY_REVOKED"
    for account in bank.ledger.of_item(item.id):
        del bank.ledger.accounts[account.id]
    with world.db.connect() as connection:
        query = "SELECT account_id FROM kordant.account_links WHERE connection_id = :id"
        given = {"id": world.connection_ids[Provider.OFB, "ofb-1"]}
        return list(connection.execute(sa.text(query), given).scalars())


def _judge(world: World, revoked: Sequence[UUID]) -> None:
    books = world.books
    for name, bank in world.banks.items():
        found, wrong = compare(world.db, world.keyring, name, bank.ledger)
        books.lost += found["lost"]
        books.doubled += found["doubled"]
        books.difference += found["difference"]
        books.wrong += [f"{name} {one}" for one in wrong]
        for kind, number in bank.counts.of.items():
            books.played.of[kind] = books.played.of.get(kind, 0) + number
    books.refused = world.servers[Provider.OFB].refused
    with world.db.connect() as connection:
        books.rows = connection.execute(sa.text("SELECT count(*) FROM kordant.transactions")).scalar_one()
        late = """
        SELECT count(*) FROM kordant.transactions WHERE account_id = ANY(cast(:ids AS uuid[])) AND updated_at > :at
        """
        given = {"ids": [str(one) for one in revoked], "at": BEGIN + timedelta(days=REVOKES_ON, hours=1)}
        books.after_revoked = connection.execute(sa.text(late), given).scalar_one()


def measure(*, seed: int, households: int, days: int, kills: int, faults: float) -> list[Figure]:
    """One world, and what was found."""
    with open_world(seed, households=households, faults=faults) as world:
        play(world, days=days, kills=kills)
        books = world.books
    for one in books.wrong:
        typer.echo(one, err=True)

    def figure(key: str, value: float, goal: float | None = None) -> Figure:
        return Figure(key=key, value=value, unit="", goal=goal)

    return [
        figure("rows", books.rows),
        figure("ticks", books.ticks),
        figure("kills", books.kills),
        figure("webhooks", books.webhooks),
        figure("reads_that_failed", books.failed),
        *(figure(f"played: {name}", number) for name, number in sorted(books.played.of.items())),
        figure("rows_lost", books.lost, 0),
        figure("rows_doubled", books.doubled, 0),
        figure("balance_difference", float(books.difference), 0),
        figure("calls_over_a_limit", books.refused, 0),
        figure("rows_written_after_a_consent_was_revoked", books.after_revoked, 0),
    ]


def simulate_banks(
    days: Annotated[int, typer.Option(min=1, help="Days with news; quiet ones follow.")] = 30,
    kills: Annotated[int, typer.Option(min=0, help="Kills of the syncing process, each amid a tick.")] = 20,
    households: Annotated[int, typer.Option(min=2, help="Each with a connection at every provider.")] = 3,
    faults: Annotated[float, typer.Option(min=0, max=1, help="Share of answers that go wrong.")] = 0.04,
    seed: Annotated[int, typer.Option(help="The same seed gives the same days.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Weeks of bank sync against fake providers with every behaviour of the contract; the banks' ledgers judge."""

    def run() -> list[Figure]:
        return measure(seed=seed, households=households, days=days, kills=kills, faults=faults)

    raise SystemExit(finish("banks", run, as_json=as_json))
