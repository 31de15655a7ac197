"""The seven ways in, on the whole system: one line, one set of limits; a backfill lets what is critical pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kordant_jobs.cli.dagster_home import WORKSPACE
from kordant_jobs.engine.requests import Priority, RequestStatus
from kordant_jobs.engine.store.attempts import Attempt
from kordant_jobs.engine.store.requests import Request
from kordant_jobs.engine.store.waiting import pause, resume
from kordant_jobs_tests.databases import copy_of
from kordant_jobs_tests.engine.system import System, system_on, until
from kordant_jobs_tests.engine.toy_app import SYSTEM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # a whole system, and a tick to wait for

LOCATION = {"repositoryLocationName": "kordant_jobs", "repositoryName": "__repository__"}
ERRAND = "errand"


@pytest.fixture(scope="module")
def system(
    admin_url: str, template: str, served_at: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    with (
        copy_of(admin_url, template) as name,
        system_on(served_at(name), tmp_path_factory.mktemp("system")) as made,
    ):
        yield made


def config(**fields: Any) -> dict[str, Any]:
    return {"ops": {"do_chore": {"config": fields}}}


def request_of(system: System, by: str, *, job: str = ERRAND) -> Request:
    """The newest request that came this way."""

    def look() -> Request | None:
        return next((one for one in system.all(job=job) if one.requested_by.startswith(by)), None)

    try:
        found: Request = until(look, 90)
    except AssertionError:
        raise AssertionError(f"nothing came by {by}: {[one.requested_by for one in system.all()]}") from None
    return found


def enqueue(system: System) -> None:
    system.enqueue(ERRAND, number=1, priority=Priority.CRITICAL)


def launch(system: System) -> None:
    system.launch(ERRAND, config(), {"kordant/priority": "high"})


def repeat(system: System, done: str) -> None:
    answer = system.graphql(
        """mutation($params: ExecutionParams!) { launchRunReexecution(executionParams: $params) { __typename } }""",
        params={
            "selector": {**LOCATION, "jobName": ERRAND},
            "runConfigData": config(),
            "executionMetadata": {"parentRunId": done, "rootRunId": done, "tags": []},
        },
    )
    assert answer["launchRunReexecution"]["__typename"] == "LaunchRunSuccess", answer


def backfill(system: System, partitions: list[str], job: str = f"{ERRAND}_premium") -> None:
    answer = system.graphql(
        """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
             __typename } }""",
        params={
            "selector": {"repositorySelector": LOCATION, "partitionSetName": f"{job}_partition_set"},
            "partitionNames": partitions,
        },
    )
    assert answer["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", answer


def switch_schedule(system: System, *, on: bool) -> None:
    selector = {**LOCATION, "scheduleName": "errand_schedule"}
    if on:
        system.graphql(
            "mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }", s=selector
        )
        return
    shown = system.graphql(
        """query($s: ScheduleSelector!) { scheduleOrError(scheduleSelector: $s) {
             ... on Schedule { scheduleState { id } } } }""",
        s=selector,
    )["scheduleOrError"]["scheduleState"]["id"]
    system.graphql("mutation($id: String!) { stopRunningSchedule(id: $id) { __typename } }", id=shown)


def one_at_a_time(system: System, ids: list[UUID]) -> list[tuple[Request, Attempt]]:
    """The requests with their only attempts, in the order in which they ran; no two overlapped."""
    ran = sorted(((*system.ended(one, 120),) for one in ids), key=lambda each: each[1][0].started_at)
    found = [(request, attempts[0]) for request, attempts in ran]
    for (_, before), (_, after) in pairwise(found):
        assert before.ended_at
        assert before.ended_at <= after.started_at
    return found


def test_seven_ways_in_are_one_line_by_priority_one_at_a_time(system: System, tmp_path: Path) -> None:
    done = system.launch(ERRAND, config())
    until(lambda: system.run(done)["status"] == "SUCCESS")
    first = system.enqueue(ERRAND, how="wait", folder=str(tmp_path))
    until((tmp_path / "runs").exists)

    switch_schedule(system, on=True)
    backfill(system, ["2026-11-02"])
    told = system.dagster("job", "launch", "-w", str(Path(system.environ["DAGSTER_HOME"]) / WORKSPACE), "-j", ERRAND)
    assert told.returncode == 0, told.stderr
    repeat(system, done)
    system.execute("INSERT INTO toy_wishes VALUES (-8)")
    launch(system)
    enqueue(system)
    ways = ("test", "dagster:ui", "schedule:errand_schedule", "dagster:launch", "repeats:", "sensor:", "backfill:")
    waiting = [request_of(system, by) for by in ways]
    switch_schedule(system, on=False)
    tick = waiting[2]
    waiting = [one for one in waiting if one.id != first]
    assert {one.status for one in waiting} == {RequestStatus.PENDING}

    (tmp_path / "go").touch()
    ran = one_at_a_time(system, [first, *(one.id for one in waiting)])
    order = [request.priority for request, _ in ran[1:]]
    assert order == sorted(order)
    assert order[0] is Priority.CRITICAL
    assert order[-1] is Priority.LOW
    assert [request.id for request, _ in ran if request.priority is Priority.NORMAL][1] == tick.id, "on time"
    linked = system.run(str(system.request(tick.id)[0].run_id))["tags"]
    assert linked["dagster/schedule_name"] == "errand_schedule"
    assert "dagster/tick" in linked


def test_a_critical_request_passes_a_backfill_of_200_partitions(system: System) -> None:
    days = [f"2025-{month:02}-{day:02}" for month in range(1, 11) for day in range(1, 21)]
    backfill(system, days)
    until(lambda: len([one for one in system.all(job=ERRAND) if one.requested_by.startswith("backfill:")]) >= 100, 120)
    urgent, (attempt,) = system.ended(system.enqueue(ERRAND, priority=Priority.CRITICAL))
    assert (attempt.started_at - urgent.created_at).total_seconds() < 2
    waiting = [one for one in system.all(job=ERRAND) if one.requested_by.startswith("backfill:") and not one.ended_at]
    assert waiting, "the backfill was over before: it showed nothing"
    system.graphql(
        "mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }",
        id=waiting[0].requested_by.partition(":")[2],
    )
    until(lambda: not [one for one in system.all(job=ERRAND) if not one.ended_at], 120)


def test_a_paused_job_starts_in_no_way_but_dagster_job_execute(system: System) -> None:
    with system.db.begin() as connection:
        now = connection.exec_driver_sql("SELECT now()").scalar_one()
        pause(connection, ERRAND, reason="test", by="test", now=now)
    enqueue(system)
    launch(system)
    held = [request_of(system, by).id for by in ("test", "dagster:ui")]
    told = system.dagster("job", "execute", "-m", SYSTEM.definitions, "-j", ERRAND)
    assert told.returncode == 0, told.stderr
    executed = request_of(system, "dagster:execute")
    assert executed.status is RequestStatus.COMPLETED
    assert {system.request(one)[0].status for one in held} == {RequestStatus.PENDING}
    with system.db.begin() as connection:
        resume(connection, ERRAND)
    for one in held:
        assert system.ended(one)[0].status is RequestStatus.COMPLETED
