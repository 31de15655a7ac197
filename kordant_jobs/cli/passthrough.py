"""`kordant-jobs dagster …`: Dagster's own command line, told where this project's code and storage are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.dagster_home import prepare_dagster_home, prepare_storage
from kordant_jobs.cli.session import open_session
from kordant_jobs.cli.stack import running

TAKES_CODE = frozenset({"job", "schedule", "sensor", "asset"})
"""Groups of commands that load the project's code, by -m (in their own process) or -w (from a code server)."""

IN_ITS_OWN_PROCESS = (["job", "execute"], ["job", "print"], ["job", "scaffold_config"], ["asset", "materialize"])
"""Of those, commands that take no workspace."""

WHERE_GIVEN = frozenset({"-m", "--module-name", "-f", "--python-file", "-w", "--workspace", "--help", "-h"})


def with_code(arguments: Sequence[str], code_server: str | None) -> list[str]:
    """The command with the project's code in it, unless it says where from or takes none.

    What a daemon is to run (a backfill, a launch) must come from the code server that the daemon knows, when there
    is one: it would not find the code of this process.

    >>> with_code(["job", "execute", "-j", "x"], None)
    ['job', 'execute', '-m', 'kordant_jobs.definitions', '-j', 'x']
    >>> with_code(["run", "list"], None)
    ['run', 'list']
    """
    given = list(arguments)
    if len(given) < 2 or given[0] not in TAKES_CODE or WHERE_GIVEN & set(given):
        return given
    if code_server and given[:2] not in IN_ITS_OWN_PROCESS:
        where = ["-w", str(CHECKOUT / "workspace.yaml")]
    else:
        where = ["-m", "kordant_jobs.definitions"]
    return [*given[:2], *where, *given[2:]]


def run_dagster(arguments: Sequence[str]) -> int:
    """Run it and give its exit code.

    Raises:
        KordantError: the database or the master key is not to be had.
    """
    with open_session() as session:
        state = session.settings.state_dir
        home = prepare_dagster_home(CHECKOUT, state)
        prepare_storage(home, session.environ, state / "logs" / "dagster-storage.log")
        code_server = (running(state) or {}).get("code_server")
        environ = {
            "PYTHONWARNINGS": "ignore::UserWarning,ignore::FutureWarning",  # Dagster's, on `dagster` itself
            **session.environ,
            "KORDANT_CODE_SERVER_SOCKET": code_server or "",
        }
        command = [sys.executable, "-m", "dagster", *with_code(arguments, code_server)]
        return subprocess.run(command, env=environ, check=False).returncode
