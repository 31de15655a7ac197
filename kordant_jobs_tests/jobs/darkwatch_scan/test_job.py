"""The job in Dagster: which scan a run is, what it asks of whom, and when it is a scan in part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import Engine

from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.engine.ops import ITEMS_FAILED
from kordant_jobs.jobs.darkwatch_scan.job import JOBS
from kordant_jobs.lab.fakes.sources.hibp import TEST_KEY, FakeHibp
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe

ASKED = "SELECT count(*) FROM kordant.source_checks"


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    return bench_in(tmp_path, db, keyring)


def run(bench: Bench, settings: Settings, job: dg.JobDefinition = JOBS.plain, **how: Any) -> dg.ExecuteInProcessResult:
    """One run of the job, with a source that may be asked."""
    hibp = FakeHibp(rpm=60_000, accounts={"ann@example.com": ("Adobe",)})
    with hibp.server() as server:
        sources = Sources(on={Source.HIBP: Hibp(SecretStr(TEST_KEY), base_url=f"{server.url}/api/v3")})
        return job.execute_in_process(
            resources={
                "db": bench.db,
                "keyring": bench.keyring,
                "drop_box": bench.box,
                "corpus": bench.corpus,
                "catalogue": None,
                "sources": sources,
                "settings": settings,
            },
            **how,
        )


def figures(done: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the run's last op said."""
    (last,) = [event for event in done.all_events if event.is_successful_output and event.step_key == "summarise"]
    return {name: one.value for name, one in last.step_output_data.metadata.items()}


def test_a_dump_that_cannot_be_read_makes_it_a_scan_in_part(bench: Bench, settings: Settings) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("good.txt", "ann@example.com:a\n")
    bench.drop("bad.zip", b"PK\x03\x04 and nothing more")
    done = run(bench, settings)
    shown = figures(done)
    assert (shown["quarantined"], shown[ITEMS_FAILED], shown["new_alerts"]) == (1, 1, 2)
    assert done.output_for_node("summarise")["clean"] == 0


def test_a_tier_is_scanned_and_no_other(bench: Bench, settings: Settings) -> None:
    for tier in ("premium", "plus"):
        subscribe(bench.db, bench.keyring, f"{tier}@example.com", tier=tier)
    bench.drop("x.txt", "premium@example.com:a\nplus@example.com:b\n")
    done = run(bench, settings, run_config={"ops": {"plan": {"config": {"tiers": ["plus"]}}}})
    assert figures(done)["subscriptions"] == 1


def test_a_days_partition_asks_no_source_since_its_answer_is_of_today(bench: Bench, settings: Settings) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    (premium,) = [job for job in JOBS.partitioned if job.name.endswith("_premium")]
    done = run(bench, settings, premium, partition_key="2026-11-18")
    assert (done.output_for_node("ask_sources"), bench.rows(ASKED)) == ([], [(0,)])
    with bench.db.connect() as connection:
        covered = connection.execute(sa.text("SELECT checked_on::text, source FROM kordant.source_verdicts")).all()
    assert [tuple(row) for row in covered] == [("2026-11-18", "dumps")]
    assert [one.asked for one in run(bench, settings).output_for_node("ask_sources")] == [1]
