"""One suite for every driver, against fakes that are real HTTP servers with the traps of the real ones."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kordant_jobs.adapters.counties.asking import Server
from kordant_jobs.adapters.counties.description import County, TableKind, read_county, shipped
from kordant_jobs.adapters.counties.files_driver import Files
from kordant_jobs.adapters.counties.reading import CountyReader
from kordant_jobs.adapters.counties.registry import Counties
from kordant_jobs.adapters.counties.understand import Document, understand
from kordant_jobs.adapters.sources.http import HttpLimits
from kordant_jobs.domain.property.addresses import address_query
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.lab.fakes.counties.servers import FakeArcgis, FakeCarto, FakeCounty, FakeSocrata, Tables, Traps
from kordant_jobs.lab.fakes.sources.faults import Fault, FaultyServer

TODAY = date(2026, 5, 1)
QUICK = HttpLimits(connect_s=1, read_s=1, total_s=1.5, max_bytes=1 << 20, at_once=1)


def row(number: int, mark: str) -> dict[str, Any]:
    return {
        "rowid": number,
        "loaded": mark,
        "doc": f"D{number:06d}",
        "kind": "DEED",
        "day": "2026-04-01T00:00:00.000",
        "price": 1000 + number,
        "lot": f"{number:09d}",
        "sellers": "OLD ANN",
        "buyers": "NEW BOB;NEW EVE" if number % 2 else None,
    }


FAKES: dict[str, type[FakeCounty]] = {
    "socrata": FakeSocrata,
    "soda3": FakeSocrata,
    "arcgis": FakeArcgis,
    "carto": FakeCarto,
}
DATASETS = {"socrata": "abcd-1234", "soda3": "abcd-1234", "arcgis": "Deeds/FeatureServer/0", "carto": "deeds"}


def county(driver: str, url: str, page: int = 1000) -> County:
    return read_county(
        f"""
id: test-{driver}
name: Test
driver: {driver}
url: {url}
parcel: opa
latency_days: 30
capabilities: [deed]
tables:
  instruments:
    dataset: {DATASETS[driver]}
    watermark: loaded
    row_id: rowid
    page: {page}
    columns: {{key: doc, code: kind, recorded_on: day, amount: price, parcel: lot,
              givers: {{of: [sellers], split: ";"}}, takers: {{of: [buyers], split: ";"}}}}
