"""Two Postgres servers of a test's own on loopback: a primary, and a standby that is promoted when the primary dies."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from kordant_jobs.postgres.embedded.account import Account, server_account, server_environment
from kordant_jobs.postgres.embedded.binaries import usable_binaries
from kordant_jobs.postgres.embedded.folders import give

STANDBY = "standby"


@dataclass
class Pair:
    """The servers, by their ports and data folders."""

    programs: Path
    account: Account
    folder: Path
    ports: tuple[int, int]
    processes: dict[str, subprocess.Popen[bytes]]

    def url(self, name: str = "postgres") -> str:
        """The URL of whichever of the two accepts writes, as docs/deploy.md has it."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"postgresql://postgres@{hosts}/{name}?target_session_attrs=read-write"

    def run(self, *command: str) -> None:
        """Run a program of Postgres."""
        done = self.account.run([self.programs / command[0], *command[1:]], cwd=self.folder)
        assert done.returncode == 0, done.stdout

    def start(self, name: str, port: int, **settings: str) -> None:
        """Start a server, and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", "fsync": "off",
                   "max_connections": "100", **settings}  # fmt: skip
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        other = self.account.is_other
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.folder / name), *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=server_environment(), start_new_session=True,
                user=self.account.uid if other else None, group=self.account.gid if other else None,
                extra_groups=[] if other else None,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            with suppress(psycopg2.OperationalError):
                psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
                return
            assert self.processes[name].poll() is None, (self.folder / f"{name}.log").read_text()
            assert time.monotonic() < deadline, f"{name} does not answer"
            time.sleep(0.05)

    def stop_sending(self) -> None:
        """From now on the primary sends its log to nobody: what it commits alone is lost with it."""
        for pid in Path(f"/proc/{self.processes['primary'].pid}/task").glob("*/children"):
            for child in pid.read_text().split():
                if b"walsender" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGSTOP)
                    return
        raise AssertionError("no walsender runs")

    def kill(self, name: str) -> None:
        """Kill a server with all its processes, as the death of its machine does."""
        process = self.processes.pop(name)
        backends = psutil.Process(process.pid).children(recursive=True)  # each in a process group of its own
        process.kill()
        for one in backends:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(10)

    def promote(self) -> None:
        """Let the standby take over."""
        self.run("pg_ctl", "promote", "-w", "-D", STANDBY)


@contextmanager
def primary_and_standby(*, synchronous: bool) -> Iterator[Pair]:
    """A primary and its standby. `synchronous`: a commit is acknowledged when the standby has it, too."""
    account = server_account()
    folder = Path(tempfile.mkdtemp(prefix="kordant-failover-"))
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = (one.getsockname()[1], two.getsockname()[1])
    pair = Pair(programs=usable_binaries(account).folder, account=account, folder=folder, ports=ports, processes={})
    try:
        give(folder, account)
        pair.run("initdb", "-D", "primary", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        # By command line: a standby that inherited the name from the file would wait for itself once it is promoted.
        pair.start("primary", ports[0], **({"synchronous_standby_names": STANDBY} if synchronous else {}))
        source = f"host=127.0.0.1 port={ports[0]} user=postgres application_name={STANDBY}"
        pair.run("pg_basebackup", "-D", STANDBY, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", source)
        pair.start(STANDBY, ports[1])
        _wait_until_streaming(ports[0], "sync" if synchronous else "async")
        yield pair
    finally:
        for name in list(pair.processes):
            pair.kill(name)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_streaming(port: int, state: str) -> None:
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
    connection.autocommit = True
    deadline = time.monotonic() + 60
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = %s", [state])
            if cursor.fetchone():
                break
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.05)
    connection.close()
