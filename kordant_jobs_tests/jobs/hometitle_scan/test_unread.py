"""What was not read is never clean, and one county's trouble is no other's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.adapters.counties.asking import Server
from kordant_jobs.adapters.counties.description import County, read_county
from kordant_jobs.lab.fakes.counties.servers import FakeArcgis, FakeCarto, FakeCounty, FakeSocrata, Tables, Traps
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import watches
from kordant_jobs_tests.jobs.hometitle_scan.test_service import Bench
from kordant_jobs_tests.jobs.people import subscribe

TODAY = datetime.now(UTC).date()
PARCEL = "141463300"


def ago(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()


def row(number: int, days: int, **more: Any) -> dict[str, Any]:
    deed = {"rowid": number, "doc": f"D{number:05d}", "kind": "DEED", "day": ago(days), "loaded": ago(days),
            "price": 100_000, "lot": f"{number:09d}", "sellers": "SELLER SUE", "buyers": "BUYER BOB"}  # fmt: skip
    return {**deed, **more}


def forged(days: int, **more: Any) -> dict[str, Any]:
    said = {"kind": "QUIT CLAIM DEED", "price": 0, "lot": PARCEL, "sellers": "SMITH JOHN", "buyers": "DOE EVE"}
    return row(900, days, **{**said, **more})


def rows() -> list[dict[str, Any]]:
    bought = row(1, 4000, lot=PARCEL, sellers="PRIOR PAT", buyers="SMITH JOHN")
    return [bought, *(row(number, 10 + number % 20) for number in range(2, 40))]


FAKES: dict[str, tuple[type[FakeCounty], str]] = {
    "socrata": (FakeSocrata, "abcd-1234"),
    "arcgis": (FakeArcgis, "Deeds/FeatureServer/0"),
    "carto": (FakeCarto, "deeds"),
}


def county(driver: str, url: str, watermark: str, name: str = "test") -> County:
    return read_county(
        f"""
id: {name}
name: Test
driver: {driver}
url: {url}
parcel: opa
latency_days: 30
capabilities: [deed]
tables:
  instruments:
    dataset: {FAKES[driver][1]}
    watermark: {watermark}
    row_id: rowid
    columns: {{key: doc, code: kind, recorded_on: day, amount: price, parcel: lot, givers: sellers, takers: buyers}}
""",
        "test",
    )


class Watched(Bench):
    """A bench over one county at a fake server, its one parcel watched."""

    fake: FakeCounty

    def answer(self) -> str:
        self.scan()
        [(verdict, reason)] = self.rows("SELECT verdict, reason FROM kordant.property_verdicts")
        return f"{verdict} {reason}" if reason else str(verdict)

    def critical(self) -> int:
        return len(self.rows("SELECT 1 FROM kordant.alerts WHERE severity = 'critical'"))

    def tomorrow(self) -> None:
        with self.db.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE kordant.county_states SET read_at = read_at - interval '1 day', watermarks = watermarks || "
                "jsonb_build_object('read_whole_on', (cast(watermarks ->> 'read_whole_on' AS date) - 1)::text)"
            )


@contextmanager
def watching(
    db: Engine, keyring: Keyring, driver: str, watermark: str, have: list[dict[str, Any]], traps: Traps | None = None
) -> Iterator[Watched]:
    kind, dataset = FAKES[driver]
    with kind(Tables({dataset: have}, watermark, "rowid"), traps) as fake:
        counties = Counties({"test": county(driver, fake.url, watermark)}, Path("/nowhere"), server=Server(pause=print))
        bench = Watched(db, keyring, counties, None, subscribe(db, keyring))  # type: ignore[arg-type]  # no invented county
        bench.fake = fake
        bench.watch(watches.NewWatch(county="test", parcel=PARCEL, owners=("John Smith",)))
        yield bench


@pytest.mark.parametrize(("driver", "sent"), [*((one, 0) for one in FAKES), ("carto", -1)])
def test_an_empty_or_short_answer_where_a_row_must_be_is_unknown_and_is_asked_again(
    db: Engine, keyring: Keyring, driver: str, sent: int
) -> None:
    have = rows()
    with watching(db, keyring, driver, "loaded", have) as bench:
        assert bench.answer() == "clean"
        have.append(forged(1))
        select, bench.fake.tables.edited = bench.fake.select, 2
        bench.fake.select = lambda *a, **k: select(*a, **k)[: None if k["limit"] == 1 else sent]  # type: ignore[method-assign]
        assert bench.answer() == "unknown source_failed"
        bench.fake.select = select  # type: ignore[method-assign]
        assert (bench.answer(), bench.critical()) == ("found", 1)


@pytest.mark.parametrize("driver", FAKES)
def test_what_is_loaded_late_corrected_in_place_or_hidden_by_a_future_date_is_found(
    db: Engine, keyring: Keyring, driver: str
) -> None:
    """The watermark is the day of recording."""
    have = [*rows(), row(901, -30_000), row(902, 8, lot=PARCEL, sellers="SMITH JOHN", buyers="SMITH JOHN")]
    with watching(db, keyring, driver, "day", have) as bench:
        bench.scan()
        have[-1].update(buyers="DOE EVE", price=0)
        bench.tomorrow()
        bench.scan()
        assert bench.critical() == 1
        have.append(forged(20))
        bench.fake.tables.edited = 2
        bench.scan()
        assert bench.critical() == 2
        have.append(forged(200, doc="D00950", rowid=950, buyers="ROE ROY", sellers="OTHER OTTO"))
        for _ in range(8):
            bench.tomorrow()
        bench.scan()
        assert bench.rows("SELECT 1 FROM kordant.property_instruments WHERE key = 'D00950'") == [(1,)]


@pytest.mark.parametrize("cap", [15, 100])
def test_a_cap_below_the_page_hides_nothing(db: Engine, keyring: Keyring, cap: int) -> None:
    have = [*(row(number, 9) for number in range(1000, 1240)), *rows(), forged(1, doc="Z9")]
    with watching(db, keyring, "socrata", "loaded", have, Traps(page_most=cap)) as bench:
        assert (bench.answer(), bench.critical()) == ("found", 1)


FILES = """id: {name}
name: County
driver: files
parcel: apn
latency_days: 14
capabilities: [deed]
{more}tables:
  instruments:
    dataset: "*.csv"
    columns: {{key: KEY, code: TYPE, recorded_on: DAY, amount: PRICE, percent: PCT, parcel: LOT, givers: F, takers: T}}
