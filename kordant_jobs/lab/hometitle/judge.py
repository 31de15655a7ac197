"""`kordant-jobs judge-hometitle`: what the rules and the names score say, against invented counties whose truth is
known, and against a folder of real rows."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kordant_jobs.adapters.counties.description import Column, County, TableDescription, TableKind, shipped
from kordant_jobs.adapters.counties.drivers import Arcgis
from kordant_jobs.adapters.counties.understand import Understood, understand
from kordant_jobs.adapters.sources.http import SourceFailed
from kordant_jobs.cli.output import out
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.domain.property.instruments import TITLE, Event, kind_of
from kordant_jobs.domain.property.likeness import likeness
from kordant_jobs.domain.property.names import Name, NameKind, Order, normalise_name, parse
from kordant_jobs.domain.property.parcels import ParcelKind, normalise_parcel
from kordant_jobs.jobs.hometitle_scan.rules.history import read_history
from kordant_jobs.jobs.hometitle_scan.rules.relations import Relation, relation
from kordant_jobs.lab.figures import Figure, finish
from kordant_jobs.lab.hometitle.judging import Count, judge, judge_owners, judge_roll
from kordant_jobs.lab.hometitle.names_fit import calibration_error
from kordant_jobs.lab.world import county as world

TODAY = date(2026, 5, 1)
NO_DEEDS = ("DEEDN", "MTRDEED", "CEMD")
"""Codes that hold the word deed, or end like one, and are none."""
OTHER_BODIES = ("TEACHERS", "CHABAD", "HOUSING", "FRATERNITY")
"""Words that distinguish the near neighbours of the one owner's spellings."""
Row = dict[str, Any]


def invented(seeds: range, *, lots: int, documents: int, watched: int) -> Iterator[Figure]:
    """The events of watched parcels, and owners watched by name alone, over counties of these seeds."""
    events, owners, mail, usurped = Count(), Count(), Count(), Count()
    likely: list[tuple[float, bool]] = []
    for seed in seeds:
        county = world.County(seed, lots=lots, documents=documents)
        events += judge(county, range(lots))
        by_name, pairs = judge_owners(county, watched)
        owners += by_name
        moved, other = judge_roll(county, seed)
        mail, usurped = mail + moved, usurped + other
        likely += pairs
    given, same = np.array([one for one, _ in likely]), np.array([is_so for _, is_so in likely])
    for name, count in (("events", events), ("owners", owners), ("roll", mail + usurped)):
        for (wanted, said), number in count.confusion.most_common(8):
            out.print(f"{name}: {number} × {wanted} → {said}")
    yield Figure(key="events", value=events.right + events.missed, unit="", goal=None)
    yield Figure(key="events_precision", value=events.precision, unit="", goal=0.99, direction="min")
    yield Figure(key="events_recall", value=events.recall, unit="", goal=0.99, direction="min")
    for pattern, number in sorted(events.frauds.items()):
        share = events.frauds_found[pattern] / number
        yield Figure(key=f"{pattern} ({number})", value=share, unit="", goal=0.99, direction="min")
    yield Figure(key="owners", value=owners.right + owners.missed, unit="", goal=None)
    yield Figure(key="owners_precision", value=owners.precision, unit="", goal=0.95, direction="min")
    yield Figure(key="owners_recall", value=owners.recall, unit="", goal=0.95, direction="min")
    yield Figure(key="roll_redirected", value=mail.right + mail.missed, unit="", goal=None)
    yield Figure(key="roll_redirected_precision", value=mail.precision, unit="", goal=0.99, direction="min")
    yield Figure(key="roll_redirected_recall", value=mail.recall, unit="", goal=0.99, direction="min")
    yield Figure(key="roll_usurped", value=usurped.right + usurped.missed, unit="", goal=None)
    yield Figure(key="roll_usurped_precision", value=usurped.precision, unit="", goal=0.9, direction="min")
    yield Figure(key="roll_usurped_recall", value=usurped.recall, unit="", goal=0.99, direction="min")
    yield Figure(key="owners_calibration_error", value=calibration_error(given, same), unit="", goal=0.03)


def real(folder: Path) -> Iterator[Figure]:
    """Real rows of counties: what is understood of them, and the truth sets of names."""
    acris = folder / "hometitle" / "acris"
    for name, tables in _ACRIS.items():
        county = _acris(tables)
        made = understand(county, {kind: _rows(acris / file) for kind, (file, _) in tables.items()}, today=TODAY)
        yield from _understood(name, made)
    yield from _search_results(acris / "one-owner-search-results.csv")
    yield from _wide_deed(folder)
    yield from _arcgis(folder / "hometitle" / "arcgis")
    found = {code: kind_of(code, shipped()["nyc"].code_table).event for code in NO_DEEDS}
    yield Figure(key="no_deeds_taken_for_deeds", value=sum(one in TITLE for one in found.values()), unit="", goal=0)
    yield from _one_owner(folder / "hometitle" / "names" / "one-entity-variants.txt")
    facts = json.loads((folder / "hometitle" / "philadelphia" / "rtt-facts.json").read_text())["name_overlap_cases"]
    right = sum(_are_related(*names) == are for *names, are in facts)
    yield Figure(key="philadelphia_relations", value=right / len(facts), unit="", goal=1.0, direction="min")
    names = folder / "hometitle" / "names"
    febrl = _rows(names / "febrl-dataset1.csv")
    yield _f1("febrl", [(r["surname"], r["given_name"], r["rec_id"].split("-")[1]) for r in febrl])
    splink = _rows(names / "splink-fake-1000.csv")
    yield _f1("splink", [(r["surname"], r["first_name"], r["cluster"]) for r in splink])


