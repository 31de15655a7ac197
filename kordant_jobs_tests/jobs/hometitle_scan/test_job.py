"""The job in Dagster: a run is a scan, and one whose county cannot be read is a scan in part."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.catalog.hometitle_scan import HometitleScan
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.engine.ops import ITEMS_FAILED
from kordant_jobs.jobs.hometitle_scan.job import JOBS
from kordant_jobs.lab.world.county import County
from kordant_jobs.lab.world.county_files import NAME, description
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.hometitle_scan.test_service import Bench
from kordant_jobs_tests.jobs.people import subscribe


def test_a_partition_is_what_became_known_on_one_day_of_one_tier() -> None:
    assert [job.name for job in JOBS.partitioned] == [f"hometitle_scan_{tier}" for tier in Tier]
    for job, tier in zip(JOBS.partitioned, Tier, strict=True):
        assert job.partitioned_config is not None
        config = job.partitioned_config.get_run_config_for_partition_key("2026-06-01")["ops"]["plan"]["config"]
        payload = HometitleScan.checked(config)
        assert payload.tiers == (tier,)
        assert (payload.known_from, payload.known_until) == (
            datetime(2026, 6, 1, tzinfo=UTC),
            datetime(2026, 6, 2, tzinfo=UTC),
        )


def figures(bench: Bench) -> dict[str, Any]:
    done = JOBS.plain.execute_in_process(
        resources={"db": bench.db, "keyring": bench.keyring, "counties": bench.counties}
    )
    (last,) = [event for event in done.all_events if event.is_successful_output and event.step_key == "summarise"]
    return {name: one.value for name, one in last.step_output_data.metadata.items()}


def test_a_run_reads_compares_and_records(db: Engine, keyring: Keyring, tmp_path: Path, settings: Settings) -> None:
    counties = Counties({NAME: description()}, tmp_path / "drop")
    bench = Bench(db, keyring, counties, County(11, lots=100, documents=600, frauds=6), subscribe(db, keyring))
    bench.watch_lots(range(50))
    said = figures(bench)
    assert (said["counties_failed"], said[ITEMS_FAILED], said["unknown"]) == (1, 1, 1)
    bench.publish("all", lambda one: True)
    said = figures(bench)
    assert (said["counties_failed"], said["unknown"], said["clean"] + said["found"]) == (0, 0, 1)
    assert said["documents"] == len(bench.county.records)
    assert figures(bench)["new_alerts"] == 0
