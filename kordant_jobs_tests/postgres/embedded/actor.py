"""A client in a process of its own, to be killed: takes a command a line, answers with a line of JSON.

`python -m kordant_jobs_tests.postgres.embedded.actor STATE_DIR SETTINGS [USER]`
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2

from kordant_jobs.errors import KordantError
from kordant_jobs.postgres.embedded import EmbeddedPostgres


class Client:
    """One method a command; what it returns is the answer."""

    def __init__(self, state: Path, settings: dict[str, str]) -> None:
        self.server = EmbeddedPostgres(state, settings=settings)

    def start(self) -> int | None:
        self.server.start()
        return self.server.status().pid

    def release(self) -> bool:
        return self.server.release()

    def stop(self) -> None:
        self.server.stop()

    def sql(self, *words: str) -> Any:
        with contextlib.closing(psycopg2.connect(self.dsn())) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(" ".join(words))
            return cursor.fetchone() if cursor.description else None

    def dsn(self) -> str:
        return self.server.url().replace("+psycopg2", "")

    def fork(self) -> int:
        """A child that does nothing for a minute and never execs."""
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        return child

    def spawn(self) -> int:
        """A program that got every descriptor that isn't close-on-exec."""
        return subprocess.Popen(["sleep", "60"], close_fds=False).pid

    def forked_release(self) -> bool:
        """Whether a forked child that leaves stops the server under its parent."""
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, b"1" if self.server.release() else b"0")
            os._exit(0)
        os.wait()
        return os.read(reader, 1) == b"1"


def become(user: str) -> None:
    """Drop root for good. The interpreter may be out of reach then, so the guard gets another."""
    uid, gid = (int(user), int(user)) if user.isdigit() else pwd.getpwnam(user)[2:4]
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if not os.access(sys.executable, os.X_OK):
        sys.executable = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    client = Client(Path(sys.argv[1]), json.loads(sys.argv[2]))
    if len(sys.argv) > 3:
        become(sys.argv[3])
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            answer: Any = {"answer": getattr(client, command)(*arguments)}
        except (KordantError, psycopg2.Error) as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
