"""What a person sees in Dagster's UI: the job and its ops, a launch, backfills, new data, and the schedules.

One module, since a system of its own for each part would take half a minute more to come and go.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kordant_jobs.lab.world.population import make_population
from kordant_jobs_tests.browser.conftest import CHROMIUM, System
from kordant_jobs_tests.browser.world import PEOPLE, SEED

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
    pytest.mark.timeout(400),
]

JOB = "/locations/kordant_jobs/jobs/darkwatch_scan"
SCHEDULES = """{ schedulesOrError(repositorySelector: {
  repositoryName: "__repository__", repositoryLocationName: "kordant_jobs"
}) { ... on Schedules { results { name cronSchedule description scheduleState { status } } } } }"""
RUNS = "query($job: String!) { runsOrError(filter: {pipelineName: $job}) { ... on Runs { results { runId status } } } }"


@pytest.fixture
def page(system: System, page: Page) -> Page:
    """A window in which an operator has signed in."""
    page.goto(f"{system.url}/")
    page.get_by_role("textbox").fill(system.token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{system.url}/**")
    return page


def _runs(system: System, job: str) -> list[dict[str, str]]:
    answer = system.graphql(RUNS, job=job)["runsOrError"]
    assert isinstance(answer, dict)
    found: list[dict[str, str]] = answer["results"]
    return found


def _wait_for_runs(system: System, job: str, count: int) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        statuses = [run["status"] for run in _runs(system, job)]
        if len(statuses) >= count and set(statuses) == {"SUCCESS"}:
            return
        assert "FAILURE" not in statuses
        time.sleep(0.5)
    raise AssertionError(f"{job}: {_runs(system, job)}")


def _backfill_three(system: System, page: Page, job: str, partitions: str, picture: Path) -> None:
    page.goto(f"{system.url}/locations/kordant_jobs/jobs/{job}/partitions")
    page.get_by_role("button", name=re.compile("Launch backfill", re.IGNORECASE)).first.click()
    box = page.get_by_placeholder("ex:", exact=False).first
    box.fill(partitions)
    box.press("Tab")
    submit = page.get_by_role("button", name="Submit 3 runs")
    expect(submit).to_be_enabled()
    page.screenshot(path=picture)
    submit.click()
    _wait_for_runs(system, job, 3)


def test_the_job_shows_its_ops_in_their_order(system: System, page: Page, screenshots: Path) -> None:
    page.goto(system.url + JOB)
    for op in ("plan", "match", "ask_sources", "record", "summarise"):
        expect(page.get_by_text(op, exact=True).first).to_be_visible()
    page.screenshot(path=screenshots / "job.png")


def test_a_launch_from_the_launchpad_ends_well_and_shows_its_figures(
    system: System, page: Page, screenshots: Path
) -> None:
    page.goto(f"{system.url}{JOB}/playground")
    button = page.get_by_role("button", name="Launch run", exact=False)
    expect(button).to_be_enabled()
    page.screenshot(path=screenshots / "launchpad.png")
    button.click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=120_000)
    expect(page.get_by_text("summarise").first).to_be_visible()
    page.screenshot(path=screenshots / "run.png")
    assert [run["status"] for run in _runs(system, "darkwatch_scan")] == ["SUCCESS"]


def test_three_partitions_are_backfilled_by_clicks(system: System, page: Page, screenshots: Path) -> None:
    job = "darkwatch_scan_premium"
    today = datetime.now(UTC).date()
    first, last = today - timedelta(days=3), today - timedelta(days=1)
    _backfill_three(system, page, job, f"[{first}...{last}]", screenshots / "backfill.png")
    page.goto(f"{system.url}/locations/kordant_jobs/jobs/{job}/partitions")
    expect(page.get_by_text(str(last)).first).to_be_visible()
    page.screenshot(path=screenshots / "partitions.png")
    page.goto(f"{system.url}/runs")
    expect(page.get_by_text(job).first).to_be_visible()
    page.screenshot(path=screenshots / "runs.png")


def test_a_dump_dropped_while_up_runs_is_scanned_and_alerted(system: System, page: Page, screenshots: Path) -> None:
    premium = [person for person in make_population(SEED, PEOPLE).subscribers if person.tier == "premium"]
    named = next(item for person in premium for item in person.items if item.kind == "email")
    before = len(_runs(system, "notifications_send"))
    labels = {dump["file_label"] for dump in json.loads(system.command("dumps", "list", "--json"))}
    draft = system.state / "drop" / ".new.csv"
    draft.write_text(f"email,password\n{named.canonical},rain-{'x' * 12}\n")
    draft.rename(system.state / "drop" / "new.csv")
    _wait_for_runs(system, "notifications_send", before + 1)
    dumps = json.loads(system.command("dumps", "list", "--json"))
    assert [dump["status"] for dump in dumps if dump["file_label"] not in labels] == ["ingested"]
    assert not (system.state / "drop" / "new.csv").exists()
    page.goto(f"{system.url}/locations/kordant_jobs/sensors/new_data_sensor")
    expect(page.get_by_text("new_data_sensor").first).to_be_visible()
    page.screenshot(path=screenshots / "sensor.png")


def _schedules(system: System) -> dict[str, dict[str, Any]]:
    answer = system.graphql(SCHEDULES)["schedulesOrError"]
    assert isinstance(answer, dict)
    return {one["name"]: one for one in answer["results"]}


def test_the_schedules_page_reads_like_the_price_list(system: System, page: Page, screenshots: Path) -> None:
    page.goto(f"{system.url}/automation")
    for name in ("basic_darkwatch_scan", "plus_reports_generate", "premium_darkwatch_scan"):
        expect(page.get_by_text(name).first).to_be_visible()
    expect(page.get_by_text(re.compile("Every 15 minutes")).first).to_be_visible(timeout=30_000)  # a row's details
    page.screenshot(path=screenshots / "schedules.png")
    page.goto(f"{system.url}/locations/kordant_jobs/schedules/premium_darkwatch_scan")
    expect(page.get_by_text("Premium: darkwatch_scan daily; new data at once").first).to_be_visible()
    page.screenshot(path=screenshots / "schedule.png")


def test_a_changed_row_is_live_without_a_restart(system: System) -> None:
    """Within 5 s on an idle machine; the bound here is for a busy one. A switch that was turned stays turned."""
    assert _schedules(system)["premium_darkwatch_scan"]["scheduleState"] == {"status": "RUNNING"}
    system.command("schedules", "set", "darkwatch_scan", "cron=*/20 1-4 * * *", "--tier", "premium")
    deadline = time.monotonic() + 90
    while _schedules(system)["premium_darkwatch_scan"]["cronSchedule"] != "*/20 1-4 * * *":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert _schedules(system)["premium_darkwatch_scan"]["scheduleState"] == {"status": "RUNNING"}
    found = {one["name"]: one["cron"] for one in json.loads(system.command("schedules", "list", "--json"))}
    assert found["premium_darkwatch_scan"] == "*/20 1-4 * * *"


def test_three_weeks_of_reports_are_backfilled_by_clicks(system: System, page: Page, screenshots: Path) -> None:
    job = "reports_generate_premium"
    _backfill_three(system, page, job, "[2026-01-05...2026-01-19]", screenshots / "reports-backfill.png")
    page.goto(f"{system.url}/locations/kordant_jobs/jobs/{job}/partitions")
    expect(page.get_by_text("3 partitions").first).to_be_visible()
    page.screenshot(path=screenshots / "reports-partitions.png")
