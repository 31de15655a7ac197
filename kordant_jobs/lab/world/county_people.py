"""The people and bodies of an invented county, with names as frequent as real ones, and how recorders write them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from kordant_jobs.domain.property.names import given_shares, nicknames, surname_shares

_SYLLABLES = "KA LO MI RE SU TAN VER WIN BOR DEL FEN GAR HOL JEN KRAV LIND MOR NOV OST PET QUIN ROS SAL TER ULM".split()  # noqa: SIM905 - words read better so
_ENDS = "SKI MAN SON BERG ER ICH EZ OV ARI ELLI EN UK".split()  # noqa: SIM905 - words read better so
RARE_SURNAMES_SHARE = 0.25
"""So many people bear a surname that is not among the 6,000 most frequent (1990 census: about a quarter)."""
MIDDLE_SHARE = 0.85
LENDERS = (
    "WELLS FARGO BANK NA", "JPMORGAN CHASE BANK NA", "BANK OF AMERICA NA", "QUICKEN LOANS INC", "CITIBANK NA",
    "FIRST REPUBLIC BANK", "MORTGAGE ELECTRONIC REGISTRATION SYSTEMS INC", "PNC BANK NA", "LOANDEPOT COM LLC",
    "NAVY FEDERAL CREDIT UNION", "UNITED WHOLESALE MORTGAGE LLC", "TD BANK NA", "SANTANDER BANK NA",
)  # fmt: skip
_PLACES = "ELM OAK MAPLE RIVER LAKE SUMMIT HARBOR MADISON FRANKLIN LINCOLN CEDAR GRAND PARK UNION CENTRAL HILL".split()  # noqa: SIM905 - words read better so
_TRADES = ("HOLDINGS LLC", "REALTY CORP", "PROPERTIES LLC", "INVESTMENTS LLC", "DEVELOPMENT GROUP INC", "EQUITIES LLC",
           "HOMES LLC", "PARTNERS LP", "MANAGEMENT INC", "VENTURES LLC")  # fmt: skip


@dataclass(frozen=True, slots=True)
class CountyParty:
    """A person (surname, given names) or a body (`body`); `id` tells namesakes apart. `of`: whose trust or firm."""

    id: int
    surname: str = field(default="", repr=False)
    given: str = field(default="", repr=False)
    middle: str = field(default="", repr=False)
    suffix: str = field(default="", repr=False)
    body: str = field(default="", repr=False)
    of: int | None = None

    @property
    def full(self) -> str:
        """The name as its bearer writes it."""
        return self.body or " ".join(filter(None, (self.given, self.middle, self.surname, self.suffix)))


class People:
    """Draws people and bodies from one seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.all: list[CountyParty] = []
        self._surnames, self._surname_weights = _weights(surname_shares())
        self._given, self._given_weights = _weights(given_shares())

    def _add(self, **parts: Any) -> CountyParty:
        one = CountyParty(len(self.all), **parts)
        self.all.append(one)
        return one

    def surname(self) -> str:
        """One as frequent as in the census; a quarter are rare ones, made of syllables."""
        rng = self.rng
        if rng.random() < RARE_SURNAMES_SHARE:
            return "".join(rng.choices(_SYLLABLES, k=rng.choice((2, 2, 3)))) + rng.choice(_ENDS)
        return rng.choices(self._surnames, cum_weights=self._surname_weights)[0]

    def given(self) -> str:
        """A given name as frequent as in the census."""
        return self.rng.choices(self._given, cum_weights=self._given_weights)[0]

    def person(self, *, surname: str = "", suffix: str = "", given: str = "") -> CountyParty:
        """A person, perhaps of a family."""
        middle = self.given() if self.rng.random() < MIDDLE_SHARE else ""
        return self._add(surname=surname or self.surname(), given=given or self.given(), middle=middle, suffix=suffix)

    def relative(self, of: CountyParty) -> CountyParty:
        """A spouse or child; one in eight is called like them, with a suffix."""
        if self.rng.random() < 0.12 and not of.suffix:
            return self.person(surname=of.surname, suffix="JR", given=of.given)
        return self.person(surname=of.surname)

    def firm(self, of: CountyParty | None = None) -> CountyParty:
        """A company; `of`: one that bears its owner's name."""
        rng = self.rng
        if of:
            body = f"{of.surname} {rng.choice(('FAMILY HOLDINGS LLC', 'PROPERTIES LLC', 'REALTY LLC'))}"
        elif rng.random() < 0.5:
            body = f"{rng.randrange(2, 4000)} {rng.choice(_PLACES)} {rng.choice(('ST', 'AVE', 'PLACE'))} LLC"
        else:
            body = f"{rng.choice(_PLACES)} {rng.choice(_PLACES)} {rng.choice(_TRADES)}"
        return self._add(body=body, of=of.id if of else None)

    def trust(self, of: CountyParty) -> CountyParty:
        """The party's own trust."""
        form = self.rng.choice(("{s} FAMILY TRUST", "{g} {s} REVOCABLE TRUST", "{s} {g} TRUSTEE", "{s} LIVING TRUST"))
        return self._add(body=form.format(s=of.surname, g=of.given), of=of.id)


def _weights(shares: Mapping[str, float]) -> tuple[list[str], list[float]]:
    return list(shares), list(accumulate(shares.values()))


def written(one: CountyParty, rng: random.Random, *, noise: float = 1.0) -> str:
    """The name as a recorder's clerk indexes it, surname first. `noise`: how often they err, times the usual."""
    if one.body:
        return _body(one.body, rng, noise)
    given, middle, surname, suffix = one.given, one.middle, one.surname, one.suffix
    draw = rng.random()
    if draw < 0.02 * noise and (called := nicknames().get(given)):
        given = rng.choice(sorted(called))
    elif draw < 0.03 * noise:
        given = given[0]
    elif draw < 0.04 * noise:
        given = _typo(given, rng)
    if middle:
        draw = rng.random()
        middle = middle if draw < 0.12 else middle[0] if draw < 1 - 0.05 * noise else ""
    if rng.random() < 0.015 * noise:
        surname = _typo(surname, rng)
    suffix = "" if rng.random() < 0.05 * noise else suffix
    text = " ".join(filter(None, (surname, given, middle, suffix)))
    draw = rng.random()
    if draw < 0.05:
        return text.replace(" ", ", ", 1)
    return f"{text} {rng.choice(('ET AL', 'ET UX', 'HIS WIFE'))}" if draw < 0.07 else text


def _body(text: str, rng: random.Random, noise: float) -> str:
    draw = rng.random()
    if draw < 0.03 * noise:
        return _typo(text, rng)
    if draw < 0.10 * noise:
        return text.replace(" LLC", ", L.L.C.").replace(" INC", ", INC.").replace(" CORP", " CORPORATION")
    if draw < 0.13 * noise:
        return text[:30].rstrip()
    return f"THE {text}" if draw < 0.15 * noise else text


def _typo(text: str, rng: random.Random) -> str:
    """One letter dropped, doubled, swapped with the next or replaced; never the first."""
    if len(text) < 4:
        return text
    at = rng.randrange(1, len(text) - 1)
    match rng.randrange(4):
        case 0:
            return text[:at] + text[at + 1 :]
        case 1:
            return text[:at] + text[at] + text[at:]
        case 2:
            return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        case _:
            return text[:at] + rng.choice("AEIOSTRNL") + text[at + 1 :]


def written_all(them: Sequence[CountyParty], rng: random.Random) -> tuple[str, ...]:
    """Like `written`, but for several names."""
    return tuple(written(one, rng) for one in them)
