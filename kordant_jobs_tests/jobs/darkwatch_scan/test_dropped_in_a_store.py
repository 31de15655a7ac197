"""Dumps that are dropped in an object store: one host registers them, another reads them, neither keeps anything."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.drop_folder import DropStore
from kordant_jobs.cli.main import app
from kordant_jobs.errors import TransientError
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan.ingestion import ATTEMPTS
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.adapters.conftest import s3_bucket, s3_endpoint  # noqa: F401
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe

NAME = "Ann Example ssn_536904399.txt"
DUMPS = "SELECT status, reason FROM kordant.breach_dumps ORDER BY id"
DEAD = "http://127.0.0.1:9"
"""Where nothing listens: the port of the discard protocol."""


@pytest.fixture
def url(s3_bucket: str) -> str:  # noqa: F811
    return f"{s3_bucket}/drop"


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    return bench_in(tmp_path, db, keyring)


def on_host(bench: Bench, url: str, folder: Path, *, keep: bool = False) -> Bench:
    """The bench as a host with a disk of its own has it."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    place = DropStore(url, setting="KORDANT_DROP_URL", work=folder / "fetched")
    return replace(bench, box=replace(bench.box, place=place, keep_files=keep))


def drop(url: str, name: str, content: str) -> None:
    fsspec.url_to_fs(url)[0].pipe_file(f"{url}/{name}", content.encode())


def test_two_dumps_registered_by_one_host_are_read_by_another_and_all_that_was_planted_is_found(
    bench: Bench, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    planted = set()
    for number, name in enumerate((NAME, "b.csv")):
        lines = [f"nobody{line}@example.com:pw{line}" for line in range(2_000)]
        for line in (5, 900, 1_999):
            person = subscribe(bench.db, bench.keyring, f"person{number}-{line}@example.com")
            lines[line] = f"person{number}-{line}@example.com:hunter2"
            planted.add((*person.items.values(), line + 1))
        drop(url, name, "\n".join(lines) + "\n")
    corpus = url.replace("/drop", "/corpus")
    one, other = (
        replace(on_host(bench, url, tmp_path / name), corpus=Corpus(corpus, work=tmp_path / name / "drafts"))
        for name in ("a", "b")
    )
    plan = one.plan()
    assert plan.registered == 2
    assert other.match(plan).quarantined == ()
    assert service.record(plan, db=bench.db).new_alerts == len(planted)
    evidence = "SELECT e.item_id, v.line FROM kordant.exposure_evidence v JOIN kordant.exposures e"
    assert set(bench.rows(f"{evidence} ON e.id = v.exposure_id")) == planted
    assert other.box.place.files() == [], "an ingested object is removed"
    assert [path for name in ("a", "b") for path in (tmp_path / name).rglob("*") if path.is_file()] == []
    ours = [one.getMessage() for one in caplog.records if one.name.startswith("kordant")]
    assert "536904399" not in f"{ours} {bench.rows('SELECT * FROM kordant.breach_dumps')}"


def test_while_the_store_is_away_the_scan_is_tried_again_and_nothing_is_decided(
    bench: Bench, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    drop(url, NAME, "ann@example.com:a\n")
    plan = on_host(bench, url, tmp_path).plan()
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL", DEAD)
        host = on_host(bench, url, tmp_path)
        with pytest.raises(TransientError, match="KORDANT_DROP_URL") as told:
            host.match(plan)
        with pytest.raises(TransientError, match="KORDANT_DROP_URL"):
            host.plan()
    assert "Ann" not in str(told.value)
    assert bench.rows("SELECT status, reason, begun FROM kordant.breach_dumps") == [("registered", None, 0)]
    assert bench.rows("SELECT * FROM kordant.source_verdicts") == []
    assert on_host(bench, url, tmp_path).match(plan).new_exposures == 1


def test_a_dump_that_can_be_listed_and_not_fetched_is_tried_again_however_often(
    bench: Bench, url: str, tmp_path: Path
) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    drop(url, NAME, "ann@example.com:a\n")
    plan = on_host(bench, url, tmp_path).plan()
    (tmp_path / "full").write_text("no folder")
    host = on_host(bench, url, tmp_path / "full")
    for _ in range(ATTEMPTS + 1):
        with pytest.raises(TransientError, match="has room"):
            host.match(plan)
    assert bench.rows("SELECT status, reason, begun FROM kordant.breach_dumps") == [("registered", None, 0)]


def test_a_host_with_another_place_leaves_the_dump_alone(bench: Bench, url: str, tmp_path: Path) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    drop(url, NAME, "ann@example.com:a\n")
    plan = on_host(bench, url, tmp_path).plan()
    with pytest.raises(TransientError, match="KORDANT_DROP_URL"):
        on_host(bench, f"{url}-other", tmp_path).match(plan)
    with pytest.raises(TransientError, match="does not see"):
        bench.match(plan)  # its own folder
    assert bench.rows(DUMPS) == [("registered", None)]


def test_an_object_that_was_replaced_is_read_as_the_new_one_by_the_next_scan(
    bench: Bench, url: str, tmp_path: Path
) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    host = on_host(bench, url, tmp_path)
    drop(url, "x.txt", "bob@example.com:a\n")
    plan = host.plan()
    drop(url, "x.txt", "ann@example.com:a\n")
    assert len(host.match(plan).quarantined) == 1
    assert "replaced" in str(bench.rows(DUMPS))
    assert host.scan()[1].new_alerts == 1
    assert [status for status, _ in bench.rows(DUMPS)] == ["superseded", "ingested"]


def test_an_object_that_is_gone_is_quarantined_and_a_kept_one_is_read_once(
    bench: Bench, url: str, tmp_path: Path
) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    host = on_host(bench, url, tmp_path, keep=True)
    drop(url, "x.txt", "ann@example.com:a\n")
    host.scan()
    assert (len(host.box.place.files()), host.plan().registered) == (1, 0)
    drop(url, "y.txt", "bob@example.com:a\n")
    plan = host.plan()
    host.box.place.remove(host.box.place.files()[1])
    assert len(host.match(plan).quarantined) == 1
    assert "no longer" in str(bench.rows(DUMPS))


def test_a_dump_is_added_from_the_command_line_with_its_options(
    settings: Settings, db: Engine, keyring: Keyring, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setenv("KORDANT_DROP_URL", url)
    monkeypatch.setenv("KORDANT_DROP_KEEP", "1")
    file = tmp_path / "x.txt"
    file.write_text("name;mail\nann;ann@example.com\n")
    for answer in ("registered as", "known already"):
        done = CliRunner().invoke(app, ["dumps", "add", str(file), "--shape", "csv", "--known-at", "2026-03-01"])
        assert answer in done.output, done.output
    host = on_host(bench_in(tmp_path, db, keyring), url, tmp_path, keep=True)
    assert [one.name for one in host.box.place.files()] == ["x.txt"]
    subscribe(db, keyring, "ann@example.com")
    matched, recorded = host.scan()
    assert (matched.quarantined, recorded.new_alerts) == ((), 1)
    assert host.rows("SELECT told_shape LIKE '%csv%', known_at::date::text FROM kordant.breach_dumps") == [
        (True, "2026-03-01")
    ]
    shown = CliRunner().invoke(app, ["dumps", "show", str(host.rows("SELECT id FROM kordant.breach_dumps")[0][0])])
    assert f"{url}/x.txt" in "".join(shown.output.split())
