"""What the warm process promises of a run: its output, its end, its limits, and that nothing of it is left."""

import os
import signal
from pathlib import Path

import pytest

from kordant_jobs.engine.launcher.protocol import ask
from kordant_jobs_tests.engine.launcher.conftest import Site, alive, until

pytestmark = pytest.mark.long  # a warm process, whose imports take seconds


def nap(site: Site, folder: Path, *, stubborn: bool = False) -> tuple[str, int, int]:
    """A run that naps, its process, and the daemon that it has left behind."""
    run_id = site.run("nap", {"folder": str(folder), "stubborn": stubborn})
    until((folder / "napping").exists)
    return run_id, int(until((folder / "napping").read_text)), int((folder / "orphan").read_text())


def test_a_run_is_an_ordinary_one_with_its_events_and_output(site: Site, tmp_path: Path) -> None:
    run_id = site.run("write", {"folder": str(tmp_path)})
    end = site.end_of(run_id)
    assert (end.outcome, end.cause, end.error) == ("success", None, None)
    assert end.cpu_s > 0
    assert end.peak_memory_mb > 10
    assert site.status(run_id) == "SUCCESS"
    kinds = [entry.dagster_event.event_type_value for entry in site.instance.all_logs(run_id) if entry.dagster_event]
    assert kinds[0] == "ENGINE_EVENT"
    assert {"PIPELINE_START", "LOGS_CAPTURED", "STEP_START", "STEP_SUCCESS"} <= set(kinds)
    assert kinds[-1] == "PIPELINE_SUCCESS"
    captured = next(
        entry.dagster_event.logs_captured_data
        for entry in site.instance.all_logs(run_id)
        if entry.dagster_event and entry.dagster_event.event_type_value == "LOGS_CAPTURED"
    )
    logs = site.folder / "storage" / run_id / "compute_logs"
    assert (logs / f"{captured.file_key}.out").read_text() == "said on stdout\n"
    assert "said by C on stderr\n" in (logs / f"{captured.file_key}.err").read_text()


def test_the_warm_up_leaves_no_run_behind(site: Site) -> None:
    assert not [run for run in site.instance.get_runs() if run.job_name == "warm_up"]


def test_from_the_answer_on_a_run_is_known_until_its_end_is(site: Site, tmp_path: Path) -> None:
    for _ in range(5):
        run_id = site.run("write", {"folder": str(tmp_path)})
        seen = [ask(site.socket, {"op": "status", "run_id": run_id})["state"]]
        while seen[-1] == "running":
            seen.append(ask(site.socket, {"op": "status", "run_id": run_id})["state"])
        assert set(seen[:-1]) <= {"running"}
        assert seen[-1] == "ended"
        assert site.status(run_id) == "SUCCESS"


def test_a_killed_worker_fails_its_run_at_once_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    run_id, worker, orphan = nap(site, tmp_path)
    assert alive(orphan)
    os.kill(worker, signal.SIGKILL)
    end = site.end_of(run_id, timeout_s=5)
    assert (end.outcome, end.cause) == ("failure", "killed")
    assert end.error
    assert "SIGKILL" in end.error
    assert site.status(run_id) == "FAILURE"
    assert "killed by signal 9 (SIGKILL)" in site.messages(run_id)
    run = site.instance.get_run_by_id(run_id)
    assert run
    assert run.tags["kordant/cause"] == "killed"
    assert not alive(orphan)


@pytest.mark.parametrize(
    ("kind", "cause", "limit"), [("wall", "timeout", 1.0), ("cpu", "cpu", 0.5), ("memory", "memory", 200.0)]
)
def test_a_limit_holds_for_the_whole_process_tree(site: Site, kind: str, cause: str, limit: float) -> None:
    run_id = site.run("use", {"kind": kind}, {cause: limit})
    end = site.end_of(run_id, timeout_s=60)
    assert (end.outcome, end.cause) == ("failure", cause)
    assert end.error
    assert f"limit of {limit:g} " in end.error
    assert end.error in site.messages(run_id)
    run = site.instance.get_run_by_id(run_id)
    assert run
    assert run.tags["kordant/cause"] == cause


@pytest.mark.parametrize(
    ("kind", "permanent", "retry_after_s", "error"),
    [("permanent", True, None, "KORDANT_X is wrong: set it right"), ("later", False, 17.5, "ask again later")],
)
def test_the_end_says_what_the_error_asked_for(
    site: Site, kind: str, permanent: bool, retry_after_s: float | None, error: str
) -> None:
    end = site.end_of(site.run("fail", {"kind": kind}))
    assert (end.outcome, end.cause, end.permanent, end.retry_after_s) == (
        "failure", "exception", permanent, retry_after_s,
    )  # fmt: skip
    assert end.error
    assert error in end.error


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_canceled_run_ends_in_time_even_when_it_ignores_the_signal(
    site: Site, tmp_path: Path, stubborn: bool
) -> None:
    run_id, worker, orphan = nap(site, tmp_path, stubborn=stubborn)
    run = site.instance.get_run_by_id(run_id)
    assert run
    site.instance.report_run_canceling(run)
    ask(site.socket, {"op": "stop", "run_id": run_id, "cause": "canceled", "grace_s": 1.0})
    assert site.end_of(run_id, timeout_s=10).outcome == "canceled"
    assert site.status(run_id) == "CANCELED"
    assert not alive(worker)
    assert not alive(orphan)


def test_the_socket_is_for_its_owner_only(site: Site) -> None:
    assert site.socket.stat().st_mode & 0o777 == 0o600
    assert len(os.fsencode(site.socket)) < 107


def test_nonsense_on_the_socket_is_refused_and_harms_no_run(site: Site, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(site.socket))
        client.sendall(b'not json\n{"op": "no such"}\n{"no": "op"}\n')
        lines = client.makefile("rb")
        assert all(b"refused" in lines.readline() for _ in range(3))
    assert site.end_of(site.run("write", {"folder": str(tmp_path)})).outcome == "success"
