"""Relations of takers of title to the former owners: the same people, their trust or company, their family, or
strangers."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache

from rapidfuzz.distance import OSA

from kordant_jobs.domain.property.likeness import Likeness, likeness
from kordant_jobs.domain.property.names import Name, NameKind, Order, flipped, parse

SAME_AT = 0.5
"""The least probability with which two names on one parcel count as the same (it is calibrated, so 0.5 errs least
often)."""


class Relation(StrEnum):
    """The relation of a taker to the owners."""

    SELF = "self"
    CO_OWNER = "co_owner"
    """At least one owner stays, and others join or leave."""
    OWN_BODY = "own_body"
    """A trust or company with an owner's name."""
    FAMILY = "family"
    ESTATE = "estate"
    """Title passes by inheritance."""
    STRANGER = "stranger"
    UNKNOWN = "unknown"
    """One side has no names."""


@lru_cache(maxsize=131_072)
def _like(one: str, other: str, order: Order) -> Likeness:
    return likeness(parse(one, order), parse(other, order))


def is_same(one: str, other: str, order: Order = Order.EITHER) -> bool:
    """True when two names on one parcel mean the same person or organisation. Word order does not matter; father and
    son, when both have a suffix, are different.

    >>> is_same("PENA ORTIZ JOSE", "José Peña-Ortiz"), is_same("SMITH JOHN SR", "SMITH JOHN JR")
    (True, False)
    """
    mine, theirs = parse(one, order), parse(other, order)
    if mine.suffix and theirs.suffix and mine.suffix != theirs.suffix:
        return False
    if mine.kind is theirs.kind and len(mine.words) > 2 and sorted(mine.words) == sorted(theirs.words):
        return True
    return _like(one, other, order).probability >= SAME_AT


def any_same(names: Iterable[str], others: Sequence[str], order: Order = Order.EITHER) -> bool:
    """True when any name of one side means the same as a name of the other."""
    return any(is_same(one, other, order) for one in names for other in others)


def relation(givers: Sequence[str], takers: Sequence[str], order: Order = Order.EITHER) -> Relation:
    """The relation of the takers to the givers: the closest that holds for any of them, since a deed lists spouses
    separately.

    >>> relation(["SMITH JOHN"], ["SMITH FAMILY TRUST"]).value, relation(["SMITH JOHN"], ["DOE JANE"]).value
    ('own_body', 'stranger')
    >>> relation(["SMITH JOHN", "SMITH MARY"], ["SMITH MARY"]).value
    'co_owner'
    >>> relation(["SMITH JOHN ESTATE OF"], ["DOE ANN"]).value
    'estate'
    """
    if not givers or not takers:
        return Relation.UNKNOWN
    stay = [taker for taker in takers if any(is_same(giver, taker, order) for giver in givers)]
    if stay:
        everybody = len(stay) == len(takers) and all(
            any(is_same(one, taker, order) for taker in takers) for one in givers
        )
        return Relation.SELF if everybody else Relation.CO_OWNER
    from_names, to_names = [parse(name, order) for name in givers], [parse(name, order) for name in takers]
    if any(name.kind is NameKind.ESTATE for name in from_names):
        return Relation.ESTATE
    surnames = {name for one in from_names for name in _surnames(one)}
    theirs = {name for one in to_names for name in _surnames(one)}
    if any(not one.is_person and surnames & set(one.words) for one in to_names):
        return Relation.OWN_BODY
    if any(not one.is_person and theirs & set(one.words) for one in from_names):
        return Relation.OWN_BODY
    if any(_near(mine, other) for other in theirs for mine in surnames):
        return Relation.FAMILY
    return Relation.STRANGER


def _near(one: str, other: str) -> bool:
    """True when two surnames are equal, or differ in one letter of five or more: clerks misspell."""
    return one == other or (min(len(one), len(other)) >= 5 and OSA.distance(one, other, score_cutoff=1) <= 1)


def _surnames(name: Name) -> set[str]:
    """The surnames that a person's name may hold. A name of two words that can be read both ways does not count as two
    families."""
    if not name.surname or len(name.surname) < 2:
        return set()
    other = flipped(name).surname
    return {name.surname} | ({other} if name.kind is NameKind.TRUST and len(other) > 1 else set())
