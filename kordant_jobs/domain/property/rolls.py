"""One entry of a county's owner roll: who owns a parcel and where its tax bills go, in one spelling. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from kordant_jobs.domain.property.addresses import normalise_address
from kordant_jobs.domain.property.names import joined, normalise_name, parse

_BOX = re.compile(r"\b(?:P\s*O\s*BOX|POB|POST\s+OFFICE\s+BOX|BOX)\s*(?:NO\s+|NUMBER\s+)?#?\s*(?=\d)")
_ZIP = re.compile(r"\b(\d{5})(?:\s*-\s*\d{0,4}|\d{4})?\s*(?:USA?)?\s*$")
_UNIT = re.compile(r"\b(?:UNIT\s+)+")
_PAIR = re.compile(r"\s*&\s*|\s+AND\s+", re.IGNORECASE)
_SILENT = frozenset({"AND", "OF", "THE", "LLC", "INC"})


@dataclass(frozen=True, kw_only=True)
class RollEntry:
    """The entry of a roll for one parcel: owners and mailing address as the roll writes them, empty where it has none,
    and the parcel's own street address."""

    owners: tuple[str, ...] = field(default=(), repr=False)
    mailing: str = field(default="", repr=False)
    address: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class RollState:
    """The stored state of a parcel's entry, as keyed hashes. `waiting`: other owners whom the roll shows and no
    document explains yet."""

    owners: bytes | None = None
    mailing: bytes | None = None
    waiting: bytes | None = None
    waiting_since: date | None = None


def canonical_owners(owners: Iterable[str]) -> str:
    """The owners in one spelling; empty: no owners. The order of names and of owners, signs, initials and ET AL do not
    count.

    >>> canonical_owners(["SMITH, JOHN Q.", "Mary Smith"]) == canonical_owners(["MARY & JOHN SMITH ET AL"])
    True
    >>> canonical_owners(["12 Elm Street L.L.C."]), canonical_owners(["SMITH JOHN"]) == canonical_owners(["SMITH JAN"])
    ('12 ELM ST', False)
    """
    words: set[str] = set()
    for raw in owners:
        name = parse(raw)
        words |= set(normalise_address(joined(normalise_name(" ".join(name.words)))).split()) | {name.suffix}
    return " ".join(sorted(word for word in words - _SILENT if len(word) > 1))


def canonical_mailing(raw: str) -> str:
    """A mailing address in one spelling; empty: no address. Abbreviations, points, the last four digits of a ZIP code
    and the ways to write a post office box do not count.

    >>> canonical_mailing("12 N. Main Street Apt #5, Chicago, IL 60601-1234")
    '12 N MAIN ST UNIT 5 CHICAGO IL 60601'
    >>> {canonical_mailing(one) for one in ("P.O. Box 77 Reno NV 895011234", "POST OFFICE BOX #77, RENO NV 89501")}
    {'PO BOX 77 RENO NV 89501'}
    """
    text = " ".join(raw.upper().replace(".", "").replace(",", " ").split())
    text = _ZIP.sub(r"\1", text)
    text = _BOX.sub("PO BOX ", text).replace("#", " UNIT ")
    return _UNIT.sub("UNIT ", normalise_address(text))


def owner_names(cell: str) -> list[str]:
    """The owners' names in one cell of a roll, each with its surname.

    >>> owner_names("SMITH JOHN & MARY"), owner_names("John and Mary Smith"), owner_names("SMITH & SONS LLC")
    (['SMITH JOHN', 'SMITH MARY'], ['John Smith', 'Mary Smith'], ['SMITH & SONS LLC'])
    """
    parts = [part.strip() for part in _PAIR.split(cell) if part.strip()]
    if len(parts) < 2 or not parse(cell).is_person:
        return [cell]
    if " " not in parts[0]:
        return [part if " " in part else f"{part} {parts[-1].split()[-1]}" for part in parts]
    return [part if " " in part else f"{parts[0].split()[0]} {part}" for part in parts]
