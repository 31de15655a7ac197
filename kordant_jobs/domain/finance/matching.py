"""Matches new rows with stored rows of the account: a pending row that was posted, a row that the bank restated under
another id, or a row that came over a former connection. Pure.

A bank's id does not identify a row: it changes when a row is posted, when a bill closes, and when an owner connects
again. Sources of the figures: Plaid's documentation (1 to 5 business days, up to 14), sure#602 (8 days exact, 3 days
+30 %).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from kordant_jobs.domain.finance.merchants import likeness
from kordant_jobs.domain.finance.states import PROVISIONAL, TransactionState

POSTS_WITHIN = timedelta(days=8)
LEAD = 0.2
"""The least difference in likeness between the best candidate and the next one."""
SAME = 0.95
TIP = Decimal("1.3")
TIP_WITHIN = timedelta(days=3)
ALIKE = 0.8
"""The least likeness of two descriptions for them to be of one transaction."""
DRIFT = timedelta(days=1)
"""The most days by which a restated row's date changes."""
EXPIRES_AFTER = timedelta(days=14)
CLOSED_AT_ONCE_SHARE, CLOSED_AT_ONCE = 0.2, 50
MISSING_FOR = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """A row with an id that is unknown at its account; `place` is its place in the read."""

    place: int
    state: TransactionState
    booked_on: date
    amount: Decimal
    currency: str
    description: str = field(repr=False)
    purchase_on: date | None = None
    instalment_no: int | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """A stored row that was not found under its id.

    `is_restated`: there is a sign that its id is gone (its day was read completely, it was deleted explicitly, its
    connection ended), so it may return under another id. `is_open`: its id is not final, but there is no such sign (a
    card's row without a bill): only a very similar row may be it.
    """

    id: UUID
    state: TransactionState
    booked_on: date
    amount: Decimal
    currency: str
    description: str = field(repr=False)
    purchase_on: date | None = None
    instalment_no: int | None = None
    is_restated: bool = False
    is_open: bool = False


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The stored row of each new row; the places of new rows with several candidates, and of those that are likely a
    stored row with another amount (a tip, a hotel): neither is merged."""

    claims: dict[int, UUID]
    ambiguous: frozenset[int] = frozenset()
    suggested: frozenset[int] = frozenset()


def match(newcomers: Sequence[Newcomer], known: Sequence[Known]) -> Matches:
    """Match each new row with at most one stored row of the same account, and each stored row once."""
    left, free, claims = dict.fromkeys(newcomers), dict.fromkeys(known), dict[int, UUID]()

    def claim(new: Newcomer, old: Known) -> None:
        claims[new.place] = old.id
        del left[new]
        del free[old]

    for fits in (_is_same_day, _is_same):  # the same day first, so that a neighbour takes no other's place
        _pair(list(left), [one for one in free if one.is_restated], fits, claim, is_sure=True)
    _pair(list(left), [one for one in free if one.is_open], _is_alike, claim, is_sure=True)
    waiting = [one for one in free if one.state in PROVISIONAL]
    ambiguous = _pair(list(left), waiting, _may_be_posted, claim, is_sure=False)
    suggested = frozenset(new.place for new in left if any(_may_be_tipped(new, old) for old in free))
    return Matches(claims=claims, ambiguous=frozenset(ambiguous), suggested=suggested)


def _pair(
    newcomers: Sequence[Newcomer],
    known: Sequence[Known],
    fits: Callable[[Newcomer, Known], bool],
    claim: Callable[[Newcomer, Known], None],
    *,
    is_sure: bool,
) -> set[int]:
    """Pair rows that fit, the most similar first. `is_sure`: each new row is one of them, so any of equal rows will do.
    Returns the places of new rows with several equally good candidates."""
    by_amount = defaultdict[tuple[Decimal, str], list[Known]](list)
    by_purchase = defaultdict[tuple[Decimal, str, date], list[Known]](list)
    for old in sorted(known, key=lambda one: one.booked_on):
        by_amount[(old.amount, old.currency)].append(old)
        if old.purchase_on is not None:
            by_purchase[(old.amount, old.currency, old.purchase_on)].append(old)
    back, forth = (DRIFT, DRIFT) if is_sure else (POSTS_WITHIN, timedelta(0))
    rivals = defaultdict[int, list[tuple[float, Known]]](list)
    chances = []
    for new in newcomers:
        same = by_amount[(new.amount, new.currency)]
        first = bisect_left(same, new.booked_on - back, key=lambda one: one.booked_on)
        last = bisect_right(same, new.booked_on + forth, key=lambda one: one.booked_on)
        bought = by_purchase[(new.amount, new.currency, new.purchase_on)] if is_sure and new.purchase_on else []
        for old in dict.fromkeys((*same[first:last], *bought)):
            if fits(new, old):
                score = likeness(new.description, old.description)
                rivals[new.place].append((score, old))
                chances.append((-score, abs(new.booked_on - old.booked_on), new.place, new, old))
    chances.sort(key=lambda one: one[:3])
    taken_new, taken_old, ambiguous = set[int](), set[UUID](), set[int]()
    for score, _, place, new, old in chances:
        if place in taken_new or place in ambiguous or old.id in taken_old:
            continue
        close = [other for rival, other in rivals[place] if other.id not in taken_old and -score - rival < LEAD]
        if not is_sure and any(likeness(other.description, old.description) < SAME for other in close):
            ambiguous.add(place)  # unlike ones, and neither is ahead: which of them it is, is not known
            continue
        claim(new, old)
        taken_new.add(place)
        taken_old.add(old.id)
    return ambiguous


def _is_same(new: Newcomer, old: Known, drift: timedelta = DRIFT) -> bool:
    """True when it may be the row under another id. For a purchase in instalments it must be the same instalment."""
    if new.instalment_no is not None and old.instalment_no is not None and new.instalment_no != old.instalment_no:
        return False
    near = abs(new.booked_on - old.booked_on) <= drift
    bought = new.purchase_on is not None and new.purchase_on == old.purchase_on
    return (near or bought) and (
        new.state is old.state or (new.state is TransactionState.POSTED and old.state in PROVISIONAL)
    )


def _is_same_day(new: Newcomer, old: Known) -> bool:
    return _is_same(new, old, timedelta(0)) and new.booked_on == old.booked_on


def _is_alike(new: Newcomer, old: Known) -> bool:
    return _is_same(new, old, timedelta(0)) and likeness(new.description, old.description) >= ALIKE


def _may_be_posted(new: Newcomer, old: Known) -> bool:
    waits = timedelta(0) <= new.booked_on - old.booked_on <= POSTS_WITHIN
    moves = old.state is TransactionState.SCHEDULED and new.state is TransactionState.PENDING
    return waits and (new.state is TransactionState.POSTED or moves)


def _may_be_tipped(new: Newcomer, old: Known) -> bool:
    if old.state not in PROVISIONAL or new.state is not TransactionState.POSTED or (new.amount < 0) != (old.amount < 0):
        return False
    grown = abs(old.amount) < abs(new.amount) <= abs(old.amount) * TIP
    soon = timedelta(0) <= new.booked_on - old.booked_on <= TIP_WITHIN
    return grown and soon and likeness(new.description, old.description) >= ALIKE


@dataclass(frozen=True, kw_only=True)
class Posting:
    """The facts of a posted row that show whether a bank reused its id or corrected the row."""

    booked_on: date
    amount: Decimal
    description: str = field(repr=False)


def is_another(one: Posting, other: Posting) -> bool:
    """True when two posted rows under one id are different transactions: two of day, amount and description differ. A
    correction by the bank changes only one.

    >>> day, later = date(2026, 10, 5), date(2026, 11, 5)
    >>> water = Posting(booked_on=day, amount=Decimal(-5), description="AGUA")
    >>> is_another(water, Posting(booked_on=later, amount=Decimal(-5), description="CINEMA"))
    True
    >>> is_another(water, Posting(booked_on=later, amount=Decimal(-5), description="AGUA"))
    False
    """
    moved, changed = one.booked_on != other.booked_on, one.amount != other.amount
    if moved and changed:
        return True
    return (moved or changed) and likeness(one.description, other.description) < ALIKE


def closes_too_many(closing: int, rows: int) -> bool:
    """True when so many rows of an account are missing at once that the read is at fault, not the bank.

    >>> closes_too_many(2, 5), closes_too_many(1, 4), closes_too_many(51, 10_000), closes_too_many(3, 100)
    (True, False, True, False)
    """
    return closing > CLOSED_AT_ONCE or (closing > 1 and closing > rows * CLOSED_AT_ONCE_SHARE)


def ordinals(keys: Iterable[tuple[object, ...]]) -> list[int]:
    """The number of equal keys before each key: it distinguishes equal rows of a day.

    >>> ordinals([("a",), ("b",), ("a",)])
    [0, 0, 1]
    """
    seen, found = defaultdict[tuple[object, ...], int](int), []
    for key in keys:
        found.append(seen[key])
        seen[key] += 1
    return found
