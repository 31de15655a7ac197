"""Dagster's code server with fewer wake-ups: `python -m kordant_jobs.engine.dagster_private.code_server`, then as
`dagster`: `code-server start …`.

It is two processes, and the first tells the second every second that it still lives: 3 ms of CPU a second for a sign
that is believed for 30 s. The main threads wake ten times a second to look for a signal that would wake them anyway.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from dagster._cli import cli
from dagster._grpc import client, server

from kordant_jobs.errors import SetupError

HEARTBEAT_S = 8
"""Three of them fit into the 30 s after which the second process takes the first for dead."""
WAIT_S = 5.0


def _entry_point(executable: str) -> Sequence[str]:
    """How the second process is started: as the first one was."""
    return [executable, "-m", "kordant_jobs.engine.dagster_private.code_server"]


def main() -> None:
    """Run `dagster` with these waits."""
    changed = (
        (client, "CLIENT_HEARTBEAT_INTERVAL", HEARTBEAT_S),
        (importlib.import_module("grpc._common"), "MAXIMUM_WAIT_TIMEOUT", WAIT_S),
        (server, "get_python_environment_entry_point", _entry_point),
    )
    for module, name, value in changed:
        if not hasattr(module, name):
            raise SetupError(f"{module.__name__} has no {name}: install the locked Dagster and grpcio")
        setattr(module, name, value)
    sys.exit(cli())


if __name__ == "__main__":
    main()
