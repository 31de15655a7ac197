"""One entity with a few accounts at a fake provider, and how it is synced: what tests and the simulation stand on."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.finance.states import EntityKind, Provider
from kordant_jobs.jobs.bank_sync import service
from kordant_jobs.jobs.bank_sync.service import Limits
from kordant_jobs.lab.fakes.banks.ledger import Entry, Item, Ledger, TrueAccount
from kordant_jobs.ports import Bank
from kordant_jobs.store.finance import connections, entities
from kordant_jobs.store.people.keyring import Keyring

SAME = {"lost": 0, "doubled": 0, "difference": Decimal(0)}
"""The result of `compare` when nothing is wrong."""
NOON = datetime(2026, 3, 10, 15, tzinfo=UTC)


@dataclass
class SmallBank:
    """A ledger of truth, our database, and the provider's adapter between them."""

    db: Engine
    keyring: Keyring
    bank: Bank
    ledger: Ledger = field(default_factory=lambda: Ledger(now=NOON))
    entity_id: UUID = field(default_factory=lambda: UUID(int=0))
    connection_ids: dict[str, UUID] = field(default_factory=dict)
    document: str = "52998224725"
    wrong: list[str] = field(default_factory=list)
    """The findings of `compare`, a line per row, for reading by a person."""
    limits: Limits = field(default_factory=lambda: Limits(rates={}))
    secret_of: Callable[[str], str] = lambda item: item
    """Gives a connection's secret by the id of its item or consent."""

    def open(self, *kinds: str, item: str = "item-1", institution: str = "201") -> list[TrueAccount]:
        """A connection with an account of each kind, of the one entity."""
        self.ledger.add_item(Item(id=item, institution=institution))
        made = [
            self.ledger.add_account(
                TrueAccount(id=f"{item}-{kind}-{n}", kind=kind, number=f"9{n}{len(item)}1-{n}", item=item)
            )
            for n, kind in enumerate(kinds)
        ]
        self.connect(item)
        return made

    def connect(self, item: str) -> UUID:
        """Our side of a connection."""
        with self.db.begin() as connection:
            if self.entity_id.int == 0:
                self.entity_id = entities.create(
                    connection, self.keyring, kind=EntityKind.HOUSEHOLD, name="Silva", document=self.document
                )
            made = connections.create(
                connection,
                self.keyring,
                entity_id=self.entity_id,
                provider=self.bank.provider,
                institution=self.ledger.items[item].institution,
                item=self.secret_of(item),
                now=self.ledger.now,
            )
        self.connection_ids[item] = made
        return made

    def sync(self, *, named: bool = True, user_is_present: bool = False) -> dict[str, int]:
        """One tick. `named`: every connection is due."""
        return tick(
            self.db,
            self.keyring,
            {self.bank.provider: self.bank},
            now=self.ledger.now,
            named=[one for one in self.connection_ids.values() if named],
            user_is_present=user_is_present,
            limits=self.limits,
        )

    def rows(self, *, state: str | None = "posted") -> list[Any]:
        """Our transactions, the oldest first."""
        query = "SELECT * FROM kordant.transactions WHERE cast(:state AS text) IS NULL OR state = :state ORDER BY id"
        with self.db.connect() as connection:
            return list(connection.execute(sa.text(query), {"state": state}).all())

    def compare(self) -> dict[str, Any]:
        """Our ledger against the truth. See `compare`."""
        found, self.wrong = compare(self.db, self.keyring, self.bank.provider, self.ledger)
        return found


def tick(
    db: Engine,
    keyring: Keyring,
    banks: Mapping[Provider, Bank],
    *,
    now: datetime,
    named: Sequence[UUID] = (),
    user_is_present: bool = False,
    limits: Limits,
) -> dict[str, int]:
    """One run of bank_sync as if it were `now`, and its figures. `named` connections are due in any case."""
    plan = service.plan_sync(named=named, user_is_present=user_is_present, db=db, now=now)
    results = [
        service.read_chunk(
            plan,
            chunk,
            db=db,
            keyring=keyring,
            banks=banks,
            limits=limits,
            advance=lambda number, words: None,
            clock=lambda: now,
        )
        for chunk in plan.chunks
    ]
    return service.finish(plan, results, db=db, now=now)


def compare(db: Engine, keyring: Keyring, provider: Provider, ledger: Ledger) -> tuple[dict[str, Any], list[str]]:
    """Our rows of one provider against the truth: rows lost and doubled, the difference of booked totals; and a line
    for each row that is wrong."""
    with db.connect() as connection:
        found = connection.execute(
            sa.text("""
            SELECT t.account_id, t.booked_on, t.amount FROM kordant.transactions t WHERE t.state = 'posted'
            """)
        ).all()
        links = connection.execute(
            sa.text("""
            SELECT l.account_id, l.provider_account_index FROM kordant.account_links l
            WHERE l.ended_at IS NULL
            """)
        ).all()
    ours = {bytes(row.provider_account_index): row.account_id for row in links}
    lost, doubled, difference, wrong = 0, 0, Decimal(0), list[str]()
    for account in ledger.accounts.values():
        index = keyring.blind_index("account-link", f"{provider}|{account.id}")
        mine = Counter((row.booked_on, row.amount) for row in found if row.account_id == ours.get(index))
        true = Counter[tuple[date, Decimal]](
            (seen.booked_on, seen.amount.quantize(Decimal("0.0001")))
            for _, seen in account.shown(ledger.now)
            if seen.is_posted
        )
        keys = {(seen.booked_on, seen.amount): one.key for one, seen in account.shown(ledger.now)}
        for word, rows in (("lost", true - mine), ("doubled", mine - true)):
            wrong += [f"{word} {account.id} {day} {amount} {keys.get((day, amount))}" for day, amount in rows]
        lost += sum((true - mine).values())
        doubled += sum((mine - true).values())
        difference += abs(
            sum((amount * number for (_, amount), number in mine.items()), Decimal(0))
            - sum((amount * number for (_, amount), number in true.items()), Decimal(0))
        )
    return {"lost": lost, "doubled": doubled, "difference": difference}, wrong


def entry(account: TrueAccount, key: str, amount: str, booked_on: date, **more: Any) -> Entry:
    """A row of an account, shown from noon of its day on."""
    appears = datetime.combine(booked_on, datetime.min.time(), UTC) + timedelta(hours=15)
    fields = {"description": f"LOJA {key}", "word": "PIX", "appears_at": appears, **more}
    made = Entry(key=key, account=account.id, booked_on=booked_on, amount=Decimal(amount), **fields)
    account.entries.append(made)
    return made
