"""The owner roll of a county: redirected mail and unexplained owners are alerted, other spellings are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.adapters.counties.asking import Server
from kordant_jobs.adapters.counties.description import read_county
from kordant_jobs.domain.property.instruments import Event, Instrument, Party, Role
from kordant_jobs.domain.property.rolls import canonical_mailing, canonical_owners
from kordant_jobs.jobs.hometitle_scan.rules.owners import is_explained
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.jobs.notifications_send.preview import preview
from kordant_jobs.lab.fakes.counties.servers import FakeArcgis, FakeCarto, FakeCounty, FakeSocrata, Tables
from kordant_jobs.lab.world.county import County
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import watches
from kordant_jobs_tests.jobs.hometitle_scan.test_service import Bench
from kordant_jobs_tests.jobs.people import subscribe

PARCELS = [f"{number:09d}" for number in range(1, 131)]
DRIVERS: dict[str, tuple[type[FakeCounty], str, str]] = {
    "socrata": (FakeSocrata, "deed-deed", "roll-roll"),
    "arcgis": (FakeArcgis, "Deeds/FeatureServer/0", "Roll/FeatureServer/0"),
    "carto": (FakeCarto, "deeds", "roll"),
}


def roll_row(number: int) -> dict[str, Any]:
    return {
        "rowid": number,
        "loaded": "1",
        "pin": PARCELS[number],
        "year": "2025",
        "owner_1": f"SMITH JOHN {chr(65 + number % 26)}",
        "owner_2": None if number % 3 else "SMITH MARY",
        "street": f"{number} N MAIN ST",
        "site": f"{number} NORTH MAIN STREET",
        "zip": "60601",
    }


def deed(number: int, taker: str, day: str) -> dict[str, Any]:
    return {"rowid": number, "loaded": day, "doc": f"D{number}", "kind": "DEED", "day": day, "lot": PARCELS[number],
            "seller": "SMITH JOHN", "buyer": taker, "place": f"{number} N Main St"}  # fmt: skip


@dataclass
class RollBench(Bench):
    fake: Any = None
    deeds: list[dict[str, Any]] = field(default_factory=list)
    roll: list[dict[str, Any]] = field(default_factory=list)

    def scan_again(self) -> Any:
        """As a week later: every parcel is due again."""
        with self.db.begin() as connection:
            connection.execute(sa.text("UPDATE kordant.property_rolls SET read_at = read_at - interval '8 days'"))
        return self.scan()

    def alerts(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT f.event, a.severity FROM kordant.alerts a JOIN kordant.property_findings f ON f.id = a.finding_id "
            "WHERE f.event LIKE '%roll' OR f.event LIKE 'mailing%' ORDER BY 1"
        )

    def pass_days(self, days: int) -> None:
        with self.db.begin() as connection:
            connection.execute(
                sa.text("UPDATE kordant.property_rolls SET waiting_since = waiting_since - :days"), {"days": days}
            )


@pytest.fixture(params=["socrata"])
def bench(request: pytest.FixtureRequest, db: Engine, keyring: Keyring, tmp_path: Path) -> Iterator[RollBench]:
    kind, deeds_at, roll_at = DRIVERS[request.param]
    deeds = [deed(120, "NOBODY NORA", datetime.now(UTC).date().isoformat())]
    roll = [roll_row(number) for number in range(130)]
    with kind(Tables({deeds_at: deeds, roll_at: roll}, "loaded", "rowid")) as fake:
        described = read_county(
            f"""
id: rolled
name: Rolled
driver: {request.param}
url: {fake.url}
parcel: opa
latency_days: 4000
capabilities: [deed]
tables:
  instruments: {{dataset: {deeds_at}, watermark: loaded, row_id: rowid,
    columns: {{key: doc, code: kind, recorded_on: day, parcel: lot, givers: seller, takers: buyer, address: place}}}}
owner_roll: {{dataset: {roll_at}, row_id: rowid,
  columns: {{parcel: pin, year: year, owners: [owner_1, owner_2], mailing: [street, zip], address: site}}}}
