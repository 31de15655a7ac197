"""A bank's truth: accounts, and what becomes of each row over time; and what is shown of it at a moment.

The servers show it in their own words. What a sync must end with is `Ledger.booked`.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from kordant_jobs.domain.finance.values import today_in

IDS = UUID("5d5c6d5e-1f0d-4d3c-8f4a-0d2b5a3f2f10")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A row as it is shown at a moment."""

    id: str
    is_posted: bool
    booked_on: date
    amount: Decimal
    description: str
    created_at: datetime
    bill: str | None = None


@dataclass(kw_only=True)
class Entry:
    """One row: `amount` is final and positive towards the holder. It is first shown at `appears_at`, pending until
    `posts_at`; its id changes at each moment of `renamed_at`. It vanishes at `gone_at` and is back at `back_at`."""

    key: str
    account: str
    booked_on: date
    amount: Decimal
    description: str
    word: str
    """Its type, as OFB calls it."""
    appears_at: datetime
    posts_at: datetime | None = None
    pending_on: date | None = None
    pending_amount: Decimal | None = None
    renamed_at: list[datetime] = field(default_factory=list)
    renamed_description: str | None = None
    gone_at: datetime | None = None
    back_at: datetime | None = None
    never_posts: bool = False
    bill: str | None = None
    bill_from: datetime | None = None
    instalment: tuple[int, int] | None = None
    purchase_on: date | None = None
    other_document: str | None = None
    mcc: int | None = None

    def id_at(self, now: datetime) -> str:
        """The provider's id by then."""
        times = sum(moment <= now for moment in self.renamed_at)
        return str(uuid5(IDS, f"{self.account}|{self.key}|{times}"))

    def is_there(self, now: datetime) -> bool:
        """True if the provider shows it at `now`."""
        if self.appears_at > now:
            return False
        return self.gone_at is None or now < self.gone_at or (self.back_at is not None and now >= self.back_at)

    def shown(self, now: datetime) -> Shown | None:
        """The row as the provider shows it; None: the provider does not show it."""
        if not self.is_there(now):
            return None
        posted = not self.never_posts and (self.posts_at is None or now >= self.posts_at)
        renamed = [moment for moment in self.renamed_at if moment <= now]
        return Shown(
            id=self.id_at(now),
            is_posted=posted,
            booked_on=self.booked_on if posted else self.pending_on or self.booked_on,
            amount=self.amount if posted or self.pending_amount is None else self.pending_amount,
            description=self.renamed_description if renamed and self.renamed_description else self.description,
            created_at=max([self.appears_at, *renamed]),
            bill=self.bill if self.bill_from is None or now >= self.bill_from else None,
        )


@dataclass(kw_only=True)
class TrueBill:
    """A closed bill; it is shown from `closed_at` on."""

    id: str
    due_on: date
    closed_at: datetime
    total: Decimal
    charges: list[tuple[str, Decimal]] = field(default_factory=list)
    payments: list[tuple[date, Decimal]] = field(default_factory=list)


@dataclass(kw_only=True)
class TrueAccount:
    """An account at its bank. `opening` is its balance before the first entry."""

    id: str
    kind: str
    """checking, savings or card."""
    number: str
    item: str
    opening: Decimal = Decimal(0)
    holder: str = "52998224725"
    currency: str = "BRL"
    status: str = "AVAILABLE"
    entries: list[Entry] = field(default_factory=list)
    bills: list[TrueBill] = field(default_factory=list)
    limit: Decimal = Decimal(5000)

    def shown(self, now: datetime) -> list[tuple[Entry, Shown]]:
        """The rows that are shown, the newest first."""
        found = [(one, one.shown(now)) for one in self.entries]
        there = [(one, seen) for one, seen in found if seen is not None]
        return sorted(there, key=lambda one: (one[1].booked_on, one[0].key), reverse=True)

    def balance(self, now: datetime) -> Decimal:
        """The booked balance at `now`."""
        posted = (seen.amount for _, seen in self.shown(now) if seen.is_posted)
        return sum(posted, start=self.opening)


@dataclass(kw_only=True)
class Item:
    """A connection at the provider: a Pluggy item, an OFB consent, a Belvo link."""

    id: str
    institution: str = "201"
    status: str = "UPDATED"
    execution: str = "SUCCESS"
    detail: dict[str, bool] = field(default_factory=dict)
    consent_status: str = "AUTHORISED"
    rejection: str | None = None
    expires_at: datetime | None = None
    updated_at: datetime | None = None
    refresh_token: str = ""
    is_deleted: bool = False


@dataclass
class Ledger:
    """The true accounts and rows, and the time at the provider, which tests move."""

    now: datetime
    items: dict[str, Item] = field(default_factory=dict)
    accounts: dict[str, TrueAccount] = field(default_factory=dict)

    def add_item(self, item: Item) -> Item:
        """Add a connection, and give it a refresh token if it has none."""
        item.refresh_token = item.refresh_token or f"refresh-{item.id}"
        self.items[item.id] = item
        return item

    def add_account(self, account: TrueAccount) -> TrueAccount:
        """Add an account."""
        self.accounts[account.id] = account
        return account

    def of_item(self, item: str) -> list[TrueAccount]:
        """The accounts of a connection."""
        return [one for one in self.accounts.values() if one.item == item]

    def move(self, days: float = 0, *, hours: float = 0) -> None:
        """Let time go by."""
        self.now += timedelta(days=days, hours=hours)

    @property
    def today(self) -> date:
        """The day in Sao Paulo."""
        return today_in(self.now)

    def booked(self, account: str) -> dict[str, Decimal]:
        """The amount of every posted row of an account that exists now, by the key of its entry."""
        found = self.accounts[account].shown(self.now)
        return {one.key: seen.amount for one, seen in found if seen.is_posted}


def reconnected(ledger: Ledger, old: str, new: Item, *, suffix: str = "x") -> None:
    """The owner connects again: the same accounts under other ids of account and rows, as a new connection."""
    ledger.add_item(new)
    for account in ledger.of_item(old):
        ledger.accounts.pop(account.id)
        account.id, account.item = f"{account.id}{suffix}", new.id
        for entry in account.entries:
            entry.account = account.id
        for bill in account.bills:
            bill.id = f"{bill.id}{suffix}"
        for entry in account.entries:
            entry.bill = f"{entry.bill}{suffix}" if entry.bill else None
        ledger.accounts[account.id] = account
    ledger.items[old].is_deleted = True
