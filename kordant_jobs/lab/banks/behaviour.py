"""Simulated banks, day by day: every behaviour of the contract, by a seeded die."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

from kordant_jobs.domain.finance.values import ZONE
from kordant_jobs.lab.fakes.banks.ledger import Entry, Item, Ledger, TrueAccount, TrueBill

SHOPS = (
    "PADARIA SOL",
    "POSTO SHELL",
    "METRO",
    "MERCADO EXTRA",
    "UBER *TRIP",
    "FARMACIA RAIA",
    "NETFLIX.COM",
    "LOJA AZUL",
)
CLOSING_DAYS = (9, 24)
HOURS = (8, 13, 19)


@dataclass
class Counts:
    """The number of times that each behaviour was played."""

    of: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """One more."""
        self.of[name] = self.of.get(name, 0) + 1


@dataclass
class BankDays:
    """Plays days at one ledger. `has_webhooks`: removals are announced; `back_dates`: a row may be ingested weeks
    after its day and still be found."""

    ledger: Ledger
    chance: Random
    has_webhooks: bool
    back_dates: bool
    counts: Counts = field(default_factory=Counts)
    deleted: list[tuple[str, str]] = field(default_factory=list)
    """Item and row id of explicit removals that a webhook has to announce."""
    _number: int = 0

    def open(self, item: str, institution: str, kinds: tuple[str, ...]) -> None:
        """A connection with accounts, and a month of history."""
        self.ledger.add_item(Item(id=item, institution=institution))
        for n, kind in enumerate(kinds):
            number = f"{self.chance.randrange(10_000, 99_999)}-{n}"
            account = TrueAccount(id=f"{item}-{kind}", kind=kind, number=number, item=item)
            self.ledger.add_account(account)
            for back in range(30, 0, -1):
                day = self.ledger.today - timedelta(days=back)
                for _ in range(self.chance.randrange(3)):
                    self._plain(account, day, at(day, 12))

    def play(self, day: date) -> None:
        """One day at every account."""
        for account in self.ledger.accounts.values():
            for _ in range(self.chance.randrange(1, 6)):
                self._one(account, day)
            if account.kind == "card" and day.day in CLOSING_DAYS:
                self._close_bill(account, day)

    def _one(self, account: TrueAccount, day: date) -> None:
        moment = at(day, self.chance.choice(HOURS))
        dice = self.chance.random()
        if dice < 0.55:
            self._plain(account, day, moment)
        elif dice < 0.80:
            self._pending(account, day, moment)
        elif dice < 0.84 and self.back_dates:
            self.counts.add("dated 40 days back")
            self._plain(account, day - timedelta(days=40), moment)
        elif dice < 0.88:
            self.counts.add("vanished, then back")
            made = self._plain(account, day, moment)
            made.gone_at, made.back_at = moment + timedelta(days=1), moment + timedelta(days=3)
        elif dice < 0.90 and account.kind == "card":
            self.counts.add("removed for good")
            self._plain(account, day, moment).gone_at = moment + timedelta(hours=20)
        elif dice < 0.92 and self.has_webhooks:
            self.counts.add("deleted, announced by a webhook")
            made = self._plain(account, day, moment)
            made.gone_at = moment + timedelta(days=1)
            self.deleted.append((account.item, made.id_at(moment)))
        else:
            self.counts.add("equal fares")
            for _ in range(2):
                self._plain(account, day, moment, amount=Decimal("-4.40"), shop="METRO")

    def _plain(
        self, account: TrueAccount, day: date, moment: datetime, *, amount: Decimal | None = None, shop: str = ""
    ) -> Entry:
        self._number += 1
        cents = self.chance.choice([*range(100, 30_000, 7), 440, 440, 990])
        made = Entry(
            key=f"{self._number}",
            account=account.id,
            booked_on=day,
            amount=amount if amount is not None else Decimal(cents if self.chance.random() < 0.2 else -cents) / 100,
            description=shop or f"{self.chance.choice(SHOPS)} {self.chance.randrange(100, 999)}",
            word=self.chance.choice(["PIX", "CARTAO", "BOLETO", "TED"]),
            appears_at=moment,
        )
        account.entries.append(made)
        return made

    def _pending(self, account: TrueAccount, day: date, moment: datetime) -> None:
        made = self._plain(account, day, moment)
        made.pending_on, wait = day, self.chance.randrange(1, 4)
        made.posts_at = moment + timedelta(days=wait, hours=1)
        kind = self.chance.choice(["same id", "new id", "same id, new amount", "new day", "vanishes", "after 16 days"])
        self.counts.add(f"pending: {kind}")
        if kind in {"new id", "new day"}:
            made.renamed_at.append(made.posts_at)
        if kind == "new day":
            made.booked_on = day + timedelta(days=wait)
        if kind == "same id, new amount":
            made.pending_amount, made.amount = made.amount, (made.amount * Decimal("1.1")).quantize(Decimal("0.01"))
        if kind == "vanishes":
            made.never_posts, made.gone_at = True, moment + timedelta(days=2)
        if kind == "after 16 days":
            made.posts_at = moment + timedelta(days=16)
            made.booked_on = day + timedelta(days=16)
            made.renamed_at.append(made.posts_at)

    def _close_bill(self, account: TrueAccount, day: date) -> None:
        """The bill closes: every row of the cycle gets another id, and later the bill's."""
        self.counts.add("bill closed, every id of its cycle changed")
        closing, bill = at(day, 23), f"{account.id}-{day.isoformat()}"
        mine = [one for one in account.entries if one.bill is None and one.booked_on <= day and one.is_there(closing)]
        # a row of a closed bill is final: that one vanishes must then be reported, so that no such row is in a bill
        stays = [one for one in mine if one.gone_at is None or one.back_at is not None]
        posted = [one for one in stays if (seen := one.shown(closing)) and seen.is_posted]
        for one in posted:
            one.bill, one.bill_from = bill, closing
            one.renamed_at.append(closing)
            one.renamed_description = f"{one.description} SAO PAULO BR"
        total = -sum((one.amount for one in posted), start=Decimal(0))
        account.bills.append(TrueBill(id=bill, due_on=day + timedelta(days=10), closed_at=closing, total=total))


def at(day: date, hour: int) -> datetime:
    """A wall time in Sao Paulo."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=ZONE)
