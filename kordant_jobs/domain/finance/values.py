"""Values read from a bank. Amounts are Decimal and positive towards the holder, days are of Sao Paulo.

Adapters create these; no later code knows a provider's signs, days or enums. Pure, except that `checked_day` reads the
clock for the limit of future days.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from kordant_jobs.domain.finance.states import AccountKind, BalanceKind, ConsentEnd, TransactionState, TransactionType

ZONE = ZoneInfo("America/Sao_Paulo")
FIRST_DAY = date(1994, 7, 1)
"""The first day of the real; nothing that we read is older."""
FUTURE_DAYS = 5 * 366
"""The days of the longest series of instalments that a bank shows ahead."""
AMOUNT_BELOW = Decimal(10) ** 15
"""OFB's amounts have at most 15 digits before the point."""
_COMMA = re.compile(r"-?\d+,\d{2,4}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_NO_IDS = frozenset({"", "0", "null", "none", "undefined"})


class BadRow(ValueError):
    """The row cannot be understood. The text is a code, never a value of the row."""


def amount_of(value: Any) -> Decimal:
    """The amount in a JSON number (Decimal or int) or a text, rounded to four decimals. Some banks write a comma before
    the decimals.

    Raises:
        BadRow: it is not a number, or has more than 15 digits before the point.

    >>> amount_of("1000.0400"), amount_of(Decimal("0.1")) + amount_of("0.2"), amount_of("12000,0000")
    (Decimal('1000.0400'), Decimal('0.3'), Decimal('12000.0000'))
    """
    if isinstance(value, str) and _COMMA.fullmatch(value.strip()):
        value = value.replace(",", ".")
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise BadRow("amount_is_no_number")
    try:
        amount = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        raise BadRow("amount_is_no_number") from None
    if not amount.is_finite():
        raise BadRow("amount_is_no_number")
    if abs(amount) >= AMOUNT_BELOW:
        raise BadRow("amount_out_of_range")
    return amount if amount == round(amount, 4) else round(amount, 4)


def currency_of(value: Any) -> str:
    """An ISO 4217 code; BRL where there is none.

    Raises:
        BadRow: it is not a code.
    """
    if value is None:
        return "BRL"
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise BadRow("currency_is_no_code")
    return value


def day_of(value: Any, *, midnight_is_a_day: bool) -> tuple[date, datetime | None]:
    """The calendar day in Sao Paulo, and the instant where it is known.

    A text without a time is taken as a day. OFB fills an unknown time with zeros; with `midnight_is_a_day`, an instant
    of exactly midnight UTC is that day, not the evening before.

    Raises:
        BadRow: it is not a date, or one that no account has.

    >>> day_of("2026-03-01T02:59:00Z", midnight_is_a_day=False)[0].isoformat()
    '2026-02-28'
    >>> day_of("2026-03-01T00:00:00.000Z", midnight_is_a_day=True)
    (datetime.date(2026, 3, 1), None)
    """
    if not isinstance(value, str):
        raise BadRow("date_is_no_date")
    text = value.strip()
    try:
        day = date.fromisoformat(text) if len(text) == 10 else None
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise BadRow("date_is_no_date") from None
    if day is not None:
        return checked_day(day), None
    if not FIRST_DAY.year <= instant.year <= 9000:
        raise BadRow("date_out_of_range")
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    if midnight_is_a_day and instant.astimezone(UTC).time() == time():
        return checked_day(instant.astimezone(UTC).date()), None
    return checked_day(instant.astimezone(ZONE).date()), instant


def checked_day(day: date) -> date:
    """The day, after checking that an account can have a row on it.

    Raises:
        BadRow: it cannot.
    """
    if not FIRST_DAY <= day <= today_in(datetime.now(UTC)) + timedelta(days=FUTURE_DAYS):
        raise BadRow("date_out_of_range")
    return day


def instant_of(value: Any) -> datetime | None:
    """An instant of a provider's own clock (a field such as `updatedAt`); None when it is missing or unreadable."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def today_in(now: datetime) -> date:
    """The day in Sao Paulo, whatever the server's clock is set to."""
    return now.astimezone(ZONE).date()


def month_of(now: datetime) -> date:
    """The first day of the month in Sao Paulo, the period of operational limits."""
    return today_in(now).replace(day=1)


def id_of(value: Any) -> str | None:
    """A provider's id; None for an empty one (blank, 0, null).

    Raises:
        BadRow: it has a sign that no text has (half of a pair, NUL), so that it can be neither hashed nor kept.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or value.strip().casefold() in _NO_IDS or len(value) > 300:
        return None
    if _NO_TEXT.search(value):
        raise BadRow("id_is_no_text")
    return value.strip()


def text_of(value: Any, limit: int = 500) -> str:
    """A provider's text, on one line and without control characters; empty for any other value."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())[:limit]


def document_of(value: Any) -> str | None:
    """The digits of a CPF or CNPJ; None when the length fits neither."""
    digits = "".join(sign for sign in str(value or "") if sign.isascii() and sign.isalnum()).upper()
    return digits if len(digits) in (11, 14) else None


def whole_of(value: Any, lowest: int, highest: int) -> int | None:
    """A whole number within bounds; None for any other value."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value)
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest else None


def deposit_identity(bank: str, branch: str, number: str, kind: AccountKind) -> str | None:
    """The identity of a deposit account, equal for all sources that show it; None without a number. The number includes
    its check digit.

    >>> deposit_identity("001", "1478", "0094088392-4", AccountKind.CHECKING)
    'checking|1|1478|940883924'
    """
    parts = ["".join(sign for sign in part if sign.isalnum()).upper().lstrip("0") for part in (bank, branch, number)]
    return "|".join([kind.value, *parts]) if parts[2] else None


def card_identity(institution: str, product: str, network: str, number: str) -> str | None:
    """The identity of a card account at its institution; None without the last four digits of a card.

    >>> card_identity("00000000000191", "Ourocard Elo", "ELO", "8921")
    'card|00000000000191|ourocard elo|elo|8921'
    """
    last = "".join(sign for sign in number if sign.isdecimal())[-4:]
    return "|".join(["card", institution, product.casefold(), network.casefold(), last]) if last else None


@dataclass(frozen=True, kw_only=True)
class SeenAccount:
    """An account as a provider shows it. `identity` identifies it permanently (`deposit_identity`, `card_identity`);
    None where the provider gives too little."""

    provider_id: str = field(repr=False)
    kind: AccountKind
    currency: str
    institution: str
    identity: str | None = field(repr=False)
    number: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    holder: str | None = field(default=None, repr=False)
    """CPF or CNPJ, digits only."""
    status: str = "available"


@dataclass(frozen=True, kw_only=True)
class SeenTransaction:
    """A row of an account."""

    provider_id: str | None = field(repr=False)
    state: TransactionState
    booked_on: date
    amount: Decimal
    currency: str
    type: TransactionType
    description: str = field(default="", repr=False)
    occurred_at: datetime | None = None
    original_amount: Decimal | None = None
    original_currency: str | None = None
    type_raw: str | None = None
    counterparty: str = field(default="", repr=False)
    counterparty_document: str | None = field(default=None, repr=False)
    mcc: str | None = None
    category: str | None = None
    bill: str | None = field(default=None, repr=False)
    instalment_no: int | None = None
    instalment_of: int | None = None
    purchase_on: date | None = None
    transfer_key: str | None = field(default=None, repr=False)
    """An end-to-end id, which both legs of a transfer carry."""


@dataclass(frozen=True, kw_only=True)
class SeenBalance:
    """A balance as the bank reports it; a card's debt is negative."""

    kind: BalanceKind
    amount: Decimal
    currency: str
    as_of_at: datetime


@dataclass(frozen=True, kw_only=True)
class SeenBill:
    """A closed bill of a card; `total` is the amount due. `charges`: kind and amount; `payments`: day, kind, amount."""

    provider_id: str = field(repr=False)
    due_on: date
    closed_on: date | None
    total: Decimal | None
    minimum: Decimal | None
    currency: str
    charges: tuple[tuple[str, Decimal], ...] = ()
    payments: tuple[tuple[date, str, Decimal], ...] = ()
    is_instalmented: bool = False


@dataclass(frozen=True, kw_only=True)
class BadSeen:
    """A row that could not be understood, in its raw form."""

    reason: str
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AccountRead:
    """The data read of one account. `covers`: the days of which every row was read; None: only new rows were requested,
    so a missing row means nothing."""

    provider_id: str = field(repr=False)
    account: SeenAccount | None = None
    """None: it was not requested again."""
    transactions: tuple[SeenTransaction, ...] = ()
    balances: tuple[SeenBalance, ...] = ()
    bills: tuple[SeenBill, ...] = ()
    bad: tuple[BadSeen, ...] = ()
    covers: tuple[date, date] | None = None
    failure: str | None = None
    """A code for the reason why the read is incomplete."""


@dataclass(frozen=True, kw_only=True)
class SeenConsent:
    """The current state of a consent; `ended` is the reason why it ended."""

    provider_id: str = field(repr=False)
    permissions: tuple[str, ...] = ()
    granted_at: datetime | None = None
    expires_at: datetime | None = None
    ended: ConsentEnd | None = None


@dataclass(frozen=True, kw_only=True)
class ConnectionRead:
    """The data of one pass over a connection. `cursor` is the position for the next one; keys that end with an
    account's id belong to that account. `as_of_at` is the age of the provider's own data. A failure of the whole raises
    an exception; a failure of a product is listed here or at its account."""

    accounts: tuple[AccountRead, ...]
    cursor: Mapping[str, Any]
    as_of_at: datetime | None = None
    consent: SeenConsent | None = None
    failures: tuple[str, ...] = ()

    def without(self, provider_ids: Sequence[str]) -> ConnectionRead:
        """The same without the cursor's entries for these accounts, so that their next read is like the first.

        >>> read = ConnectionRead(accounts=(), cursor={"a": "2026-03-01", "history a": "2026-03-01", "b": "2026-03-01"})
        >>> read.without(["a"]).cursor
        {'b': '2026-03-01'}
        """
        about = {one for name in provider_ids for one in self.cursor if one == name or one.endswith(f" {name}")}
        return replace(self, cursor={name: value for name, value in self.cursor.items() if name not in about})
