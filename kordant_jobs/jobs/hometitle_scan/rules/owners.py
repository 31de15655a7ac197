"""Finds instruments that name a watched owner, and judges changes on the owner roll: redirected mail is reported at
once, other owners when no document explains them. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.findings import Finding, Reason
from kordant_jobs.domain.property.instruments import TITLE, Event, Instrument
from kordant_jobs.domain.property.likeness import Likeness, likeness
from kordant_jobs.domain.property.names import Name, Order, parse
from kordant_jobs.domain.property.rolls import RollState
from kordant_jobs.jobs.hometitle_scan.rules.history import in_order
from kordant_jobs.jobs.hometitle_scan.rules.relations import any_same

OWNER_AT = 0.5
"""The least calibrated probability with which a finding by an owner's name alone raises an alert."""
_LOUD = {
    Event.OWNERSHIP_CHANGE: Severity.HIGH,
    Event.PARTIAL_TRANSFER: Severity.HIGH,
    Event.TAX_DEED: Severity.HIGH,
    Event.MORTGAGE: Severity.HIGH,
    Event.LIEN: Severity.HIGH,
    Event.LIS_PENDENS: Severity.HIGH,
    Event.CORRECTION: Severity.MEDIUM,
    Event.NAME_CHANGE: Severity.MEDIUM,
    Event.POWER_OF_ATTORNEY: Severity.MEDIUM,
    Event.CONTRACT: Severity.MEDIUM,
    Event.TRANSFER_ON_DEATH: Severity.MEDIUM,
}


def find_owner(
    instruments: Iterable[Instrument], owners: Sequence[str], *, people: int, order: Order = Order.EITHER
) -> list[Finding]:
    """A finding for each instrument that likely names one of the owners, with its probability. `people`: the number of
    people who may be meant."""
    wanted = [parse(name, Order.GIVEN_FIRST) for name in owners]  # as people write themselves
    found = []
    for one in instruments:
        best = best_of(one, wanted, people=people, order=order)
        if best.probability < OWNER_AT:
            continue
        found.append(
            Finding(
                key=one.key,
                event=one.event,
                severity=_LOUD.get(one.event, Severity.LOW),
                raises_alert=one.event in _LOUD,
                reasons=(Reason.NAME_AGREES,),
                probability=round(best.probability, 4),
            )
        )
    return found


def would_raise_alert(name: str, *, people: int) -> bool:
    """True when a document with exactly this name would raise an alert to its watcher, given that `people` others may
    have the name.

    >>> would_raise_alert("John Smith", people=5_000_000), would_raise_alert("Ludwig van Beethoven", people=5_000_000)
    (False, True)
    """
    wanted = parse(name, Order.GIVEN_FIRST)
    return likeness(wanted, wanted, among=people).probability >= OWNER_AT


def best_of(one: Instrument, wanted: Iterable[Name], *, people: int, order: Order) -> Likeness:
    """The highest likeness of a party to one of the names."""
    parties = [parse(party.name, order) for party in one.parties]
    pairs = (likeness(mine, theirs, among=people) for mine in wanted for theirs in parties)
    return max(pairs, key=lambda found: found.probability, default=Likeness(probability=0.0))


def is_news(
    *, known_at: datetime, is_first_load: bool, recorded_on: date | None, watched_since: datetime, latency_days: int
) -> bool:
    """True when an instrument became known after the watch began. Records of a county's first load are history, unless
    they were recorded so recently that no earlier read could have had them.

    >>> from datetime import UTC
    >>> now = datetime(2026, 5, 1, tzinfo=UTC)
    >>> is_news(known_at=now, is_first_load=True, recorded_on=date(2019, 1, 1), watched_since=now, latency_days=30)
    False
    >>> is_news(known_at=now, is_first_load=False, recorded_on=date(2019, 1, 1), watched_since=now, latency_days=30)
    True
    """
    lately = recorded_on is not None and recorded_on >= watched_since.date() - timedelta(days=latency_days)
    return lately or (not is_first_load and known_at >= watched_since)


EXPLAINED_WITHIN = timedelta(days=60)
"""The time within which a document may explain other owners: recorders and assessors index weeks apart."""
_EXPLAINS = TITLE | {Event.CORRECTION, Event.NAME_CHANGE}


def advance(known: RollState | None, seen: RollState, *, today: date) -> tuple[RollState, bool]:
    """The state after an entry was `seen`, and whether its mailing address changed. Later entries are compared with the
    first; a blank field changes nothing.

    >>> first, moved = advance(None, RollState(owners=b"A", mailing=b"1"), today=date(2026, 5, 1))
    >>> after, moved = advance(first, RollState(owners=b"B", mailing=b"2"), today=date(2026, 5, 2))
    >>> moved, after.mailing, after.owners, after.waiting, after.waiting_since
    (True, b'2', b'A', b'B', datetime.date(2026, 5, 2))
    >>> advance(after, RollState(owners=b"A"), today=date(2026, 5, 3))[0].waiting_since is None
    True
    """
    if known is None:
        return seen, False
    moved = seen.mailing is not None and seen.mailing != known.mailing
    state = replace(known, mailing=seen.mailing) if moved else known
    if seen.owners is None or seen.owners == known.waiting:
        return state, moved
    if known.owners is None:
        return replace(state, owners=seen.owners), moved
    if seen.owners == known.owners:
        return replace(state, waiting=None, waiting_since=None), moved
    return replace(state, waiting=seen.owners, waiting_since=known.waiting_since or today), moved


def is_explained(
    owners: Sequence[str], since: date, instruments: Iterable[Instrument], *, known_owners: Sequence[str] = ()
) -> bool:
    """True when every new owner is one whom the subscriber named, who took title by the last recorded document, or who
    took it by one recorded within 60 days. A document of those days without names explains any owner."""
    titles = [one for one in in_order(instruments) if one.event in _EXPLAINS]
    near = [one for one in titles if one.recorded_on and abs(one.recorded_on - since) <= EXPLAINED_WITHIN]
    if any(not one.takers for one in near):
        return True
    takers = [name for one in (*titles[-1:], *near) for name in one.takers]
    return all(any_same([name], [*known_owners, *takers]) for name in owners)
