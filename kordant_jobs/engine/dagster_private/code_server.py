"""Dagster's code server with fewer wake-ups and quick reloads: `python -m <app> code-server …`, and then what
`dagster code-server` takes.

It is two processes: the first answers, the second has the code loaded, and a reload is a new second one. Dagster has
the first tell the second every second that it still lives, 3 ms of CPU for a sign that is believed for 30 s, and both
main threads wake ten times a second to look for a signal that would wake them anyway. And a reload imports Dagster
and every library again, 3 s of CPU; here a process waits that has done so, and reads our own code only.
"""

import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dagster._cli import cli
from dagster._grpc import client, server
from dagster_shared.ipc import open_ipc_subprocess

from kordant_jobs.engine.system import System
from kordant_jobs.errors import SetupError

CODE_SERVER = "code-server"
"""The word that starts it on an application's command line."""
HEARTBEAT_S = 8
"""Three heartbeats fit into the 30 s after which the second process considers the first one dead."""
WAIT_S = 5.0
AHEAD = "wait-for-arguments"
AHEAD_AFTER_S = 10.0
"""Seconds between a reload and the start of the process for the next one, when the reload no longer needs the cores."""


class Ahead:
    """The second process for the next reload, started before the reload is requested."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._waiting: subprocess.Popen[bytes] | None = None

    def open(self, parts: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start this command: in the waiting process, if there is one and it waits for this command."""
        timer = threading.Timer(AHEAD_AFTER_S, self._start)
        timer.daemon = True
        timer.start()
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.poll() is not None or list(parts[:4]) != self.entry_point(sys.executable):
            return open_ipc_subprocess(parts, **options)
        with suppress(OSError):
            assert waiting.stdin is not None  # noqa: S101 - a pipe was asked for
            waiting.stdin.write(json.dumps(list(parts[4:])).encode() + b"\n")
            waiting.stdin.close()
            return waiting
        return open_ipc_subprocess(parts, **options)

    def _start(self) -> None:
        self._waiting = subprocess.Popen([*self.entry_point(sys.executable), AHEAD], stdin=subprocess.PIPE)

    def entry_point(self, executable: str) -> list[str]:
        """The command that starts the second process, the same as the first one's."""
        return [executable, "-m", self._app, CODE_SERVER]


def _wait_for_arguments(definitions: str) -> None:
    """Import all that the definitions import, forget our own modules, and run the command that arrives. Ends with the
    first process, when the pipe closes."""
    with suppress(Exception):  # the final load of the code reports what is wrong with it
        importlib.import_module(definitions)
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name in [name for name in sys.modules if name.partition(".")[0] in {"kordant_jobs", "kordant_jobs_tests"}]:
        del sys.modules[name]
    sys.argv[1:] = json.loads(line)


def serve(system: System, arguments: Sequence[str]) -> None:
    """Run `dagster` with these arguments and our heartbeat and reload; does not return.

    Raises:
        SetupError: Dagster or grpcio is another one than this was written for.
    """
    ahead = Ahead(system.app)
    changed = (
        (client, "CLIENT_HEARTBEAT_INTERVAL", HEARTBEAT_S),
        (importlib.import_module("grpc._common"), "MAXIMUM_WAIT_TIMEOUT", WAIT_S),
        (server, "get_python_environment_entry_point", ahead.entry_point),
        (server, "open_ipc_subprocess", ahead.open),
    )
    for module, name, value in changed:
        if not hasattr(module, name):
            raise SetupError(f"{module.__name__} has no {name}: install the locked Dagster and grpcio")
        setattr(module, name, value)
    sys.argv[1:] = arguments
    if sys.argv[1:] == [AHEAD]:
        _wait_for_arguments(system.definitions)
    sys.exit(cli())
