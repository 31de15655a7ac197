"""Rules for changes on the owner roll: redirected mail is reported at once, other owners when no document explains
them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta

from kordant_jobs.domain.property.instruments import TITLE, Event, Instrument
from kordant_jobs.domain.property.rolls import RollState
from kordant_jobs.jobs.hometitle_scan.rules.history import in_order
from kordant_jobs.jobs.hometitle_scan.rules.relations import any_same

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
