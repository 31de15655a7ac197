"""The owner roll of an invented county, a year and the next: what changed in truth, and what is only spelled otherwise.

Spellings of names are those of the clerks (`county_people`); of addresses those that real rolls mix: abbreviations,
ZIP+4, ways to write a post office box or an apartment.
"""

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from kordant_jobs.domain.property.instruments import TITLE
from kordant_jobs.domain.property.rolls import RollEntry
from kordant_jobs.lab.world.county import County
from kordant_jobs.lab.world.county_people import CountyParty, written_all

DESCRIPTION = """
owner_roll:
  dataset: roll.txt
  columns:
    parcel: parcel
    owners: {of: [owners], split: ";"}
    mailing: mailing
"""
_STREETS = ("ELM", "OAK", "MAPLE", "5TH", "MARTIN LUTHER KING", "LAKE SHORE", "ST CLAIR", "WASHINGTON", "23RD")
_TYPES = {
    "ST": "STREET",
    "AVE": "AVENUE",
    "RD": "ROAD",
    "DR": "DRIVE",
    "BLVD": "BOULEVARD",
    "LN": "LANE",
    "CT": "COURT",
}
_SIDES = {"N": "NORTH", "S": "SOUTH", "E": "EAST", "W": "WEST", "": ""}
_TOWNS = (("READING", "PA", "196"), ("CHICAGO", "IL", "606"), ("ST LOUIS", "MO", "631"), ("NEW BRITAIN", "CT", "060"))


@dataclass(frozen=True, slots=True)
class RollChange:
    """One lot's entry before and after, and what of it is so."""

    lot: int
    on: date
    before: RollEntry
    after: RollEntry
    redirected: bool
    usurped: bool
    """Another owner, of whom no document knows."""


@dataclass(frozen=True, slots=True)
class _Address:
    house: int
    side: str
    street: str
    kind: str
    unit: str
    box: int
    town: tuple[str, str, str]
    zip_end: int

    def written(self, rng: random.Random) -> str:
        town, state, area = self.town
        code = f"{area}{self.zip_end:02d}" + rng.choice(("", "", f"-{rng.randrange(10000):04d}", "0001"))
        if self.box:
            line = f"{rng.choice(('PO BOX', 'P.O. BOX', 'P O BOX', 'POST OFFICE BOX', 'Po Box'))} {self.box}"
        else:
            side, kind = rng.choice((self.side, _SIDES[self.side])), rng.choice((self.kind, _TYPES[self.kind]))
            unit = f"{rng.choice(('APT ', 'UNIT ', '#', '# ', 'APARTMENT ', 'Apt. '))}{self.unit}" if self.unit else ""
            line = " ".join(filter(None, (str(self.house), side, self.street, kind, unit)))
        text = f"{line}{rng.choice((', ', ' '))}{town}{rng.choice((', ', ' '))}{state} {code}"
        return text.title() if rng.random() < 0.1 else text


def _address(rng: random.Random) -> _Address:
    return _Address(
        rng.randrange(1, 9000), rng.choice(list(_SIDES)), rng.choice(_STREETS), rng.choice(list(_TYPES)),
        rng.choice(("", "", str(rng.randrange(1, 40)), f"{rng.randrange(1, 20)}B")),
        rng.randrange(10, 9000) if rng.random() < 0.15 else 0, rng.choice(_TOWNS), rng.randrange(100),
    )  # fmt: skip


def _moved(one: _Address, rng: random.Random) -> _Address:
    """Elsewhere; now and then next door, or the next box."""
    return _address(rng) if rng.random() < 0.7 else _Address(
        one.house + 2, one.side, one.street, one.kind, one.unit, one.box and one.box + 1, one.town, one.zip_end
    )  # fmt: skip


def roll_changes(county: County, seed: int, lots: Iterable[int], *, with_stolen: bool = False) -> list[RollChange]:
    """A year's change of each of these lots, but of those that were stolen only if they are wanted. A tenth are
    redirected, as many usurped; a fifth have been sold, and the deed is on record; all are written again."""
    rng = random.Random(seed)  # noqa: S311 - an invented county
    titles = {lot: one for one in county.records if one.truth.event in TITLE for lot in one.lots}
    newest = max(one.recorded_on for one in county.records)
    found = []
    for lot in lots:
        if county.lots[lot].stolen and not with_stolen:
            continue
        owners, address, draw = county.lots[lot].owners, _address(rng), rng.random()
        redirected, usurped, sold = draw < 0.1, 0.1 <= draw < 0.2, 0.2 <= draw < 0.4
        others: Sequence[CountyParty] = [county.people.person()] if usurped else owners
        before = titles[lot].givers if sold else written_all(owners, rng)
        found.append(
            RollChange(
                lot=lot,
                on=newest + timedelta(days=rng.randrange(1, 300)),
                before=RollEntry(owners=before, mailing=address.written(rng)),
                after=RollEntry(
                    owners=tuple(rng.sample(them := written_all(others, rng), len(them))),
                    mailing=(_moved(address, rng) if redirected else address).written(rng),
                ),
                redirected=redirected,
                usurped=usurped,
            )
        )
    return found


def write_roll(county: County, entries: Iterable[tuple[int, RollEntry]], path: Path) -> None:
    """The roll as a file for the drop folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["parcel", "owners", "mailing"])
        writer.writerows([county.parcel(lot), ";".join(one.owners), one.mailing] for lot, one in entries)
    beside.replace(path)
