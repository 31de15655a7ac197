"""What holds for every county's service, the fakes and the real ones alike.

Real ones are asked where they are named, by their id or the file that describes them, with at most a few hundred rows:

    KORDANT_LIVE_COUNTIES=nyc,cook-il,my-county.yaml pytest kordant_jobs_tests/adapters/counties/test_conformance.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from kordant_jobs.adapters.counties.asking import Server
from kordant_jobs.adapters.counties.description import Column, County, TableKind, read_file, shipped
from kordant_jobs.adapters.counties.drivers import Row, key_of, mark_of
from kordant_jobs.adapters.counties.reading import CountyReader
from kordant_jobs.adapters.counties.registry import Counties
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.lab.fakes.counties.servers import Tables
from kordant_jobs_tests.adapters.counties.test_drivers import DATASETS, FAKES, county, row

MAIN = TableKind.INSTRUMENTS
PAGE = 60
LIVE = [one for one in os.environ.get("KORDANT_LIVE_COUNTIES", "").split(",") if one]


def live(name: str) -> County:
    return read_file(Path(name)) if name.endswith((".yaml", ".yml")) else shipped()[name]


def with_pages(described: County, size: int) -> County:
    small = {kind: table.model_copy(update={"page": size}) for kind, table in described.tables.items()}
    return described.model_copy(update={"tables": small})


@pytest.fixture(params=[*FAKES, *(f"live:{name}" for name in LIVE)], scope="module")
def described(request: pytest.FixtureRequest) -> Iterator[County]:
    """A county whose service answers: three rows a document every tenth time, a row changed later now and then."""
    if request.param.startswith("live:"):
        yield live(request.param.removeprefix("live:"))
        return
    rows = [{**row(n, f"2026-04-{n % 28 + 1:02d}"), "doc": f"D{n - n % 10 % 3:06d}"} for n in range(1, 400)]
    with FAKES[request.param](Tables({DATASETS[request.param]: rows}, "loaded", "rowid")) as fake:
        yield county(request.param, fake.url)


def reader_of(described: County, page: int = PAGE) -> CountyReader:
    server = Server(pause=lambda _: None) if described.id.startswith("test-") else Server()  # a real one is given time
    reader = Counties({}, drop=Path(), server=server).reader(with_pages(described, page))
    assert isinstance(reader, CountyReader)
    return reader


def documents(described: County, page: int, count: int, after: str | None = None) -> list[str]:
    windows = reader_of(described, page).read({}, today=datetime.now(UTC).date(), after=after)
    return list(islice((one.instrument.key for window in windows for one in window.documents), count))


def test_it_says_how_fresh_it_is_and_its_newest_watermark(described: County) -> None:
    reader = reader_of(described)
    assert reader.freshness()
    assert set(reader.newest_watermarks(today=datetime.now(UTC).date())) <= {kind.value for kind in described.tables}


def test_documents_come_whole_and_once_whatever_the_page(described: County) -> None:
    large, small = documents(described, 2 * PAGE, 100), documents(described, PAGE // 2, 100)
    assert large == small
    assert len(large) == len(set(large)) == 100


def test_a_read_goes_on_where_one_ended(described: County) -> None:
    windows = reader_of(described).read({}, today=datetime.now(UTC).date())
    first, second = islice(windows, 2)
    again = documents(described, PAGE, len(second.documents), after=first.upto)
    assert again == [one.instrument.key for one in second.documents]


def test_the_rows_of_a_document_are_those_that_its_window_held(described: County) -> None:
    reader = reader_of(described)
    table, window = reader.county.tables[MAIN], next(reader.tables.windows({}, None))
    keys = list(dict.fromkeys(key for one in window.rows[MAIN] if (key := key_of(one, table))))[:5]

    def counted(rows: list[Row]) -> Counter[str]:
        return Counter(key for one in rows if (key := key_of(one, table)) in keys)

    assert counted(reader.tables.rows_of(MAIN, keys)) == counted(window.rows[MAIN])


def test_rows_since_the_newest_watermark_are_few_and_bear_it(described: County) -> None:
    reader = reader_of(described)
    newest, table = reader.newest_watermarks(today=datetime.now(UTC).date()), reader.county.tables[MAIN]
    if MAIN not in newest:
        assert table.watermark is None or not newest  # read whole each time
        return
    window = next(reader.tables.windows(newest, None))
    assert newest[MAIN] in {mark_of(one, table) for one in window.rows[MAIN]}


def test_what_it_gives_is_understood(described: County) -> None:
    made = reader_of(described).sample(20, today=datetime.now(UTC).date())
    assert 1 <= len(made.documents) <= 20
    assert sum(one.instrument.recorded_on is None for one in made.documents) <= len(made.documents) / 10
    assert any(one.parcels for one in made.documents)


@pytest.mark.parametrize("wrong", ["column", "dataset"])
def test_a_column_or_table_that_it_lacks_is_a_fault_and_never_silence(described: County, wrong: str) -> None:
    table = described.tables[MAIN]
    assert reader_of(described).freshness()  # it can be reached
    columns = {**table.columns, "code": Column(of=["no_such_column_here"])}
    lacking = {"dataset": "none-here"} if wrong == "dataset" else {"columns": columns}
    tables = {**described.tables, MAIN: table.model_copy(update=lacking)}
    reader = reader_of(described.model_copy(update={"tables": tables}))
    with pytest.raises(SourceUnavailable):
        next(reader.read({}, today=datetime.now(UTC).date()))