def _rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        return [{name: value.strip() or None for name, value in row.items() if value is not None} for row in rows]


_Columns = dict[str, str | tuple[str, ...]]
_Tables = Mapping[TableKind, tuple[str, _Columns]]
_LOTS: _Columns = {"key": "DOCUMENT ID", "parcel": ("BOROUGH", "BLOCK", "LOT")}
_PARTIES: _Columns = {"key": "DOCUMENT ID", "side": "PARTY TYPE", "name": "NAME"}
_MASTER: _Columns = {"key": "DOCUMENT ID", "code": "DOC. TYPE", "recorded_on": "RECORDED / FILED",
                     "amount": "DOC. AMOUNT"}  # fmt: skip
_MORE: tuple[tuple[str, _Columns], ...] = (
    ("real", {"executed_on": "DOC. DATE", "percent": "% TRANSFERRED"}),
    ("personal", {}),
)
_ACRIS: Mapping[str, _Tables] = {
    f"acris_{which}": {
        TableKind.INSTRUMENTS: (f"acris_{which}_property_master.csv", _MASTER | more),
        TableKind.LOTS: (f"acris_{which}_property_legals.csv", _LOTS),
        TableKind.PARTIES: (f"acris_{which}_property_parties.csv", _PARTIES),
    }
    for which, more in _MORE
} | {
    "acris_joined": {
        TableKind.INSTRUMENTS: ("joined_real_property_master.csv", {
            "key": "documentid", "code": "doctype", "recorded_on": "recordedfiled", "amount": "docamount",
            "percent": "pcttransferred"}),
        TableKind.LOTS: ("joined_real_property_legals.csv",
                         {"key": "documentid", "parcel": ("borough", "block", "lot")}),
    }
}  # fmt: skip
"""The tables of ACRIS as their dumps name the columns."""


def _acris(tables: _Tables) -> County:
    """New York's county, its columns called as in a dump."""
    nyc = shipped()["nyc"]
    renamed = {
        kind: nyc.tables[kind].model_copy(
            update={
                "columns": {
                    meaning: Column(of=(name,) if isinstance(name, str) else name) for meaning, name in columns.items()
                }
            }
        )
        for kind, (_, columns) in tables.items()
    }
    return nyc.model_copy(update={"tables": renamed})


def _understood(name: str, made: Understood) -> Iterator[Figure]:
    """The documents of which the type is known, of all; why the others are not, printed."""
    for reason, number in made.problems.most_common():
        out.print(f"{name}: {number} × {reason}")
    out.print(f"{name}: {dict(Counter(one.instrument.event.value for one in made.documents))}")
    known = sum(one.instrument.event.value != "unknown" for one in made.documents)
    yield Figure(key=f"{name}_types_known", value=known / len(made.documents), unit="", goal=1.0, direction="min")


_BOROUGHS = {"MANHATTAN": 1, "BRONX": 2, "BROOKLYN": 3, "QUEENS": 4}


def _search_results(path: Path) -> Iterator[Figure]:
    """Fifty years of one owner's documents, by the words of their types and the names of boroughs."""
    rows = _rows(path)
    types = Counter(row["doc_type"] or "none" for row in rows)
    unknown = {one: number for one, number in types.items() if kind_of(one, {}).event is Event.UNKNOWN}
    parcels = [f"{_BOROUGHS.get(row['borough'] or '', 9)}-{row['block']}-{row['lot']}" for row in rows]
    no_parcel = sum(normalise_parcel(ParcelKind.BBL, one) is None for one in parcels)
    out.print(f"one owner's documents: types not known {unknown}; {no_parcel} rows without a parcel of ACRIS")
    known = 1 - sum(unknown.values()) / len(rows)
    yield Figure(key=f"one_owner_types_known ({len(rows)})", value=known, unit="", goal=1.0, direction="min")


def _arcgis(folder: Path) -> Iterator[Figure]:
    """Recorded answers of real servers: each is read as rows, ids, a count or a layer, or refused with a reason. One of
    them is an error, and one has rows where a count was asked for."""
    read: Counter[str] = Counter()
    for path in sorted(folder.glob("*.json")):
        value = json.loads(path.read_text())
        asked_for_count = "count-only" in path.name
        try:
            if "error" in value or (asked_for_count and not isinstance(value.get("count"), int)):
                raise SourceFailed(UnknownReason.UNREADABLE)
            names = tuple(value["features"][0]["attributes"]) if value.get("features") else ()
            table = TableDescription(dataset="0", columns={"any": Column(of=names)})
            rows, more = Arcgis.features_of(table, value) if "features" in value else ([], False)
            kind = f"{len(rows)} rows, {'more' if more else 'the last'}" if "features" in value else min(value)
        except SourceFailed as failure:
            kind = f"refused: {failure.reason}"
        read[kind.split(":")[0]] += 1
        out.print(f"arcgis: {path.name[:60]}: {kind}")
    yield Figure(key="arcgis_replies", value=read.total(), unit="", goal=None)
    yield Figure(key="arcgis_refused", value=read["refused"], unit="", goal=2)


