"""The job in Dagster: config in, reports out, and wrong config refused before any work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.jobs.reports_generate.job import JOBS
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach

JUNE = {"kind": "monthly", "period_start_on": "2026-06-01", "period_end_on": "2026-07-01"}


def run(db: Engine, keyring: Keyring, folder: Path, **config: Any) -> dg.ExecuteInProcessResult:
    """One run of the job."""
    return JOBS.plain.execute_in_process(
        run_config={"ops": {"plan": {"config": {**JUNE, **config}}}},
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
    figures = result.output_for_node("summarise")
    assert (figures["subscriptions"], figures["made"], figures["failed"]) == (2, 2, 0)
    assert len(list(tmp_path.rglob("*.pdf"))) == 2
    assert "jane" not in str([event.event_specific_data for event in result.all_events])


def test_by_force_they_are_made_again(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    subscribe(db, keyring, "jane.roe@watched.example")
    made = [run(db, keyring, tmp_path, force=force).output_for_node("summarise") for force in (False, False, True)]
    assert [(one["made"], one["unchanged"]) for one in made] == [(1, 0), (0, 1), (1, 0)]


def test_no_subscription_is_no_error(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    assert run(db, keyring, tmp_path).output_for_node("summarise")["made"] == 0


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"kind": "yearly"}, r"root:ops:plan:config:kind .* got yearly"),
        ({"tiers": ["gold"]}, r"root:ops:plan:config:tiers\[0\] .* got gold"),
        ({"people": []}, r'unexpected config entry "people" at path root:ops:plan:config'),
        ({"period_end_on": "2026-06-01"}, "payload.period_end_on: .* must lie after period_start_on"),
        ({"period_start_on": "June"}, "payload.period_start_on: Input should be a valid date"),
        ({"period_end_on": None}, "payload.period_end_on: give the first day and the first day after"),
        ({"subscription_ids": ["x"]}, "payload.subscription_ids.0: Input should be a valid UUID"),
    ],
)
def test_wrong_config_is_refused_and_the_text_names_the_field(
    db: Engine, keyring: Keyring, tmp_path: Path, config: dict[str, Any], says: str
) -> None:
    with pytest.raises((dg.Failure, dg.DagsterInvalidConfigError), match=says):
        run(db, keyring, tmp_path, **config)


def test_without_config_it_makes_the_reports_of_the_month_that_ended_last(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    subscribe(db, keyring, "jane.roe@watched.example")
    JOBS.plain.execute_in_process(
        resources={"db": db, "keyring": keyring, "report_storage": LocalReportStorage(tmp_path)}
    )
    with db.connect() as connection:
        row = connection.execute(sa.text("SELECT kind, period_start_on, period_end_on FROM kordant.reports")).one()
    first = datetime.now(UTC).date().replace(day=1)
    assert (row.kind, row.period_start_on, row.period_end_on) == (
        "monthly",
        (first - timedelta(days=1)).replace(day=1),
        first,
    )
