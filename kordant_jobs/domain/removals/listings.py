"""The fit of a listing on a broker's site to a person, by name, place and age. Pure.

What could be the person is never *other*: initials, short forms, one of two surnames, a misspelt surname and a place
that the person may have left are *possible*.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import pairwise

from anyascii import anyascii
from rapidfuzz.distance import OSA

from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs.domain.property.names import SUFFIXES, TITLES, share_a_formal_name

AGE_SLACK = 1
"""Years between two ages that are one: sites know a year of birth, and are not up to date."""
AGE_ANOTHER = 5
"""Years from which on the listing is of another person."""


class Fit(StrEnum):
    """The fit of a listing to a person."""

    SAME = "same"
    POSSIBLE = "possible"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One result of a search, as shown. `text` is all of it: other names and relatives with it."""

    name: str = field(repr=False)
    text: str = field(repr=False)
    ages: tuple[int, ...] = ()
    places: str = field(default="", repr=False)


def words_of(text: str) -> list[str]:
    """The words of a text in small Latin letters, without accents; an apostrophe or full stop divides none.

    >>> words_of("Sean O'Neil-Müller"), words_of("Иван Петров"), words_of("王 小明")
    (['sean', 'oneil', 'muller'], ['ivan', 'petrov'], ['wang', 'xiaoming'])
    """
    folded = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(one for one in folded if not unicodedata.combining(one) and one not in "'’`´.")
    return [found for one in re.findall(r"[^\W_]+", bare) if (found := re.sub(r"[^a-z0-9]", "", anyascii(one).lower()))]


def is_latin(name: str) -> bool:
    """True when a name is written in Latin letters: others are transliterated in several ways."""
    return all("LATIN" in unicodedata.name(one, "") for one in name if one.isalpha())


def _named(words: Iterable[str]) -> tuple[list[str], set[str]]:
    """A name's words without titles, numbers and generations, and the generations."""
    found = [one for one in words if not one.isdigit() and one.upper() not in TITLES]
    suffixes = {SUFFIXES[one.upper()] for one in found[1:] if one.upper() in SUFFIXES} - {""}
    return found[:1] + [one for one in found[1:] if one.upper() not in SUFFIXES], suffixes


def parts_of(name: str) -> list[list[str]]:
    """The parts of a person's name as they write it, each in words; the first is the given name, the last the surname.

    >>> parts_of("Anna-Lena da Silva Jr."), parts_of("Madonna")
    ([['anna', 'lena'], ['da'], ['silva']], [['madonna']])
    """
    kept = set(_named(words_of(name))[0])
    split = ([word for word in words_of(part) if word in kept] for part in name.split())
    return [part for part in split if part]


def _given_alike(one: str, other: str) -> bool:
    if len(one) == 1 or len(other) == 1:
        return one[0] == other[0]
    short, long = sorted((one, other), key=len)
    if (len(short) >= 3 and long.startswith(short)) or share_a_formal_name(one.upper(), other.upper()):
        return True
    return len(short) >= 4 and OSA.distance(one, other) <= 1


def _surname_alike(one: str, other: str) -> bool:
    if len(one) == 1 or len(other) == 1:
        return one[0] == other[0]
    return one == other or (min(len(one), len(other)) >= 4 and OSA.distance(one, other) <= 1)


def name_fit(shown: str, name: str) -> Fit:
    """The fit of a shown name to a person's.

    >>> [name_fit(one, "Ann Maria Smith Jr.").value for one in ("SMITH, Ann", "A. Smith", "Annie Smyth", "Bob Smith")]
    ['same', 'possible', 'possible', 'other']
    >>> name_fit("Sean ONeil", "Sean O'Neil").value, name_fit("Maria Silva", "Maria Silva Santos").value
    ('same', 'possible')
    >>> name_fit("John Smith Sr.", "John Smith Jr.").value, name_fit("J*** S****", "John Smith").value
    ('possible', 'possible')
    """
    parts = parts_of(name)
    words, generations = _named(words_of(shown))
    if not parts or not words:
        return Fit.POSSIBLE
    have = {*words, *(one + other for one, other in pairwise(words))}

    def is_in(part: Sequence[str]) -> bool:
        return set(part) <= have or "".join(part) in have

    if is_in(parts[0]) and is_in(parts[-1]):
        own = _named(words_of(name))[1]
        return Fit.POSSIBLE if own and generations and own != generations else Fit.SAME
    given = {"".join(part) for part in parts[:-1]} | {word for part in parts[:-1] for word in part}
    surnames = {"".join(part) for part in parts[1:]} | {word for part in parts[1:] for word in part}
    if len(words) == 1 or not surnames:
        return Fit.POSSIBLE if any(_given_alike(one, words[0]) for one in given | surnames) else Fit.OTHER
    comma = shown.partition(",")
    after = _named(words_of(comma[2]))[0] if comma[1] else []
    orders = {(words[0], words[-1]), (words[-1], words[0]), *((one, words[0]) for one in after[:1])}
    is_possible = any(
        any(_given_alike(one, first) for one in given) and any(_surname_alike(one, last) for one in surnames)
        for first, last in orders
    )
    return Fit.POSSIBLE if is_possible else Fit.OTHER


