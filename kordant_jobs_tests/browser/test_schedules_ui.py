"""What a person sees of schedules: the price list, a change that becomes live, and a backfill of reports by clicks."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kordant_jobs_tests.browser.conftest import CHROMIUM, System

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
    pytest.mark.timeout(300),
]

SCHEDULES = """{ schedulesOrError(repositorySelector: {
  repositoryName: "__repository__", repositoryLocationName: "kordant_jobs"
}) { ... on Schedules { results { name cronSchedule description scheduleState { status } } } } }"""
STATUS = """query($job: String!) { runsOrError(filter: {pipelineName: $job}) {
  ... on Runs { results { status tags { key value } } }
} }"""


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
    page.goto(f"{system.url}/locations/kordant_jobs/jobs/{job}/partitions")
    page.get_by_role("button", name=re.compile("Launch backfill", re.IGNORECASE)).first.click()
    box = page.get_by_placeholder("ex:", exact=False).first
    box.fill("[2026-01-05...2026-01-19]")
    box.press("Tab")
    submit = page.get_by_role("button", name="Submit 3 runs")
    expect(submit).to_be_enabled()
    page.screenshot(path=screenshots / "reports-backfill.png")
    submit.click()
    deadline = time.monotonic() + 200
    while True:
        answer = system.graphql(STATUS, job=job)["runsOrError"]
        assert isinstance(answer, dict)
        statuses = [one["status"] for one in answer["results"]]
        if statuses == ["SUCCESS"] * 3:
            break
        assert "FAILURE" not in statuses
        assert time.monotonic() < deadline, statuses
        time.sleep(0.5)
    page.goto(f"{system.url}/locations/kordant_jobs/jobs/{job}/partitions")
    expect(page.get_by_text("3 partitions").first).to_be_visible()
    page.screenshot(path=screenshots / "reports-partitions.png")
