"""The processes of `up`: they answer, they come back, and they go."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from kordant_jobs.app import SYSTEM
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli import readiness, stack
from kordant_jobs.cli.dagster_home import prepare_storage
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.settings import Settings

pytestmark = pytest.mark.long

DEFINITIONS = """
import os, time
import dagster as dg

@dg.op
def nap(context):
    open(os.environ["KORDANT_TEST_NAP"], "w").close()
    time.sleep(600)

@dg.job(executor_def=dg.in_process_executor)
def nap_job():
    nap()

defs = dg.Definitions(jobs=[nap_job])
"""

LAUNCH = """mutation { launchRun(executionParams: {runConfigData: "{}", selector: {
  repositoryLocationName: "kordant_jobs", repositoryName: "__repository__", jobName: "nap_job"
}}) { __typename } }"""


def until(condition: Callable[[], object], timeout_s: float = 60) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def left(state: Path) -> list[str]:
    """The command lines of processes that have this state folder in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(state) in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def environ_of(pid: int) -> bytes:
    """The environment that a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dagster instance on SQLite, its tables made."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    prepare_storage(folder, {**os.environ, "KORDANT_DAGSTER_URL": ""}, folder / "storage.log")
    return folder


@pytest.fixture
def config(tmp_path: Path, home: Path) -> StackConfig:
    """A checkout of our own: the workspace file of the project, a Dagster instance on SQLite, one job."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "workspace.yaml").write_bytes((CHECKOUT / "workspace.yaml").read_bytes())
    (checkout / "dagster.yaml").write_bytes((home / "dagster.yaml").read_bytes())
    shutil.copytree(home, tmp_path / "state" / "dagster")
    (checkout / "tiny_definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    environ = {
        **os.environ,
        "KORDANT_LAUNCHER": "stock",  # SQLite, and no Postgres, is enough for what is tested here
        "KORDANT_TEST_NAP": str(tmp_path / "napping"),
        "PYTHONPATH": str(checkout),
    }
    return StackConfig(
        checkout=checkout,
        state_dir=tmp_path / "state",
        environ=environ,
        web_port=readiness.free_port(3900),
        system=replace(SYSTEM, definitions="tiny_definitions"),
    )


def test_all_parts_answer_come_back_after_a_crash_and_leave_nothing(
    config: StackConfig, settings: Settings, tmp_path: Path
) -> None:
    said: list[str] = []
    stop = threading.Event()
    with socket.socket() as probe:  # any port: a wanted one would be others' too
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    public = {name: os.environ[name] for name in ("KORDANT_DATABASE_URL", "KORDANT_MASTER_KEY", "KORDANT_STATE_DIR")}
    environ = {**config.environ, **public, "KORDANT_PUBLIC_URL": "https://k.example"}
    config = replace(config, environ=environ, public_port=port)
    running = stack.Stack(config, said.append)
    with running:
        url = running.urls["Dagster"]
        assert url.startswith("http://127.0.0.1:")
        assert running.graphql_url == f"{url}/graphql"
        assert httpx.get(f"{url}/server_info", timeout=10).status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=10).text == "ok"
        assert httpx.get(f"http://127.0.0.1:{port}/reports/x.pdf?expires=1", timeout=10).status_code == 404
        with pytest.raises(PermanentError, match=f"already running .*{os.getpid()}.*{url}"):
            stack.Stack(config).start()

        holders = {name for name, pid in running.pids().items() if b"KORDANT_MASTER_KEY=" in environ_of(pid)}
        assert holders == {"code-server", "pages"}, "the UI and the daemon open nothing that is sealed"

        launched = httpx.post(running.graphql_url, json={"query": LAUNCH}, timeout=30).json()
        assert launched["data"]["launchRun"]["__typename"] == "LaunchRunSuccess"
        assert until((tmp_path / "napping").exists)

        watcher = threading.Thread(target=running.wait, args=(stop,), daemon=True)
        watcher.start()
        crashed = running.pids()["daemon"]
        os.kill(crashed, signal.SIGKILL)
        assert until(lambda: running.pids().get("daemon") not in {None, crashed})
        assert any("the daemon ended with code" in words and "in 0 s" in words for words in said), said
        stop.set()
        watcher.join()
        running.stop(grace_s=2)  # the run would nap for ten minutes
    assert until(lambda: left(config.state_dir) == [], timeout_s=1), left(config.state_dir)
    assert stack.running(config.state_dir) is None


def test_a_start_that_is_stopped_from_another_thread_ends_at_once_and_leaves_nothing(
    config: StackConfig, settings: Settings
) -> None:
    starting = stack.Stack(config)
    with ThreadPoolExecutor(1) as beside:
        started = beside.submit(starting.start)
        assert until(lambda: "webserver" in starting.pids())
        starting.stop(grace_s=2)
        with pytest.raises(TransientError, match="stopped while it started"):
            started.result(timeout=20)
    assert until(lambda: left(config.state_dir) == [], timeout_s=1), left(config.state_dir)


SCRIPT = """
import os, sys, threading
from pathlib import Path
from kordant_jobs.cli import readiness, stack
from kordant_jobs.cli.dagster_home import prepare_storage
from kordant_jobs.cli.parts import StackConfig
checkout, state = map(Path, sys.argv[1:])
config = StackConfig(
    checkout=checkout, state_dir=state, environ=os.environ, web_port=3000, webserver=False, daemon=False
)
with stack.Stack(config):
    print("up", flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def killed(config: StackConfig) -> subprocess.Popen[str]:
    """A process that runs a stack and was killed with -9."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, config.checkout, config.state_dir],
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env={**config.environ, "PYTHONPATH": f"{CHECKOUT}:{config.checkout}"},
    )
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    assert left(config.state_dir)
    process.kill()
    process.communicate()
    return process


def test_after_kill_9_the_parts_end_and_the_next_start_waits_for_them(
    config: StackConfig, killed: subprocess.Popen[str]
) -> None:
    said: list[str] = []
    alone = StackConfig(**{**vars(config), "webserver": False, "daemon": False})
    with stack.Stack(alone, said.append):
        assert said == ["the last one was killed and its parts are still ending; waiting for them"]
        ours = left(config.state_dir)
    assert ours
    assert left(config.state_dir) == []


@pytest.mark.slow
def test_definitions_that_do_not_load_are_one_line_with_the_log(config: StackConfig) -> None:
    (config.checkout / "tiny_definitions.py").write_text("raise ValueError('no such tier')\n", encoding="utf-8")
    alone = StackConfig(**{**vars(config), "daemon": False})
    with pytest.raises(PermanentError) as raised, stack.Stack(alone):
        pass
    assert "no such tier" in str(raised.value)
    assert str(config.state_dir / "logs" / "code-server.log") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert left(config.state_dir) == []


@pytest.mark.slow
def test_a_part_that_ends_at_once_is_one_line_with_the_log(config: StackConfig) -> None:
    (config.checkout / "workspace.yaml").write_text("nonsense: 1\n", encoding="utf-8")
    with pytest.raises(PermanentError, match=r"ended with code 1 .*: see .*\.log"), stack.Stack(config):
        pass
    assert left(config.state_dir) == []


def test_the_next_free_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < readiness.free_port(port) <= port + readiness.PORTS_TRIED