def _mentions(text: str, name: str) -> bool:
    """True when a text has the person's first and last name, at most one word between them."""
    parts, words = parts_of(name), words_of(text)
    if len(parts) < 2:
        return False
    first, last = "".join(parts[0]), "".join(parts[-1])
    glued = "".join(parts[0] + parts[-1])
    for at, word in enumerate(words):
        if word == first and last in words[at + 1 : at + 3]:
            return True
        if glued in {"".join(words[at : at + size]) for size in (2, 3, 4)}:
            return True
    return False


def fit(listing: Listing, person: Mapping[str, str]) -> Fit:
    """The fit of a listing to a person: the name, the age within `AGE_SLACK`, the city where places are shown.

    >>> ann = {"name": "Ann Smith", "age": "41", "city": "Fresno"}
    >>> def shown(name: str, age: int, places: str) -> str:
    ...     return fit(Listing(name=name, text=name, ages=(age,), places=places), ann).value
    >>> shown("Ann Smith", 42, "Fresno, CA"), shown("Ann Smith", 41, "Reno"), shown("Ann Smith", 68, "Fresno")
    ('same', 'possible', 'other')
    """
    by_name = name_fit(listing.name, person.get("name", ""))
    if by_name is Fit.OTHER:
        return Fit.POSSIBLE if _mentions(listing.text, person.get("name", "")) else Fit.OTHER
    age = person.get("age", "")
    apart = min((abs(one - int(age)) for one in listing.ages), default=0) if age.isdigit() else 0
    if apart > AGE_ANOTHER:
        return Fit.OTHER
    places, city = words_of(listing.places), words_of(person.get("city", ""))
    is_elsewhere = bool(places and city) and not set(city) <= set(places)
    return Fit.POSSIBLE if apart > AGE_SLACK or is_elsewhere else by_name


OLDEST = 125
"""Years that a person can be old; the oldest of whom a birth is proven reached 122."""

FORMS: Mapping[str, str] = {
    "name": "a name with letters",
    "email": "a mail address",
    "phone": "a phone number, with its country as +1 202 555 0143",
    "birth_year": "a year with four digits, not in the future",
    "birth_date": "a day as 1980-01-31, not in the future",
}
"""The content that a field must have; the others may have anything but blanks."""
LONGEST = 200


def canonical(name: str, value: str, *, country: str, today: date) -> str | None:
    """The value of one field as it is kept, or None when it is no such thing. `country` is for phone numbers that name
    none.

    >>> canonical("phone", "(202) 555-0143", country="US", today=date(2026, 1, 1))
    '+12025550143'
    >>> [canonical(*one, country="US", today=date(2026, 1, 1)) for one in (("birth_year", "3000"), ("name", " - "))]
    [None, None]
    """
    text = " ".join(value.split())
    if not text or len(text) > LONGEST or not text.isprintable():
        return None
    match name:
        case "name":
            return text if parts_of(text) else None
        case "email" | "phone":
            return normalise(IdentifierKind(name), text, phone_region=country)
        case "birth_year":
            is_year = text.isdecimal() and today.year - OLDEST <= int(text) <= today.year
            return text if is_year else None
        case "birth_date":
            try:
                born_on = date.fromisoformat(text)
            except ValueError:
                return None
            return born_on.isoformat() if today.year - OLDEST <= born_on.year and born_on <= today else None
        case _:
            return text