def _are_related(givers: str, takers: str) -> bool:
    order = Order.SURNAME_FIRST
    return relation(givers.split(";"), takers.split(";"), order) is not Relation.STRANGER


def _wide_deed(folder: Path) -> Iterator[Figure]:
    """The deed over 230 lots: one document, and an event for each watched lot."""
    lots = json.loads((folder / "acris-real-property-legals.json").read_text())
    key = Counter(row["document_id"] for row in lots).most_common(1)[0][0]
    deed = {"document_id": key, "doc_type": "DEED", "recorded_datetime": "2011-06-14T00:00:00.000"}
    rows = {TableKind.INSTRUMENTS: [deed], TableKind.LOTS: [row for row in lots if row["document_id"] == key]}
    documents = understand(shipped()["nyc"], rows, today=TODAY).documents
    parcels = {parcel for one in documents for parcel in one.parcels}
    events = [len(read_history([one.instrument])) for parcel in parcels for one in documents if parcel in one.parcels]
    yield Figure(key="wide_deed_documents", value=len(documents), unit="", goal=1)
    yield Figure(key="wide_deed_lots", value=len(parcels), unit="", goal=230, direction="min")
    yield Figure(key="wide_deed_events_a_lot", value=sum(events) / len(parcels), unit="", goal=1)


def _one_owner(path: Path) -> Iterator[Figure]:
    """The spellings of one university: those that are taken for it, and its neighbours in name that are."""
    owner = parse("TRUSTEES OF COLUMBIA UNIVERSITY IN THE CITY OF NEW YORK")
    count: Counter[tuple[bool, bool]] = Counter()
    for name in filter(None, map(str.strip, path.read_text("utf-8").splitlines())):
        is_other, said = any(word in name for word in OTHER_BODIES), likeness(owner, parse(name)).probability >= 0.5
        count[is_other, said] += 1
        if said == is_other:
            out.print(f"one owner: {'taken for it' if said else 'missed'}: {name}")
    spellings = count[False, True] + count[False, False]
    yield Figure(key=f"one_owner_recall ({spellings})", value=count[False, True] / spellings, unit="", goal=None)
    yield Figure(key=f"neighbours_taken_for_it (of {sum(count.values()) - spellings})", value=count[True, True],
                 unit="", goal=0)  # fmt: skip


def _f1(name: str, people: list[tuple[str | None, str | None, str]]) -> Figure:
    """F1 of all pairs of records that have both names, by these alone."""
    named = [
        (Name(kind=NameKind.PERSON, words=(surname, given), surname=surname, given=given), entity)
        for raw_surname, raw_given, entity in people
        if (surname := normalise_name(raw_surname or "").replace(" ", ""))
        and (given := normalise_name(raw_given or "").replace(" ", ""))
    ]
    count: Counter[tuple[bool, bool]] = Counter()
    for (one, entity), (other, of) in combinations(named, 2):
        count[entity == of, likeness(one, other).probability >= 0.5] += 1
    right, wrong, missed = count[True, True], count[False, True], count[True, False]
    out.print(f"{name}: {right} right, {wrong} wrong, {missed} missed; {len(named)} of {len(people)} have both names")
    return Figure(key=f"{name}_f1", value=2 * right / (2 * right + wrong + missed), unit="", goal=0.95, direction="min")


def judge_command(
    seeds: Annotated[int, typer.Option(min=0, help="How many invented counties; 0: none.")] = 10,
    first: Annotated[int, typer.Option(help="The first seed.")] = 201,
    lots: Annotated[int, typer.Option(min=100, help="Parcels of a county.")] = 1_000,
    documents: Annotated[int, typer.Option(min=500, help="Documents of a county, about.")] = 6_500,
    watched: Annotated[int, typer.Option(min=10, help="Owners of a county that are watched by name alone.")] = 300,
    data: Annotated[Path | None, typer.Option(help="A folder of real rows, to be judged too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Judge HomeTitle's rules and names score on invented counties whose truth is known, and on real rows. What was
    not right is printed first. Exit code 0 when every goal is met."""

    def measure() -> list[Figure]:
        parts: list[Callable[[], Iterator[Figure]]] = []
        if seeds:
            found = range(first, first + seeds)
            parts.append(lambda: invented(found, lots=lots, documents=documents, watched=watched))
        if data is not None:
            parts.append(lambda: real(data))
        return [figure for part in parts for figure in part()]

    raise SystemExit(finish("judge-hometitle", measure, as_json=as_json))
