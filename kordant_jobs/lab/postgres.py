"""A Postgres of one's own on a TCP address, for trials that need a network between it and its clients."""

import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kordant_jobs.errors import SetupError
from kordant_jobs.postgres.embedded.account import Account, server_account, server_environment
from kordant_jobs.postgres.embedded.binaries import Binaries, usable_binaries
from kordant_jobs.postgres.embedded.folders import give

READY_WITHIN_S = 60.0


@dataclass
class TcpPostgres:
    """A server with its data in a folder; the same port after a restart. Everyone who reaches the address may
    connect, so it must be one of this machine only."""

    folder: Path
    address: str
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    _account: Account = field(default_factory=server_account)
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def url(self, database: str = "postgres") -> str:
        """Its URL."""
        return f"postgresql://postgres@{self.address}:{self.port}/{database}"

    def start(self) -> None:
        """Start it, made first if it is not there; back when it answers.

        Raises:
            SetupError: it cannot be made, or does not answer.
        """
        programs: Binaries = usable_binaries(self._account)
        data = self.folder / "data"
        if not data.exists():
            give(self.folder, self._account)
            words = ("-D", data.name, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            done = self._account.run([programs.folder / "initdb", *words], cwd=self.folder)
            if done.returncode:
                raise SetupError(f"initdb failed in {self.folder}: {done.stdout.strip()[-200:]}")
            with (data / "pg_hba.conf").open("a", encoding="ascii") as rules:
                rules.write("host all postgres samenet trust\n")
        if not self.port:
            with socket.create_server((self.address, 0)) as free:
                self.port = free.getsockname()[1]
        options = {"listen_addresses": self.address, "port": str(self.port), "unix_socket_directories": "",
                   "max_connections": "300", **self.settings}  # fmt: skip
        other = self._account.is_other
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(programs.folder / "postgres"), "-D", str(data)]
                + [word for name, value in options.items() for word in ("-c", f"{name}={value}")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=server_environment(), start_new_session=True,
                user=self._account.uid if other else None, group=self._account.gid if other else None,
                extra_groups=() if other else None,
            )  # fmt: skip
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SetupError(f"Postgres does not answer on {self.address}:{self.port}: see {self.folder / 'log'}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it under everybody: their connections break."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # 'fast': aborts what runs
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        import psycopg2

        with suppress(psycopg2.OperationalError):
            psycopg2.connect(host=self.address, port=self.port, user="postgres", dbname="postgres").close()
            return True
        return False