addresses: {{dataset: {DATASETS[driver]}, row_id: rowid, columns: {{parcel: lot, address: house}}}}
""",
        "test",
    )


@dataclass
class Case:
    fake: FakeCounty
    reader: CountyReader


@contextmanager
def serving(driver: str, rows: list[dict[str, Any]], traps: Traps | None = None, page: int = 1000) -> Iterator[Case]:
    with FAKES[driver](Tables({DATASETS[driver]: rows}, "loaded", "rowid"), traps) as fake:
        yield Case(fake, reader_of(driver, fake.url, page))


def read_all(case: Case, since: dict[str, str] | None = None) -> list[Document]:
    return [one for part in case.reader.read(since or {}, today=TODAY) for one in part.documents]


def reader_of(driver: str, url: str, page: int = 1000, limits: HttpLimits = QUICK) -> CountyReader:
    server = Server(limits=replace(limits, total_s=10, read_s=10) if limits is QUICK else limits, pause=lambda _: None)
    return Counties({}, drop=None, server=server).reader(county(driver, url, page))  # type: ignore[arg-type]  # one reader of a union, by the test


@pytest.mark.parametrize("driver", FAKES)
class TestEveryDriver:
    def test_all_rows_come_once_over_pages(self, driver: str) -> None:
        with serving(driver, [row(n, f"2026-04-{n % 28 + 1:02d}") for n in range(1, 4501)]) as case:
            assert sorted(d.instrument.key for d in read_all(case)) == [f"D{n:06d}" for n in range(1, 4501)]
            assert len(case.fake.asked) <= 1 + 5 + 2  # freshness, five pages of a thousand, what the driver must know

    def test_a_row_that_moves_between_pages_is_not_lost(self, driver: str) -> None:
        rows = [row(n, "2026-04-01") for n in range(1, 2501)]

        def move() -> None:
            rows.insert(0, rows.pop())
            rows[5]["loaded"] = "2026-04-30"

        with serving(driver, rows, Traps(after_page=move)) as case:
            found = {d.instrument.key for d in read_all(case)}
            assert found == {f"D{n:06d}" for n in range(1, 2501)}

    def test_only_what_is_new_since_the_sources_watermark(self, driver: str) -> None:
        rows = [row(n, "2026-04-01") for n in range(1, 2001)]
        with serving(driver, rows) as case:
            assert case.reader.newest_watermarks(today=TODAY) == {"instruments": "2026-04-01"}
            rows.append(row(5000, "2026-04-02"))
            rows[3]["loaded"], rows[3]["price"] = "2026-04-03", 7
            second = read_all(case, {"instruments": "2026-04-02"})
            assert sorted(d.instrument.key for d in second) == ["D000004", "D005000"]
            assert case.reader.newest_watermarks(today=TODAY) == {"instruments": "2026-04-03"}

    def test_what_is_still_processed_or_fails_once_is_asked_again(self, driver: str) -> None:
        for traps in (Traps(processing_first=1), Traps(errors_first=1)):
            with serving(driver, [row(1, "2026-04-01")], traps) as case:
                assert len(read_all(case)) == 1

    def test_null_names_and_numbers_as_strings_are_understood(self, driver: str) -> None:
        with serving(driver, [row(1, "2026-04-01"), row(2, "2026-04-01")]) as case:
            one, two = sorted(read_all(case), key=lambda d: d.instrument.key)
            assert one.instrument.takers == ("NEW BOB", "NEW EVE")
            assert (two.instrument.takers, int(two.instrument.amount or 0)) == ((), 1002)

    def test_an_empty_source_gives_nothing_and_reports_that(self, driver: str) -> None:
        with serving(driver, []) as case:
            [read] = case.reader.read({}, today=TODAY)
            assert (read.documents, read.as_of) == ([], None)

    def test_a_column_that_vanished_fails_the_read(self, driver: str) -> None:
        rows = [{k: v for k, v in row(n, "2026-04-01").items() if k != "lot"} for n in range(1, 4)]
        with serving(driver, rows) as case, pytest.raises(SourceUnavailable):
            read_all(case)

    def test_an_address_gives_the_parcels_that_it_may_mean_the_likeliest_first(self, driver: str) -> None:
        rows = [
            {**row(n, "2026-04-01"), "house": text}
            for n, text in enumerate(("350 FIFTH AVE", "350 N 5TH ST", "3501 FIFTH AVE", "35 MAIN ST", None), 1)
        ]
        with serving(driver, rows) as case:
            asked = address_query("350 Fifth Avenue, Apt 3")
            assert asked is not None
            found = case.reader.candidates(asked)
            assert [one.parcel for one in found][:1] == ["000000001"]
            assert all(one.parcel in {"000000001", "000000002"} for one in found)

    @pytest.mark.parametrize("fault", Fault)
    def test_no_fault_gives_a_result_and_each_ends_in_time(self, driver: str, fault: Fault) -> None:
        limits = HttpLimits(connect_s=0.5, read_s=0.3, total_s=0.6, max_bytes=1 << 18, at_once=1)
        with FaultyServer(fault) as faulty:
            reader = reader_of(driver, faulty.url, limits=limits)
            started = time.monotonic()
            with pytest.raises(SourceUnavailable):
                list(reader.read({}, today=TODAY))
            assert time.monotonic() - started < 5


def test_a_layer_without_pagination_is_read_by_ids() -> None:
    with serving("arcgis", [row(n, "2026-04-01") for n in range(1, 2501)], Traps(no_pagination=True)) as case:
        assert len(read_all(case)) == 2500


def test_a_429_that_means_time_out_halves_the_page() -> None:
    with serving("carto", [row(n, "2026-04-01") for n in range(1, 1501)], Traps(slow_above=600)) as case:
        assert len(read_all(case)) == 1500


def test_a_server_that_gives_fewer_rows_than_asked_is_asked_on() -> None:
    with serving("socrata", [row(n, "2026-04-01") for n in range(1, 2501)], Traps(page_most=1000), page=50_000) as case:
        assert len(read_all(case)) == 2500


def test_every_shipped_county_is_valid() -> None:
    assert {"nyc", "cook-il", "philadelphia-pa", "philadelphia-pa-arcgis", "example-files"} <= set(shipped())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id: x y", "f.yaml:1:"),
        ("id: ab\nname: A\ndriver: sql\n", "f.yaml:3: driver"),
        ("id: [\n", "f.yaml:2: it is not YAML"),
    ],
)
def test_a_wrong_description_names_the_line(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_county(text, "f.yaml")
    assert said in str(error.value)


def four_tables(url: str, page: int) -> County:
    tables = {"lots": "lots-0001", "parties": "part-0001", "references": "refs-0001"}
    columns = {
        "lots": "{key: doc, parcel: lot}",
        "parties": "{key: doc, side: side, name: name}",
        "references": "{key: doc, refers_to: other}",
    }
    more = "".join(
        f"  {kind}: {{dataset: {tables[kind]}, watermark: loaded, row_id: rowid, page: {page}, columns: {text}}}\n"
        for kind, text in columns.items()
    )
    return read_county(
        f"""
