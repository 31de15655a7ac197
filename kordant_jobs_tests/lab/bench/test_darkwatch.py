"""The bench compares like with like: on its own small dumps both sides find the same."""

from __future__ import annotations

from pathlib import Path

from kordant_jobs.lab.bench import darkwatch_parts as parts
from kordant_jobs.lab.bench.darkwatch_data import make


def test_duckdb_and_our_scan_find_the_same_and_a_dirty_dump_loses_little(tmp_path: Path) -> None:
    data = make(tmp_path, dump_bytes=300_000, watched=2_000)
    ours = parts.scan(str(data.clean), str(data.watched))
    duck = parts.duckdb(str(data.clean), str(data.watched_text))
    dirty = parts.scan(str(data.dirty), str(data.watched))
    assert (ours["hits"], ours["people"]) == (duck["hits"], duck["people"])
    assert ours["hits"] > 10
    assert dirty["people"] == ours["people"]


def test_ingestion_and_look_ups_are_measured_on_what_they_leave(tmp_path: Path) -> None:
    data = make(tmp_path / "data", dump_bytes=300_000, watched=500)
    assert parts.ingest(str(data.clean), str(tmp_path / "ingested"))["mb_per_core_s"] > 0
    looked = parts.lookup(str(tmp_path / "corpus"), "3000", "1000")
    assert looked["per_s"] > 0
    assert 12 * 3_000 < looked["bytes"] < 14 * 3_000
