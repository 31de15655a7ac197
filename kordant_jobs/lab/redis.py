"""A Redis of one's own, on loopback unless an address is given. It keeps nothing on disk: restarted, it is empty."""

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kordant_jobs.errors import SetupError

PROGRAM = "redis-server"


@dataclass
class RedisServer:
    """A server in a folder; the same port after a restart."""

    folder: Path
    port: int = 0
    address: str = "127.0.0.1"
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{self.address}:{self.port}/0"

    def start(self) -> None:
        """Start it, empty; back when it answers.

        Raises:
            SetupError: there is no redis-server on this machine, or it does not answer.
        """
        if shutil.which(PROGRAM) is None:
            raise SetupError("there is no redis-server on this machine: apt-get install redis-server")
        if not self.port:
            with socket.create_server((self.address, 0)) as free:
                self.port = free.getsockname()[1]
        command = [PROGRAM, "--port", str(self.port), "--bind", self.address, "--protected-mode", "no", "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self.folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self._answers():
            if time.monotonic() > deadline:
                raise SetupError(f"redis-server does not answer on port {self.port}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server. Its data is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
            return True
        return False
