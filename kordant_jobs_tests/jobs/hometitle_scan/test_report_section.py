"""The report's section on watched property: what was recorded, what is open, and what is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.property.instruments import CHARGES, Event
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.reports_generate import service as reports_service
from kordant_jobs.jobs.reports_generate.content import write_report
from kordant_jobs.jobs.reports_generate.properties import ROWS_MAX, property_section
from kordant_jobs.jobs.reports_generate.rules import Period, PropertyDocument, PropertyLine, ReportKind
from kordant_jobs.lab.world.county import START, County
from kordant_jobs.lab.world.county_files import NAME, description
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import reporting
from kordant_jobs.wording import wording
from kordant_jobs_tests.jobs.hometitle_scan.test_service import Bench
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, figures

HASH_OF_BEFORE = "8586d0f4af22c8e5d4b894893a88faee64e0a0e5fa12068855e13500ece1ec97"
"""Of the same figures in this edition, without a word about property."""
WATCH = UUID(int=500)
TODAY = datetime.now(UTC).date()
PERIOD = Period(kind=ReportKind.ON_DEMAND, start_on=TODAY - timedelta(days=6), end_on=TODAY + timedelta(days=2))
"""It holds what is written now, also when the run of the tests passes midnight."""


def document(event: Event, *, number: str = "2026-7") -> PropertyDocument:
    return PropertyDocument(
        event=event.value, severity="critical", amount=Decimal(10), recorded_on=date(2026, 6, 4), number=number
    )


LINE = PropertyLine(
    watch_id=WATCH,
    county="An invented county",
    has_parcel=True,
    has_liens=True,
    verdict="found",
    reason=None,
    data_as_of=date(2026, 6, 28),
    events=(document(Event.OWNERSHIP_CHANGE),),
    open_charges=(document(Event.MORTGAGE, number="1999-3"),),
)
PARCELS = {WATCH: "3012340056"}


@pytest.mark.parametrize("locale", list(Locale))
def test_a_row_says_the_masked_parcel_what_was_recorded_what_is_open_and_how_new_it_is(locale: Locale) -> None:
    words = wording(locale)
    event = replace(LINE.events[0], reasons=("quitclaim",), instrument_id=UUID(int=7))
    [row] = property_section(
        words, [replace(LINE, events=(event,))], PARCELS, {UUID(int=7): "SMITH JOHN → DOE EVE"}
    ).rows
    assert row.parcel == "30•••0056"
    assert words.property_event("ownership_change") in row.events[0]
    assert words.say("Critical") in row.events[0]
    assert "SMITH JOHN → DOE EVE" in row.events[0]
    assert str(words.property_reason("quitclaim")).rstrip(".") in row.events[0]
    assert row.open_charges[0].startswith(words.property_event("mortgage"))
    assert "2026" in row.as_of


@pytest.mark.parametrize(
    ("line", "state", "charges"),
    [
        (replace(LINE, verdict="unknown", reason="stale", events=(), open_charges=()), "Not known", "Not known"),
        (replace(LINE, verdict=None, events=(), open_charges=()), "Not known", "Not known"),
        (replace(LINE, verdict="clean", events=(), open_charges=()), "Nothing new", "none known"),
        (replace(LINE, verdict="clean", events=(), open_charges=(), has_liens=False), "Nothing new", "Not known"),
    ],
)
def test_unknown_is_never_shown_as_nothing(line: PropertyLine, state: str, charges: str) -> None:
    [row] = property_section(wording(Locale.EN), [line], PARCELS).rows
    assert row.state.startswith(state)
    assert row.open_charges[0].startswith(charges)


def test_what_needs_reading_comes_first_and_the_rest_is_counted() -> None:
    calm = replace(LINE, verdict="clean", events=(), watch_id=UUID(int=501))
    section = property_section(wording(Locale.EN), [calm] * (ROWS_MAX + 1) + [LINE], PARCELS)
    assert (len(section.rows), section.rows[0].events != [], section.more) == (ROWS_MAX, True, "And 2 more parcels.")


def test_a_report_without_watched_property_keeps_its_hash() -> None:
    plain = figures()
    watching = replace(plain, properties=(LINE,))
    assert plain.sha256().hex() == HASH_OF_BEFORE
    assert watching.sha256() != plain.sha256()
    assert replace(watching, properties=(replace(LINE, open_charges=()),)).sha256() != watching.sha256()
    assert write_report(watching, replace(OPENED, parcels=PARCELS)).properties.rows


def test_the_headline_counts_what_was_recorded_and_is_no_all_clear_over_an_unknown_county() -> None:
    clean = replace(figures(), exposures=(), sources=())
    assert write_report(replace(clean, properties=(LINE,)), replace(OPENED, parcels=PARCELS)).state == "new"
    said = write_report(replace(clean, properties=(LINE,)), replace(OPENED, parcels=PARCELS))
    assert said.headline.startswith("1 new document on your property")
    assert [one.value for one in said.tiles if one.label == "new documents on property"] == ["1"]
    unknown = replace(LINE, verdict="unknown", reason="stale", events=())
    said = write_report(replace(clean, properties=(unknown,)), replace(OPENED, parcels=PARCELS))
    assert said.headline != "Nothing was found"


def test_the_database_gives_new_events_open_charges_and_the_last_verdict(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    county = County(11, lots=200, documents=1500, frauds=12)
    bench = Bench(db, keyring, Counties({NAME: description()}, tmp_path / "drop"), county, subscribe(db, keyring))
    forged = next(one for one in county.records if one.truth.fraud == "forged-quitclaim-nominal")
    lots = {*range(20), forged.lots[0]}
    bench.publish("history", lambda one: one.recorded_on < forged.recorded_on)
    bench.watch_lots(sorted(lots))
    bench.scan()
    bench.publish("news", lambda one: one.key == forged.key)
    bench.scan()
    with db.connect() as connection:
        facts = reporting.property_facts(
            connection, [bench.person.subscription_id], start=PERIOD.start_on, end=PERIOD.end_on
        )
    [lines] = facts.watches.values()
    events = {one["number"]: one["event"] for line in lines for one in line["events"]}
    assert events[forged.key] == "ownership_change"
    assert {line["county"] for line in lines} == {"An invented county"}
    assert {line["verdict"] for line in lines} == {"found"}
    open_now = {one["number"] for line in lines for one in line["open_charges"]}
    charges = {one.key for one in county.records if one.truth.event in CHARGES and one.recorded_on < forged.recorded_on}
    assert open_now
    assert open_now <= charges
    closed_before = {
        key
        for one in county.records
        if one.truth.event is Event.RELEASE and one.recorded_on < forged.recorded_on
        for key in one.refers_to
    }
    assert not open_now & closed_before
    made = reports_service.generate(
        [bench.person.subscription_id], PERIOD, db=db, keyring=keyring, storage=LocalReportStorage(tmp_path / "pdf"),
        progress=Progress(db, "run"),
    )  # fmt: skip
    assert (made.made, made.failed) == (1, 0)
    assert forged.recorded_on > START
