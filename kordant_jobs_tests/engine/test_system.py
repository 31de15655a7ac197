"""Every way in, on the whole system: each run is an ordinary one of Dagster's with its request and attempts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.engine.launcher.protocol import ask, socket_path
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs_tests.databases import copy_of
from kordant_jobs_tests.engine.system import LEASE_S, System, system_on, until
from kordant_jobs_tests.engine.toy_app import SYSTEM

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]  # a whole system, with kills


@pytest.fixture(scope="module")
def system(
    admin_url: str, template: str, served_at: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    with (
        copy_of(admin_url, template) as name,
        system_on(served_at(name), tmp_path_factory.mktemp("system")) as made,
    ):
        yield made


def chore(**config: object) -> dict[str, object]:
    return {"ops": {"do_chore": {"config": config}}}


def end_daemon(system: System) -> None:
    """The system's own daemon is gone, whichever test comes first; nobody starts it again."""
    with suppress(ProcessLookupError):
        os.killpg(system.stack.pids()["daemon"], signal.SIGKILL)


def ordinary(system: System, run_id: str) -> None:
    """The run has the events that Dagster's UI draws it from."""
    kinds = system.run(run_id)["kinds"]
    assert kinds.count("ExecutionStepSuccessEvent") == 2
    assert {"RunStartEvent", "LogsCapturedEvent", "RunSuccessEvent"} <= set(kinds)


def test_a_queued_request_becomes_an_ordinary_run_with_figures(system: System) -> None:
    one, (*before, attempt) = system.ended(system.enqueue(number=100))
    assert (one.status, one.summary, attempt.outcome) == (RequestStatus.COMPLETED, {"number": 100}, Outcome.SUCCESS)
    assert {early.outcome for early in before} <= {Outcome.RETURNED}, "while the system came up"
    assert one.run_id
    ordinary(system, one.run_id)
    assert system.run(one.run_id)["tags"]["kordant/request_id"] == str(one.id)


@pytest.mark.slow  # the others show the system at work
def test_a_retry_is_linked_to_its_parent_and_root(system: System, tmp_path: Path) -> None:
    one, (failed, done) = system.ended(system.enqueue(number=101, how="fail once", folder=str(tmp_path)))
    assert (failed.outcome, failed.cause, done.outcome) == (Outcome.FAILURE, Cause.EXCEPTION, Outcome.PARTIAL)
    assert done.run_id
    shown = system.run(done.run_id)
    assert (shown["parentRunId"], shown["rootRunId"]) == (failed.run_id, failed.run_id)
    assert system.run(str(failed.run_id))["status"] == "FAILURE"
    assert one.root_run_id == failed.run_id


@pytest.mark.slow  # the others show the system at work
def test_a_permanent_error_is_dead_at_once(system: System) -> None:
    one, (only,) = system.ended(system.enqueue(how="permanent"))
    assert (one.status, only.outcome) == (RequestStatus.DEAD, Outcome.FAILURE)
    assert "KORDANT_X is wrong" in str(one.error)


def test_a_launch_from_the_ui_has_its_request_and_its_retry(system: System, tmp_path: Path) -> None:
    run_id = system.launch("chore", chore(number=102, how="fail once", folder=str(tmp_path)))
    (request,) = until(lambda: [one for one in system.all() if one.root_run_id == run_id])
    one, (first, second) = system.ended(request.id)
    assert (one.status, one.requested_by, first.run_id) == (RequestStatus.COMPLETED, "dagster:ui", run_id)
    assert system.effects().count(102) == 1
    ordinary(system, str(second.run_id))


def test_a_sensors_runs_have_their_requests(system: System) -> None:
    system.execute("INSERT INTO toy_wishes VALUES (110), (112)")
    found = until(
        lambda: len(some := [one for one in system.all() if one.requested_by == "sensor:chore_sensor"]) == 2 and some
    )
    for waiting in found:
        one, _ = system.ended(waiting.id)
        assert one.status is RequestStatus.COMPLETED
        ordinary(system, str(one.run_id))


def test_a_backfill_of_three_partitions_has_three(system: System) -> None:
    answer = system.graphql(
        """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
             __typename ... on LaunchBackfillSuccess { backfillId } } }""",
        params={
            "selector": {
                "repositorySelector": {"repositoryLocationName": "kordant_jobs", "repositoryName": "__repository__"},
                "partitionSetName": "chore_premium_partition_set",
            },
            "partitionNames": ["2026-11-02", "2026-11-03", "2026-11-04"],
        },
    )["launchPartitionBackfill"]
    wanted = f"backfill:{answer['backfillId']}"
    found = until(lambda: len(some := [one for one in system.all() if one.requested_by == wanted]) == 3 and some)
    for waiting in found:
        one, _ = system.ended(waiting.id)
        assert one.status is RequestStatus.COMPLETED
        ordinary(system, str(one.run_id))
        assert one.payload["partition"]["job"] == "chore_premium"
    days = sorted(one.payload["partition"]["key"] for one in found)
    assert days == ["2026-11-02", "2026-11-03", "2026-11-04"]
    assert {4, 6, 8} <= set(system.effects())


