"""A partition of reports is what the schedule made: the same kind, the same days."""

from __future__ import annotations

from datetime import date

import pytest

from kordant_jobs.catalog import SCHEDULES
from kordant_jobs.catalog.reports_generate import ReportsGenerate
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.cadence import due_anchors, period_of
from kordant_jobs.engine.queue.recorded import AsStarted, claimed_payload, payload_of_run, run_of
from kordant_jobs.jobs.reports_generate.job import JOBS, partitions_of
from kordant_jobs.jobs.reports_generate.service import JOB


@pytest.mark.parametrize(("tier", "kind"), [(Tier.PLUS, "monthly"), (Tier.PREMIUM, "weekly")])
def test_every_partition_is_a_period_that_the_schedule_makes(tier: Tier, kind: str) -> None:
    (row,) = [row for row in SCHEDULES if row.key == (JOB, tier)]
    (job,) = [job for job in JOBS.partitioned if job.name == f"{JOB}_{tier}"]
    keys = partitions_of(tier).windows.get_partition_keys()
    assert len(keys) > 8
    for key in keys:
        assert job.partitioned_config is not None
        config = job.partitioned_config.get_run_config_for_partition_key(key)["ops"]["plan"]["config"]
        end = date.fromisoformat(config["period_end_on"])
        (anchor,) = due_anchors(row, end)
        start, _ = period_of(row, anchor, end)
        payload = ReportsGenerate.checked(config)
        assert (payload.kind, payload.tiers, payload.period) == (kind, (tier,), (start, end))
        assert config["period_start_on"] == key


def test_a_tier_without_reports_has_no_such_job() -> None:
    assert [job.name for job in JOBS.partitioned] == ["reports_generate_plus", "reports_generate_premium"]


def test_a_partitions_run_is_retried_as_the_same_partition() -> None:
    (plus, _) = JOBS.partitioned
    assert plus.partitioned_config is not None
    config = dict(plus.partitioned_config.get_run_config_for_partition_key("2026-06-01"))
    started = AsStarted(job=plus.name, config=config, partition_key="2026-06-01")
    kept = payload_of_run(JOBS.row, started).model_dump(mode="json")
    assert run_of(JOBS.row, [claimed_payload(JOBS.row, kept)]) == started
