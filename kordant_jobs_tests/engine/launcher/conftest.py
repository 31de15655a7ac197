"""A warm process of the test's own (or the module's), a Dagster instance beside it, and runs to hand it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._core.definitions.reconstruct import ReconstructableRepository

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.launcher.protocol import ask, socket_path
from kordant_jobs.engine.launcher.starter import WarmWatcher
from kordant_jobs.engine.runs import RunEnd
from kordant_jobs.errors import TransientError
from kordant_jobs.postgres import database
from kordant_jobs_tests.databases import copy_of
from kordant_jobs_tests.engine.launcher.app import SYSTEM

MODULE = SYSTEM.definitions


def until(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@dataclass
class Site:
    """A state folder with its database, where warm processes are started and stopped."""

    folder: Path
    environ: dict[str, str]
    instance: DagsterInstance
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    watcher: WarmWatcher | None = None
    ends: dict[str, RunEnd] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return socket_path(self.folder)

    def launch(self, app: str = SYSTEM.app, **environ: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "warm.log").open("ab")
        command = [sys.executable, "-m", app, "warm"]
        process = subprocess.Popen(command, env={**self.environ, **environ}, stdout=log, stderr=log, cwd=CHECKOUT)
        self.processes.append(process)
        return process

    def ready(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        until(lambda: self.ping().get("pid") == process.pid and self.ping()["idle"])
        self.watcher = self.watcher or WarmWatcher(self.socket)
        return process

    def start_warm(self, app: str = SYSTEM.app, **environ: str) -> subprocess.Popen[bytes]:
        return self.ready(self.launch(app, **environ))

    def ping(self) -> dict[str, Any]:
        try:
            return ask(self.socket, {"op": "ping"}, timeout_s=30)
        except TransientError:
            return {}

    def make_run(self, op: str, config: dict[str, Any], tags: dict[str, str] | None = None) -> DagsterRun:
        recon = ReconstructableRepository.for_module(MODULE, "defs").get_reconstructable_job(f"{op}_job")
        return self.instance.create_run_for_job(
            recon.get_definition(),
            run_config={"ops": {op: {"config": config}}},
            tags=tags,
            job_code_origin=recon.get_python_origin(),
        )

    def run(self, op: str, config: dict[str, Any], limits: dict[str, float] | None = None) -> str:
        run = self.make_run(op, config)
        assert ask(self.socket, {"op": "start", "run_id": run.run_id, "limits": limits or {}}) == {"ok": True}
        return run.run_id

    def end_of(self, run_id: str, timeout_s: float = 60) -> RunEnd:
        def look() -> RunEnd | None:
            assert self.watcher
            self.ends.update({end.run_id: end for end in self.watcher.ended()})
            return self.ends.get(run_id)

        found: RunEnd = until(look, timeout_s)
        return found

    def status(self, run_id: str) -> str:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run.status.value

    def messages(self, run_id: str) -> str:
        return json.dumps([entry.message for entry in self.instance.all_logs(run_id)])

    def close(self) -> None:
        if self.watcher:
            self.watcher.close()
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(20)


@pytest.fixture(scope="module")
def make_site(
    admin_url: str, template: str, served_at: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Site]]:
    """Sites on databases of their own."""
    after = ExitStack()

    def make() -> Site:
        name = after.enter_context(copy_of(admin_url, template))
        folder = tmp_path_factory.mktemp("site")
        url = served_at(name)
        environ = {
            **os.environ,
            "KORDANT_STATE_DIR": str(folder),
            "KORDANT_DATABASE_URL": url,
            "KORDANT_DAGSTER_URL": database.dagster_url(url),
            "KORDANT_LAUNCHER": "warm",
            "KORDANT_WARM_CHILDREN": "2",
            "KORDANT_WARM_GRACE_S": "5",
            "DAGSTER_HOME": str(folder),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": str(CHECKOUT),
        }
        (folder / "dagster.yaml").write_bytes((CHECKOUT / "dagster.yaml").read_bytes())
        before = {name: os.environ.get(name) for name in environ}
        os.environ.update(environ)
        try:
            instance = dagster_private.open_instance_with_tables(folder)
        finally:
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value
        after.callback(dagster_private.pool_of(instance).dispose)
        return after.enter_context(closing(Site(folder=folder, environ=environ, instance=instance)))

    with after:
        yield make


@pytest.fixture(scope="module")
def site(make_site: Callable[[], Site]) -> Site:
    """A site whose warm process runs."""
    made = make_site()
    made.start_warm()
    return made
