"""Postal addresses as counties write them: one spelling, and the query that finds them. Pure."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

from rapidfuzz.fuzz import token_sort_ratio

TABLE = files("kordant_jobs.domain.property") / "tables" / "street_words.txt"
CANDIDATES_MAX = 5
ALIKE_AT = 70.0
"""The lowest likeness, of 100, of a candidate. Below it another street or house is likelier. Candidates are shown to
the subscriber, never adopted."""


@dataclass(frozen=True, kw_only=True)
class AddressQuery:
    """A query for a county's addresses: the house number and the street's longest word, in its spellings."""

    house: str = field(repr=False)
    streets: tuple[str, ...] = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A parcel that an address may mean. `likeness` is of 100."""

    parcel: str = field(repr=False)
    address: str = field(repr=False)
    likeness: float


@lru_cache(maxsize=1)
def _short() -> dict[str, str]:
    lines = (line.split(" ", 1) for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#"))
    return dict(lines)


def normalise_address(raw: str) -> str:
    """One spelling of an address: capitals, no points, the usual abbreviations, ordinals as numbers.

    >>> normalise_address("12-34 north Main Street, Apt. 5"), normalise_address("1 5th Ave")
    ('12-34 N MAIN ST UNIT 5', '1 5 AVE')
    """
    words = re.findall(r"[A-Z0-9][A-Z0-9'-]*", raw.upper().replace(".", ""))
    short = _short()
    return " ".join(short.get(word, re.sub(r"^(\d+)(ST|ND|RD|TH)$", r"\1", word)) for word in words)


AT = "at "
"""The prefix of the stand-in for the parcel number of a document that names only an address."""


def place_of(raw: str) -> str | None:
    """The stand-in for a parcel number where only its street address is known; None when the text is not an address.

    >>> place_of("12 North Main Street  4B"), place_of("REAR LOT")
    ('at 12 N MAIN ST 4B', None)
    """
    text = normalise_address(raw)
    return f"{AT}{text}" if text[:1].isdigit() and " " in text else None


def address_query(raw: str) -> AddressQuery | None:
    """The query for an address; None where the text has no house number followed by a street.

    >>> address_query("350 5th Avenue, New York").streets, address_query("Main Street") is None
    (('5', 'FIFTH'), True)
    """
    text = normalise_address(raw.partition(",")[0])
    house, _, street = text.partition(" ")
    common = {one for one in _short().values() if not one.isdigit()}
    names = [word for word in street.split(" UNIT ")[0].split() if word not in common]
    if not house[:1].isdigit() or not names:
        return None
    longest = max(names, key=len)
    spelled = (word for word, short in _short().items() if short == longest)
    return AddressQuery(house=house, streets=(longest, *spelled), text=text)


def rank(query: AddressQuery, found: list[tuple[str, str]]) -> list[Candidate]:
    """The parcels whose addresses resemble the query, the likeliest first; each parcel once. `found` has pairs of
    parcel and address.

    >>> one = address_query("350 5th Ave")
    >>> [c.parcel for c in rank(one, [("a", "350 FIFTH AVENUE"), ("b", "350 5 STREET"), ("c", "351 FIFTH AVE")])]
    ['a', 'b']
    """
    best: dict[str, Candidate] = {}
    for parcel, address in found:
        text = normalise_address(address)
        score = token_sort_ratio(query.text, text) if text.split(" ")[0] == query.house else 0.0
        if score >= ALIKE_AT and (parcel not in best or score > best[parcel].likeness):
            best[parcel] = Candidate(parcel=parcel, address=address, likeness=round(score, 1))
    return sorted(best.values(), key=lambda one: (-one.likeness, one.parcel))[:CANDIDATES_MAX]
