"""The job in Dagster: config in, reports out, and wrong config refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.jobs.reports_generate.job import reports_generate
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach

JUNE = {"kind": "monthly", "period_start_on": "2026-06-01", "period_end_on": "2026-07-01"}


def run(db: Engine, keyring: Keyring, folder: Path, **config: Any) -> dg.ExecuteInProcessResult:
    """One run of the job."""
    return reports_generate.execute_in_process(
        run_config={"ops": {"plan_reports": {"config": {**JUNE, **config}}}},
        resources={"db": db, "keyring": keyring, "report_storage": LocalReportStorage(folder)},
    )


def test_the_job_makes_the_reports_of_the_affected(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    add_breach(db)
    for number in range(3):
        person = subscribe(db, keyring, f"jane.roe{number}@watched.example")
        if number:
            (item_id,) = person.items.values()
            add_alert(db, person.subscription_id, item_id, "Adobe")
    result = run(db, keyring, tmp_path, only_affected=True)
    figures = result.output_for_node("summarise_reports")
    assert (figures["subscriptions"], figures["made"], figures["failed"]) == (2, 2, 0)
    assert len(list(tmp_path.rglob("*.pdf"))) == 2
    assert "jane" not in str([event.event_specific_data for event in result.all_events])


def test_no_subscription_is_no_error(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    assert run(db, keyring, tmp_path).output_for_node("summarise_reports")["made"] == 0


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"kind": "yearly"}, "kind must be one of"),
        ({"period_end_on": "2026-06-01"}, "must be after"),
        ({"period_start_on": "June"}, "must be days"),
        ({"tiers": ["gold"]}, "gold is no tier"),
        ({"subscription_ids": ["x"]}, "no UUID"),
    ],
)
def test_wrong_config_is_refused_with_what_would_be_right(
    db: Engine, keyring: Keyring, tmp_path: Path, config: dict[str, Any], says: str
) -> None:
    with pytest.raises(dg.Failure, match=says):
        run(db, keyring, tmp_path, **config)