"""
HEAD = "KEY,TYPE,DAY,PRICE,PCT,LOT,F,T"


class Dropped(Bench):
    """A bench over counties that send files."""

    def add(self, name: str, more: str = "", **codes: str) -> None:
        meant = "codes: {" + ", ".join(f"{one}: {{event: {event}}}" for one, event in codes.items()) + "}\n"
        described = read_county(FILES.format(name=name, more=more + (meant if codes else "")), name)
        self.counties = replace(self.counties, by_id={**self.counties.by_id, name: described})

    def drop(self, name: str, *lines: str, file: str = "a.csv") -> None:
        folder = self.counties.drop / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("\n".join([HEAD, *lines]))

    def verdicts(self) -> dict[str, str]:
        return dict(self.rows("SELECT county, verdict FROM kordant.property_verdicts"))


@pytest.fixture
def dropped(db: Engine, keyring: Keyring, tmp_path: Path) -> Dropped:
    return Dropped(db, keyring, Counties({}, tmp_path), None, subscribe(db, keyring))  # type: ignore[arg-type]  # as above


def deed(key: str, lot: str = "77-0001-01", *, kind: str = "QUIT CLAIM DEED", day: str = ago(2), pct: str = "") -> str:
    return f"{key},{kind},{day},0,{pct},{lot},SMITH JOHN,DOE EVE"


BOUGHT = f"B1,DEED,{ago(4000)},250000,,77-0001-01,PRIOR PAT,SMITH JOHN"


def test_one_county_that_cannot_be_read_stops_no_other(dropped: Dropped, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bad", "good", "none"):
        dropped.add(name)
        dropped.watch(watches.NewWatch(county=name, parcel="77000101", owners=("John Smith",)))
    dropped.counties = replace(dropped.counties, by_id={k: v for k, v in dropped.counties.by_id.items() if k != "none"})
    broken = dropped.counties.by_id["bad"].model_copy(update={"encoding": "nonsense"})  # nothing validated this one
    dropped.counties = replace(dropped.counties, by_id={**dropped.counties.by_id, "bad": broken})
    for name in ("bad", "good"):
        dropped.drop(name, BOUGHT, deed("F1", pct="999999999"))
    assert dropped.scan().new_alerts == 1
    assert dropped.verdicts() == {"bad": "unknown", "good": "found", "none": "unknown"}
    [(reason,)] = dropped.rows("SELECT reason FROM kordant.county_states WHERE county = 'bad'")
    assert "LookupError in files_driver.py" in reason


def test_a_document_of_an_unknown_type_on_a_watched_parcel_alerts_and_again_when_it_is_understood(
    dropped: Dropped,
) -> None:
    dropped.add("one", XX="release")
    dropped.drop("one", BOUGHT, deed("F1", kind="XQ"))
    dropped.watch(watches.NewWatch(county="one", parcel="77000101", owners=("John Smith",)))
    dropped.scan()
    assert dropped.rows("SELECT severity FROM kordant.alerts") == [("medium",)]
    dropped.add("one", XQ="ownership_change")  # the county's file is repaired
    dropped.scan()
    assert sorted(dropped.rows("SELECT severity FROM kordant.alerts")) == [("critical",), ("medium",)]


def test_a_number_that_is_used_again_replaces_no_document(dropped: Dropped) -> None:
    dropped.add("one")
    dropped.drop("one", BOUGHT)
    dropped.watch(watches.NewWatch(county="one", parcel="77000101"))
    dropped.scan()
    other = f"B1,DEED,{ago(3)},1,,88-0001-01,OTHER OTTO,THIRD TED"
    pair = deed("900"), f"900,MORTGAGE,{ago(2)},90000,,77-0001-01,DOE EVE,BANK NA"
    dropped.drop("one", other, *pair, file="b.csv")
    dropped.scan()
    (dropped.counties.drop / "one" / "a.csv").unlink()  # as a server does that gives new rows only
    dropped.drop("one", other, *pair, f"F9,DEED,{ago(1)},1,,99-0001-01,A B,C D", file="b.csv")
    dropped.scan()
    query = "SELECT key, recorded_on::text FROM kordant.property_instruments ORDER BY key"
    kept = dict(dropped.rows(query))
    assert (kept["B1"], kept[f"B1§DEED {ago(3)}"]) == (ago(4000), ago(3))
    assert list(kept) == ["900", f"900§QUIT CLAIM DEED {ago(2)}", "B1", f"B1§DEED {ago(3)}", "F9"]
    found = (
        "SELECT i.key FROM kordant.property_findings f JOIN kordant.property_instruments i ON i.id = f.instrument_id"
    )
    assert sorted(key for (key,) in dropped.rows(found)) == ["900", f"900§QUIT CLAIM DEED {ago(2)}", "B1"]


def test_a_source_that_lost_its_rows_is_unknown(dropped: Dropped) -> None:
    dropped.add("one")
    dropped.drop("one", BOUGHT, f"F9,DEED,{ago(1)},1,,99-0001-01,A B,C D")
    dropped.watch(watches.NewWatch(county="one", parcel="77000101"))
    dropped.scan()
    assert dropped.verdicts() == {"one": "clean"}
    dropped.drop("one")
    dropped.scan()
    assert dropped.verdicts() == {"one": "unknown"}


def test_a_watch_that_is_added_again_keeps_its_alerts_and_what_was_marked_not_me(dropped: Dropped) -> None:
    dropped.add("one")
    dropped.drop("one", BOUGHT, deed("F1"), deed("F2", day=ago(1)))
    wanted = (
        watches.NewWatch(county="one", parcel="77000101"),
        watches.NewWatch(county="one", owners=("Jo Vorpalson",)),
    )
    first = dropped.watch(*wanted)
    dropped.scan()
    told = dropped.rows("SELECT finding_id, severity FROM kordant.alerts ORDER BY 1")
    with dropped.db.begin() as connection:
        connection.exec_driver_sql("UPDATE kordant.property_findings SET dismissed_at = now(), dismissed_by = 'test'")
        assert all(watches.remove(connection, one) for one in first)
    assert dropped.watch(*wanted) == first
    assert dropped.watch(*wanted, watches.NewWatch(county="one", owners=("JO VORPALSON",))) == []
    dropped.scan()
    assert dropped.rows("SELECT finding_id, severity FROM kordant.alerts ORDER BY 1") == told
    assert dropped.rows("SELECT count(*) FROM kordant.property_findings WHERE dismissed_at IS NULL") == [(0,)]
    dropped.watch(watches.NewWatch(county="one", parcel="77000101", owners=("John Smith",)))
    with dropped.db.connect() as connection:
        [parcel, _] = watches.load(connection, dropped.keyring, ids=first)
    assert parcel.owners == ("John Smith",)