@pytest.mark.slow  # the others show the system at work
def test_dagster_job_execute_has_its_request(system: System) -> None:
    done = system.dagster("job", "execute", "-m", SYSTEM.definitions, "-j", "chore")
    assert done.returncode == 0, done.stderr
    newest = max(system.all(), key=lambda one: one.created_at)
    assert (newest.status, newest.requested_by) == (RequestStatus.COMPLETED, "dagster:execute")
    ordinary(system, str(newest.run_id))


def test_terminate_in_the_ui_cancels_run_and_request(system: System, tmp_path: Path) -> None:
    run_id = system.launch("chore", chore(how="wait", folder=str(tmp_path)))
    until((tmp_path / "runs").exists)
    answer = system.graphql("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)
    assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess"
    until(lambda: system.run(run_id)["status"] == "CANCELED")
    (one,) = [one for one in system.all() if one.run_id == run_id]
    assert system.ended(one.id)[0].status is RequestStatus.CANCELLED


@pytest.mark.slow  # the others show the system at work
def test_a_cancelled_request_is_stopped_after_the_grace(system: System, tmp_path: Path) -> None:
    request_id = system.enqueue(how="wait", folder=str(tmp_path))
    until((tmp_path / "runs").exists)
    system.execute("UPDATE kordant.job_requests SET cancel_requested_at = now() WHERE id = :id", id=request_id)
    one, (attempt,) = system.ended(request_id)
    assert (one.status, attempt.outcome) == (RequestStatus.CANCELLED, Outcome.CANCELED)
    assert system.run(str(one.run_id))["status"] == "CANCELED"


def worker_of(folder: Path) -> int:
    return int(until(lambda: (folder / "runs").exists() and (folder / "runs").read_text()).split()[1])


def test_a_killed_worker_is_retried(system: System, tmp_path: Path) -> None:
    request_id = system.enqueue(number=120, how="wait", folder=str(tmp_path))
    os.kill(worker_of(tmp_path), signal.SIGKILL)
    (tmp_path / "go").touch()
    one, (killed, done) = system.ended(request_id, timeout_s=10)
    assert (killed.outcome, killed.cause, done.outcome) == (Outcome.FAILURE, Cause.KILLED, Outcome.SUCCESS)
    assert system.effects().count(120) == 1
    assert one.root_run_id == killed.run_id


def test_a_worker_paused_for_longer_than_its_lease_writes_nothing_when_it_wakes(system: System, tmp_path: Path) -> None:
    request_id = system.enqueue(number=122, how="pause once", folder=str(tmp_path))
    paused = worker_of(tmp_path)
    until(lambda: len(system.request(request_id)[1]) == 2, timeout_s=LEASE_S + 10)
    os.kill(paused, signal.SIGCONT)
    one, (lost, done) = system.ended(request_id)
    assert (one.status, lost.outcome, done.outcome) == (RequestStatus.COMPLETED, Outcome.LOST, Outcome.SUCCESS)
    until(lambda: not (Path("/proc") / str(paused)).exists())
    assert system.effects().count(122) == 1


@pytest.mark.slow  # the others show the system at work
def test_work_that_ended_while_no_daemon_was_there_is_not_done_again(system: System, tmp_path: Path) -> None:
    request_id = system.enqueue(number=124, how="wait", folder=str(tmp_path))
    worker_of(tmp_path)
    end_daemon(system)
    (tmp_path / "go").touch()
    one, _ = system.ended(request_id)
    run = str(one.run_id)
    until(lambda: system.run(run)["status"] == "SUCCESS")
    second = subprocess.Popen(
        [sys.executable, *system.stack.config.daemon_command()],
        env=system.environ,
        cwd=CHECKOUT,
    )
    try:
        assert system.ended(system.enqueue(number=126))[0].status is RequestStatus.COMPLETED
        assert [attempt.outcome for attempt in system.request(request_id)[1]] == [Outcome.SUCCESS]
        assert system.effects().count(124) == 1
    finally:
        second.terminate()
        assert second.wait(40) == 0


def test_of_two_daemons_one_acts_and_the_other_takes_over(system: System) -> None:
    end_daemon(system)
    command = [sys.executable, *system.stack.config.daemon_command()]
    logs = system.stack.config.state_dir / "logs"
    daemons = []
    for name in ("first", "second"):
        log = (logs / f"{name}.log").open("wb")
        daemons.append(subprocess.Popen(command, env=system.environ, cwd=CHECKOUT, stderr=log))
        word = "leads" if name == "first" else "stands by"
        until(lambda name=name, word=word: word in (logs / f"{name}.log").read_text())  # type: ignore[misc]
    first, second = daemons
    try:
        assert system.ended(system.enqueue(number=130))[0].status is RequestStatus.COMPLETED
        assert "leads" not in (logs / "second.log").read_text()
        first.kill()
        assert system.ended(system.enqueue(number=132))[0].status is RequestStatus.COMPLETED
        assert "leads" in (logs / "second.log").read_text()
    finally:
        first.kill()
        first.wait()
        second.terminate()
        assert second.wait(40) == 0


def test_nothing_is_left_running(system: System) -> None:
    until(lambda: not ask(socket_path(system.stack.config.state_dir), {"op": "ping"})["busy"])
    assert not system.all(statuses=(RequestStatus.RUNNING,))