id: test-four
name: Test
driver: socrata
url: {url}
parcel: opa
latency_days: 30
capabilities: [deed]
tables:
  instruments: {{dataset: main-0001, watermark: loaded, row_id: rowid, page: {page}, columns: {{key: doc, code: kind}}}}
{more}""",
        "test",
    )


@contextmanager
def serving_four(documents: int, page: int) -> Iterator[tuple[FakeSocrata, CountyReader]]:
    """Each document has two lots, three parties, and a reference where its number is even."""
    names = [(n, f"D{n:05d}") for n in range(documents)]

    def rows(each: int, **more: Any) -> list[dict[str, Any]]:
        made = [{"rowid": 9 * n + k, "loaded": "1", "doc": doc} for n, doc in names for k in range(each)]
        return [{**row, **{name: make(row["rowid"]) for name, make in more.items()}} for row in made]

    made = {
        "main-0001": rows(1, kind=lambda _: "DEED"),
        "lots-0001": rows(2, lot=lambda n: f"{n + 1:09d}"),
        "part-0001": rows(3, side=lambda n: n % 2 + 1, name=lambda n: f"NAME{n} ANN"),
        "refs-0001": [row for row in rows(1, other=lambda n: f"R{n}") if row["rowid"] % 2 == 0],
    }
    with FakeSocrata(Tables(made, "loaded", "rowid")) as fake:
        yield fake, Counties({}, drop=None, server=Server(pause=lambda _: None)).reader(four_tables(fake.url, page))  # type: ignore[arg-type]  # one reader of a union, by the test


def test_documents_of_four_tables_come_whole_in_windows_and_in_few_requests() -> None:
    with serving_four(950, page=100) as (fake, reader):
        parts = list(reader.read({}, today=TODAY))
        assert max(len(part.documents) for part in parts) <= 100
        documents = {d.instrument.key: d for part in parts for d in part.documents}
        assert len(documents) == sum(len(part.documents) for part in parts) == 950
        assert all(len(d.parcels) == 2 and len(d.instrument.parties) == 3 for d in documents.values())
        assert sum(len(d.instrument.refers_to) for d in documents.values()) == 475
        fewest = 10 + 19 + 29 + 5
        assert len(fake.asked) <= fewest + 3 * len(parts) + 1  # one more proves that pages are not capped


def test_a_read_goes_on_after_the_last_document_that_was_kept() -> None:
    with serving_four(300, page=100) as (_, reader):
        first = next(iter(reader.read({}, today=TODAY)))
        rest = [d.instrument.key for part in reader.read({}, today=TODAY, after=first.upto) for d in part.documents]
        assert sorted([d.instrument.key for d in first.documents] + rest) == [f"D{n:05d}" for n in range(300)]


@pytest.mark.parametrize("changed", [1, 3000])
def test_a_kept_document_of_which_one_row_changed_stays_whole(changed: int) -> None:
    with serving_four(max(10, changed), page=5000) as (fake, reader):
        for n in range(changed):
            row = fake.tables.rows["part-0001"][3 * n]
            row["loaded"], row["name"] = "2", f"OTHER{n} EVE"
        since = {"instruments": "2", "lots": "2", "parties": "1", "references": "2"}
        parts = reader.read(since, today=TODAY, known=lambda keys: keys)
        documents = {d.instrument.key: d for part in parts for d in part.documents}
        one = documents["D00000"]
        assert one.instrument.parties[0].name == "OTHER0 EVE"
        assert (len(one.instrument.parties), len(one.parcels), one.instrument.refers_to) == (3, 2, ("R0",))
        assert len(fake.asked) < 30


def test_large_files_are_read_in_shares_of_whole_documents(tmp_path: Path) -> None:
    county = shipped()["example-files"]
    lines = [f"D{n % 700},DE,01-Mar-2026,1,{n:06d}A,OLD ANN,NEW BOB" for n in range(2000)]
    text = "\n".join(["INSTRUMENT,TYPE,RECORDED,PRICE,PARCEL,FROM,TO", *lines])
    (tmp_path / "deeds.csv").write_text(text)
    parts = list(CountyReader(county, Files(county, tmp_path, bytes_at_once=len(text) // 4)).read({}, today=TODAY))
    assert len(parts) == 5
    assert max(len(part.documents) for part in parts) < 250
    assert sorted(d.instrument.key for part in parts for d in part.documents) == sorted(f"D{n}" for n in range(700))
    assert sum(len(d.parcels) for part in parts for d in part.documents) == 2000


def test_a_file_that_lacks_a_column_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    county = shipped()["example-files"]
    (tmp_path / county.id).mkdir()
    head = "INSTRUMENT,TYPE,RECORDED,PRICE,PARCEL,FROM,TO"
    (tmp_path / county.id / "a.csv").write_text(f"{head}\nD1,DE,01-Mar-2026,1,0001A,OLD ANN,NEW BOB\n")
    (tmp_path / county.id / "b.csv").write_text(head.replace("PARCEL", "APN") + "\nD2,DE,01-Mar-2026,1,0002A,A B,C D\n")
    [made] = Counties({}, tmp_path).reader(county).read({}, today=TODAY)
    assert [d.parcels for d in made.documents] == [("0001A",), ()]
    assert made.problems["column_missing PARCEL"] == 1


GOOD = b"INSTRUMENT,TYPE,RECORDED,PRICE,PARCEL,FROM,TO\nD1,DE,01-Mar-2026,1,0001A,OLD ANN,NEW BOB\n"
PACKED = gzip.compress(GOOD + bytes(range(32, 127)) * 50)
DAMAGED = {
    "cut.csv.gz": PACKED[:-20],
    "changed.csv.gz": PACKED[:40] + b"XXXXXXXX" + PACKED[48:],
    "no.csv.gz": GOOD,
    "cut.csv.zip": b"PK\x03\x04" + GOOD,
    "latin.csv": GOOD.replace(b"ANN", b"JOS\xc9"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_said_and_stops_no_other(tmp_path: Path, name: str) -> None:
    county = shipped()["example-files"]
    (tmp_path / name).write_bytes(DAMAGED[name])
    (tmp_path / "whole.csv").write_bytes(GOOD)
    county = county.model_copy(
        update={"tables": {k: t.model_copy(update={"dataset": "*"}) for k, t in county.tables.items()}}
    )
    [made] = CountyReader(county, Files(county, tmp_path)).read({}, today=TODAY)
    assert [d.instrument.key for d in made.documents if d.parcels == ("0001A",)] == ["D1"]
    assert made.problems["file_damaged"] == 1


@pytest.mark.parametrize(("percent", "event"), [("50", "partial_transfer"), ("100", "ownership_change"), ("0", None)])
def test_a_deed_over_a_part_is_a_partial_transfer(percent: str, event: str | None) -> None:
    deed = {"document_id": "1", "doc_type": "DEED", "percent_trans": percent}  # ACRIS writes 0 where it does not know
    [made] = understand(shipped()["nyc"], {TableKind.INSTRUMENTS: [deed]}, today=TODAY).documents
    assert made.instrument.event == (event or "ownership_change")


@pytest.mark.parametrize("driver", FAKES)
@pytest.mark.parametrize("traps", [Traps(), Traps(no_pagination=True)])
def test_a_document_whose_rows_go_over_a_page_comes_whole(driver: str, traps: Traps) -> None:
    rows = [{**row(n, "2026-04-01"), "doc": f"D{n // 7:06d}"} for n in range(1, 1500)]
    with serving(driver, rows, traps, page=100) as case:
        parts = list(case.reader.read({}, today=TODAY))
        keys = [d.instrument.key for part in parts for d in part.documents]
        assert len(parts) > 10
        assert len(keys) == len(set(keys)) == 215
        assert sum(len(d.parcels) for part in parts for d in part.documents) == 1499
