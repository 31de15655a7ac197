"""The warm process's own ends: killed, told to stop, or becoming its successor. No run is lost in any of them."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kordant_jobs.engine.launcher.protocol import ask
from kordant_jobs.engine.launcher.warm import check_connections, check_threads, sockets
from kordant_jobs.errors import SetupError, TransientError
from kordant_jobs_tests.engine.launcher.conftest import MODULE, Site, alive, until

pytestmark = pytest.mark.slow  # seconds of imports a warm process: `pytest -m slow kordant_jobs_tests/engine`


EXTRA_APP = """
import sys
from dataclasses import replace
from kordant_jobs.engine.processes import main
from kordant_jobs_tests.engine.launcher.app import SYSTEM
sys.exit(main(replace(SYSTEM, app="extra_app", definitions="extra_definitions")))
"""


@pytest.fixture(scope="module")
def other(make_site: Callable[[], Site]) -> Site:
    return make_site()


def test_becoming_new_code_lets_go_of_no_run(other: Site, tmp_path: Path) -> None:
    extra = tmp_path / "extra_definitions.py"
    extra.write_text(f"from {MODULE} import defs\n", encoding="utf-8")
    (tmp_path / "extra_app.py").write_text(EXTRA_APP, encoding="utf-8")
    path = f"{other.environ['PYTHONPATH']}:{tmp_path}"
    warm = other.start_warm("extra_app", PYTHONPATH=path)
    run_id = other.run("wait_for_file", {"folder": str(tmp_path)})
    until((tmp_path / "waiting").exists)
    idle = until(lambda: len(found := other.ping()["idle"]) == 2 and found)

    extra.write_text("raise ValueError('half written')\n", encoding="utf-8")
    until(lambda: "cannot be imported" in (other.folder / "warm.log").read_text())
    assert set(other.ping()["idle"]) == set(idle)

    extra.write_text(f"from {MODULE} import defs  # new\n", encoding="utf-8")
    until(lambda: (found := other.ping().get("idle")) and not set(found) & set(idle))
    assert warm.poll() is None
    assert other.ping()["running"].keys() == {run_id}
    (tmp_path / "go").touch()
    assert other.end_of(run_id).outcome == "success"
    assert other.end_of(other.run("write", {"folder": str(tmp_path)})).outcome == "success"
    warm.terminate()
    assert warm.wait(20) == 0


def test_after_kill_9_nothing_goes_on_and_the_next_one_ends_the_runs(other: Site, tmp_path: Path) -> None:
    warm = other.start_warm()
    run_id = other.run("nap", {"folder": str(tmp_path), "stubborn": True})
    worker = int(until(lambda: (tmp_path / "napping").exists() and (tmp_path / "napping").read_text()))
    orphan = int((tmp_path / "orphan").read_text())
    warm.kill()
    until(lambda: not alive(worker), timeout_s=2)
    os.kill(orphan, signal.SIGKILL)  # in `up`, the supervisor of the warm process does this
    assert other.status(run_id) == "STARTED"
    other.start_warm()
    end = other.end_of(run_id)
    assert (end.outcome, end.cause) == ("lost", "lost")
    assert other.status(run_id) == "FAILURE"
    assert other.ping()["busy"] == 0


def test_asked_to_stop_it_lets_runs_end_and_takes_no_new_one(other: Site, tmp_path: Path) -> None:
    warm = other.processes[-1]
    short = other.run("wait_for_file", {"folder": str(tmp_path)})
    until((tmp_path / "waiting").exists)
    warm.terminate()
    with pytest.raises(TransientError, match=r"it is stopping|no warm process"):
        until(lambda: not other.run("write", {"folder": str(tmp_path)}))
    (tmp_path / "go").touch()
    assert warm.wait(20) == 0
    assert other.status(short) == "SUCCESS"
    assert not list((other.folder / "warm").iterdir())


def test_a_second_signal_cuts_the_grace_time_short_and_no_run_stays_started(other: Site, tmp_path: Path) -> None:
    warm = other.start_warm()
    run_id = other.run("nap", {"folder": str(tmp_path), "stubborn": False})
    until((tmp_path / "napping").exists)
    warm.terminate()
    until(lambda: ask_refused(other))
    warm.terminate()
    assert warm.wait(20) == 0
    assert other.status(run_id) == "FAILURE"
    assert not alive(int((tmp_path / "orphan").read_text()))


def ask_refused(site: Site) -> bool:
    try:
        ask(site.socket, {"op": "start", "run_id": "none"})
    except TransientError:
        return True
    return False


def test_what_a_fork_would_break_is_refused_in_one_line() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    with pytest.raises(SetupError, match=r"threads run after .* KORDANT_LAUNCHER=stock") as raised:
        check_threads()
    assert "\n" not in str(raised.value)
    go.set()
    thread.join()
    before = sockets()
    check_connections(before)
    with socket.socket(), pytest.raises(SetupError, match=r"is a connection opened while .* KORDANT_LAUNCHER=stock"):
        check_connections(before)