""",
            "test",
        )
        counties = Counties({"rolled": described}, tmp_path / "drop", server=Server(pause=lambda _: None))
        county = County(1, lots=1, documents=1, frauds=0)
        yield RollBench(db, keyring, counties, county, subscribe(db, keyring), fake, deeds, roll)


def watch(bench: RollBench, *numbers: int, owners: tuple[str, ...] = ()) -> None:
    bench.watch(*(watches.NewWatch(county="rolled", parcel=PARCELS[one], owners=owners) for one in numbers))


@pytest.mark.parametrize("bench", DRIVERS, indirect=True)
def test_a_redirected_mailing_address_is_alerted_once_and_the_first_read_is_not(bench: RollBench) -> None:
    watch(bench, *range(120))
    first = bench.scan()
    assert (first.clean, first.new_alerts) == (1, 0)
    asked = [one for one in bench.fake.asked if "oll" in one.path or b"oll" in (one.body or b"")]
    assert (
        len([one for one in asked if "f=json&" not in one.path or "where" in one.path]) <= 6
    )  # fifty at once, and that answers are not capped
    assert bench.scan().new_alerts == 0
    bench.roll[7]["street"], bench.roll[8]["street"] = "PO BOX 99", "8 North Main Street"
    assert bench.scan().new_alerts == 0  # it is asked once a week
    assert bench.scan_again().new_alerts == 1
    assert bench.alerts() == [("mailing_address_changed", "high")]
    bench.roll[7]["street"] = "P.O. Box 99"
    assert bench.scan_again().new_alerts == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"owner_1": "John H. Smith"},
        {"owner_1": "SMITH, JOHN", "owner_2": "ET AL"},
        {"street": "7 North Main Street"},
        {"zip": "60601-1234"},
        {"zip": "606011234"},
        {"street": "7 N. MAIN ST."},
        {"owner_1": None, "street": None, "zip": None},
        {"year": "2026"},
    ],
)
def test_another_spelling_is_no_change(bench: RollBench, changes: dict[str, str | None]) -> None:
    watch(bench, 7)
    bench.scan()
    bench.roll[7] |= changes
    bench.scan_again()
    assert bench.alerts() == []
    assert bench.rows("SELECT waiting_since FROM kordant.property_rolls") == [(None,)]


def test_co_owners_in_another_order_are_no_change(bench: RollBench) -> None:
    watch(bench, 9)
    bench.scan()
    bench.roll[9]["owner_1"], bench.roll[9]["owner_2"] = bench.roll[9]["owner_2"], bench.roll[9]["owner_1"]
    bench.scan_again()
    assert bench.rows("SELECT waiting_since FROM kordant.property_rolls") == [(None,)]


def test_another_owner_is_alerted_when_no_document_explains_it_in_sixty_days(bench: RollBench) -> None:
    watch(bench, 7)
    bench.scan()
    bench.roll[7]["owner_1"] = "THIEF THEODORE"
    bench.scan_again()
    assert bench.alerts() == []
    bench.pass_days(59)
    bench.scan()
    assert bench.alerts() == []
    bench.pass_days(1)
    bench.scan()
    bench.scan_again()
    assert bench.alerts() == [("owner_changed_on_roll", "high")]
    kept = bench.rows("SELECT waiting_since, waiting_owners_encrypted FROM kordant.property_rolls")
    assert kept == [(None, None)]


def test_another_owner_whom_a_deed_names_is_alerted_by_the_deed_alone(bench: RollBench) -> None:
    watch(bench, 7)
    bench.scan()
    bench.roll[7]["owner_1"] = "BUYER BEATRICE"
    bench.scan_again()
    bench.deeds.append(deed(7, "BUYER BEATRICE A", datetime.now(UTC).date().isoformat()))
    bench.fake.tables.edited += 1
    bench.scan()
    bench.pass_days(100)
    bench.scan_again()
    assert bench.alerts() == []
    assert bench.rows("SELECT event FROM kordant.property_findings") == [("ownership_change",)]


def test_an_owner_whom_the_subscriber_named_is_no_news(bench: RollBench) -> None:
    watch(bench, 7, owners=("Beatrice Buyer",))
    bench.scan()
    bench.roll[7]["owner_1"] = "BUYER BEATRICE"
    bench.scan_again()
    bench.pass_days(100)
    bench.scan()
    assert bench.alerts() == []


def test_the_newest_year_counts(bench: RollBench) -> None:
    watch(bench, 7)
    bench.roll.append(bench.roll[7] | {"rowid": 400, "year": "2024", "street": "3 EARLIER CT"})
    bench.scan()
    bench.roll.append(bench.roll[7] | {"rowid": 300, "year": "2026", "street": "1 ELSEWHERE AVE"})
    assert bench.scan_again().new_alerts == 1
    bench.roll[7]["street"] = "2 LONG AGO RD"  # of the year before
    assert bench.scan_again().new_alerts == 0


def test_two_who_watch_one_parcel_are_alerted_once_each(bench: RollBench) -> None:
    watch(bench, 7)
    other = subscribe(bench.db, bench.keyring)
    bench.watch(watches.NewWatch(county="rolled", parcel=PARCELS[7]), person=other)
    bench.scan()
    bench.roll[7]["street"] = "1 ELSEWHERE AVE"
    assert bench.scan_again().new_alerts == 2
    assert bench.scan_again().new_alerts == 0
    assert bench.rows("SELECT count(*) FROM kordant.property_instruments WHERE code = 'OWNER ROLL'") == [(1,)]


VERDICT = "SELECT verdict, reason FROM kordant.property_verdicts"


def test_a_roll_that_cannot_be_read_is_unknown_and_documents_are_still_alerted(bench: RollBench) -> None:
    watch(bench, 7)
    bench.scan()
    assert bench.rows(VERDICT) == [("clean", None)]
    for row in bench.roll:
        row["mailing_street"] = row.pop("street")  # a column was renamed
    bench.deeds.append(deed(7, "BUYER BEATRICE", datetime.now(UTC).date().isoformat()))
    bench.fake.tables.edited += 1
    assert bench.scan_again().new_alerts == 1
    assert bench.rows(VERDICT) == [("unknown", "roll_not_read")]
    for row in bench.roll:
        row["street"] = row.pop("mailing_street")
    bench.scan()
    assert bench.rows(VERDICT) == [("found", None)]


def test_a_parcel_that_the_roll_does_not_list_is_unknown_and_its_first_entry_is_no_change(bench: RollBench) -> None:
    watch(bench, 7)
    held = bench.roll.pop(7)
    bench.scan()
    assert bench.rows(VERDICT) == [("unknown", "roll_not_read")]
    bench.roll.append(held)
    assert bench.scan_again().new_alerts == 0
    assert bench.rows(VERDICT) == [("clean", None)]


def test_no_owner_and_no_address_is_in_clear(bench: RollBench) -> None:
    watch(bench, 7, 8)
    bench.scan()
    bench.roll[7] |= {"owner_1": "CANARYOWNER ZEBULON", "street": "77 CANARY LN"}
    bench.scan_again()
    bench.pass_days(60)
    bench.roll[8]["owner_1"] = "CANARYOWNER ZEBULON"
    bench.scan_again()
    assert len(bench.alerts()) == 2
    tables = bench.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'kordant'")
    text = "".join(str(bench.rows(f'SELECT row_to_json(t)::text FROM kordant."{name}" t')) for (name,) in tables)
    assert not [one for one in ("CANARY", "ZEBULON", "MAIN ST", "SMITH", PARCELS[7]) if one in text.upper()]


def test_a_forgotten_subscriber_leaves_no_entry_and_an_export_shows_it(bench: RollBench) -> None:
    from kordant_jobs.privacy.held import stored_data
    from kordant_jobs.store.people.subscribers import forget

    watch(bench, 7)
    bench.scan()
    bench.roll[7]["owner_1"] = "THIEF THEODORE"
    bench.scan_again()
    with bench.db.begin() as connection:
        found = {one.table: one for one in stored_data(connection, bench.keyring, bench.person.subscriber_id)}
        [entry] = found["kordant.property_rolls"].rows
        forget(connection, bench.person.subscriber_id)
    assert entry["waiting_owners"] == "THIEF THEODORE\nSMITH MARY" or entry["waiting_owners"] == "THIEF THEODORE"
    assert bench.rows("SELECT count(*) FROM kordant.property_rolls") == [(0,)]


def test_a_roll_in_files_is_read_whole_when_it_changes(bench: RollBench, tmp_path: Path) -> None:
    from kordant_jobs.adapters.counties.description import shipped

    template = shipped()["example-files"].model_copy(update={"latency_days": 4000})
    bench.counties = Counties({template.id: template}, tmp_path / "files")
    folder = tmp_path / "files" / template.id
    folder.mkdir(parents=True)
    (folder / "deeds.csv").write_text(
        "INSTRUMENT,TYPE,RECORDED,PRICE,PARCEL,FROM,TO\n1,DE,2026-01-02,1,APN-2,A B,C D\n"
    )
    bench.watch(watches.NewWatch(county=template.id, parcel="APN1"))
    bench.scan()
    assert bench.rows(VERDICT) == [("unknown", "roll_not_read")]
    head = "parcel,owner,mail_street,mail_city,mail_state,mail_zip\n"
    (folder / "roll.txt").write_text(head + "APN-1,SMITH JOHN;SMITH MARY,1 ELM ST,SPRINGFIELD,IL,62701\n")
    bench.scan()
    assert bench.rows(VERDICT) == [("clean", None)]
    (folder / "roll.txt").write_text(head + "APN-1,SMITH MARY;SMITH JOHN,9 FAR AWAY AVE,RENO,NV,89501\n")
    assert bench.scan().new_alerts == 1
    assert bench.alerts() == [("mailing_address_changed", "high")]
    (folder / "roll.txt").write_text("parcel,owner\nAPN-1,SMITH MARY\n")
    bench.scan()
    assert bench.rows(VERDICT) == [("unknown", "roll_not_read")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PO BOX 12", "P O Box 12"),
        ("PO BOX 12", "POST OFFICE BOX 12"),
        ("PO BOX 12", "P.O.BOX 12"),
        ("12 ELM ST APT 4", "12 Elm Street #4"),
        ("12 ELM ST APT 4, READING PA 19601", "12 ELM STREET APARTMENT 4 READING PA 19601-0001"),
    ],
)
def test_mailing_addresses_that_are_one(one: str, other: str) -> None:
    assert canonical_mailing(one) == canonical_mailing(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("PO BOX 12", "PO BOX 13"), ("12 ELM ST APT 4", "12 ELM ST APT 5"), ("12 ELM ST", "12 ELM AVE"),
     ("1 A ST READING PA 19601", "1 A ST READING PA 19602")],
)  # fmt: skip
def test_mailing_addresses_that_are_two(one: str, other: str) -> None:
    assert canonical_mailing(one) != canonical_mailing(other)


def test_a_son_is_another_owner() -> None:
    assert canonical_owners(["SMITH JOHN SR"]) != canonical_owners(["SMITH JOHN JR"])


def _deed(taker: str, on: date) -> Instrument:
    parties = (Party(role=Role.GRANTEE, name=taker),) if taker else ()
    return Instrument(key=str(on), event=Event.OWNERSHIP_CHANGE, code="DEED", recorded_on=on, parties=parties)


@pytest.mark.parametrize(
    ("deeds", "explained"),
    [
        ([], False),
        ([("BUYER BEA", 400)], True),  # the roll is late: she is the owner on record
        ([("BUYER BEA", 4000), ("OTHER OTTO", 400)], False),  # she was, and is no more
        ([("BUYER BEA", 50), ("OTHER OTTO", 40)], True),
        ([("", 30)], True),  # a county that names nobody
        ([("", 300)], False),
        ([("BUYER BEA", -50)], True),  # recorded, or indexed, after the roll
    ],
)
def test_which_documents_explain_another_owner(deeds: list[tuple[str, int]], explained: bool) -> None:
    since = date(2026, 5, 1)
    history = [_deed(taker, since - timedelta(days=days)) for taker, days in deeds]
    assert is_explained(["BUYER BEA"], since, history) is explained


def test_an_owner_beside_the_one_on_record_is_not_explained() -> None:
    since = date(2026, 5, 1)
    history = [_deed("BUYER BEA", since - timedelta(days=10))]
    assert not is_explained(["BUYER BEA", "THIEF THEODORE"], since, history)


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en", ("Tax bills for the property", "Mailing address now", "call the county's assessor")),
        ("pt-BR", ("Os impostos do imóvel são enviados a outro endereço", "Endereço de correspondência agora",
                   "peça seu endereço de volta")),
    ],
)  # fmt: skip
def test_a_mail_shows_the_new_address_and_its_subject_does_not(
    bench: RollBench, locale: str, words: tuple[str, ...]
) -> None:
    bench.person = subscribe(bench.db, bench.keyring, locale=locale)
    watch(bench, 7)
    bench.scan()
    bench.roll[7]["street"] = "PO BOX 99"
    bench.scan_again()
    [(notice,)] = bench.rows("SELECT id FROM kordant.notification_outbox")
    with bench.db.connect() as connection:
        sender = MailFrom(header="Kordant <alerts@kordant.example>")
        subject, texts = preview(connection, bench.keyring, [notice], sender=sender)
    text = " ".join(texts["text/plain"].split())
    assert "PO BOX 99 60601" in text
    assert "PO BOX" not in subject
    assert all(one in text for one in words)
    assert "roll-" not in text  # it has no instrument number


def test_a_document_with_an_address_alone_is_matched_by_it(bench: RollBench) -> None:
    today = datetime.now(UTC).date().isoformat()
    watch(bench, 7)
    bench.scan()
    bench.deeds += [deed(7, "THIEF THEODORE", today) | {"lot": None}, deed(8, "OTHER OTTO", today) | {"lot": None}]
    bench.fake.tables.edited += 1
    assert bench.scan().new_alerts == 1
    assert bench.rows("SELECT rows_not_understood::text FROM kordant.county_states") == [("{}",)]
    assert bench.scan_again().new_alerts == 0
    watch(bench, 8)  # what is kept is looked up
    bench.scan()
    assert bench.rows("SELECT count(*) FROM kordant.property_findings") == [(2,)]


def test_a_document_with_an_address_alone_is_not_understood_where_parcels_have_none(bench: RollBench) -> None:
    county = bench.counties.by_id["rolled"]
    bench.counties = Counties({"rolled": county.model_copy(update={"owner_roll": None})}, bench.counties.drop,
                              server=bench.counties.server)  # fmt: skip
    bench.deeds[:] = [deed(7, "THIEF THEODORE", datetime.now(UTC).date().isoformat()) | {"lot": None}]
    watch(bench, 7)
    bench.scan()
    assert bench.rows(VERDICT) == [("unknown", "rows_not_understood")]
