"""Nothing unread is clean: dumps that are read in part, not at all, or by two scans at once."""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.dumps import DumpLimits
from kordant_jobs.domain.darkwatch.exposures import DumpStatus
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.errors import DumpUnreadable
from kordant_jobs.jobs.darkwatch_scan.ingestion import ATTEMPTS, Ingestion, ReadingBudget
from kordant_jobs.store.darkwatch import dumps
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe

SHOWN = "SELECT status, reason FROM kordant.breach_dumps"
VERDICT = "SELECT verdict, reason FROM kordant.source_verdicts"


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    return bench_in(tmp_path, db, keyring)


def zip_of(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_member_that_is_not_read_leaves_the_others_unknown_and_the_file_there(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    subscribe(bench.db, bench.keyring, "cyd@example.com")
    members = {"a.txt": b"ann@example.com:x\nbob@example.com:y\n", "b.sqlite": b"SQLite format 3\x00" + bytes(99)}
    path = bench.drop("x.zip", zip_of(members))
    _, recorded = bench.scan()
    assert (recorded.exposed, recorded.unknown, recorded.clean) == (1, 1, 0)
    assert bench.rows(SHOWN) == [("partial", "1 member not read (an SQLite database, which is not read here)")]
    assert ("unknown", "1 breach dump was partly read") in bench.rows(VERDICT)
    assert path.exists()


def test_a_dump_with_no_person_in_it_makes_no_one_clean(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    path = bench.drop("x.csv", "email,password\n")
    _, recorded = bench.scan()
    assert (recorded.exposed, recorded.unknown, recorded.clean) == (0, 1, 0)
    assert bench.rows(SHOWN) == [("partial", "no person was found in it")]
    assert path.exists()


def test_an_address_that_no_reader_understood_is_mentioned_and_the_dump_partly_read(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "We met ann@example.com there.\nThen it rained, and bob@example.org left.\nNobody else came.\n")
    _, recorded = bench.scan()
    assert recorded.exposed == 1
    assert bench.rows("SELECT secret FROM kordant.exposures") == [("mentioned",)]
    assert bench.rows("SELECT severity FROM kordant.alerts") == [("low",)]
    assert bench.rows(SHOWN)[0][0] == "partial"


@pytest.mark.parametrize(
    "content",
    [
        b'{"email":"\\ud800a@b.example"}\n{"email":"ann@example.com"}\n',
        b"CREATE TABLE a (" * 4_096 + b"\nann@example.com\n",
        b'{"a":' * 20_000 + b"\nann@example.com\n",
        b"email" + b",x" * 200_000 + b"\nann@example.com\n",
    ],
    ids=["surrogate", "create-table", "deep-json", "wide-header"],
)
def test_a_hostile_dump_stops_no_scan_and_the_person_in_it_is_found(bench: Bench, content: bytes) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("hostile.txt", content)
    _, recorded = bench.scan()
    assert (recorded.exposed, recorded.clean) == (1, 0)


def test_two_scans_over_an_unreadable_dump_both_count_it_as_unread(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("bad.txt", "nothing of interest\n")
    one, other = bench.plan(), bench.plan()
    assert len(bench.match(one).quarantined) == 1
    assert len(bench.match(other).quarantined) == 1


def test_a_dump_whose_reading_never_ends_is_set_aside(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    plan = bench.plan()
    [dump_id] = [dump for chunk in plan.chunks for dump in chunk]
    with bench.db.begin() as connection:
        for _ in range(ATTEMPTS):
            dumps.begin(connection, dump_id)
    bench.match(plan)
    [(status, reason)] = bench.rows(SHOWN)
    assert status == "quarantined"
    assert "broken off" in reason


def test_a_dump_that_takes_longer_than_its_size_allows_is_set_aside_with_the_reason(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    [[dump_id]] = bench.plan().chunks
    progress = Progress(bench.db, "test")
    progress.start(0, "")
    ingestion = Ingestion(
        db=bench.db, keyring=bench.keyring, box=bench.box, corpus=bench.corpus, progress=progress,
        budget=ReadingBudget(floor_s=0, s_per_mib=0),
    )  # fmt: skip
    with bench.db.connect() as connection:
        [dump] = dumps.load(connection, [dump_id])
    with pytest.raises(DumpUnreadable):
        ingestion.ingest(dump)
    [(status, reason)] = bench.rows(SHOWN)
    assert status == "quarantined"
    assert "takes too long" in reason


def test_a_dump_that_cannot_even_be_opened_is_set_aside_and_the_scan_goes_on(bench: Bench) -> None:
    """No such limits can be set; they stand for whatever makes a reader fail before the first block."""
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt.gz", gzip.compress(b"ann@example.com:a\n"))
    limits = DumpLimits(max_bytes="many", max_ratio=200)  # type: ignore[arg-type]  # what the test is about
    broken = replace(bench, box=replace(bench.box, limits=limits))
    _, recorded = broken.scan()
    assert (recorded.unknown, recorded.clean) == (1, 0)
    assert "A reader failed (TypeError)" in bench.rows(SHOWN)[0][1]


def test_an_accepted_dump_counts_as_read(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "cyd@example.com")
    bench.drop("x.zip", zip_of({"a.txt": b"bob@example.com:y\n", "b.sqlite": b"SQLite format 3\x00" + bytes(99)}))
    bench.scan()
    [(dump_id,)] = bench.rows("SELECT id FROM kordant.breach_dumps")
    with bench.db.begin() as connection:
        assert dumps.move(connection, dump_id, DumpStatus.INGESTED)
    _, recorded = bench.scan()
    assert recorded.clean == 1
