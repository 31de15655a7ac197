"""`kordant-jobs dagster …`: Dagster's own command line, configured for this project's code and storage."""

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.dagster_home import WORKSPACE, prepare_dagster_home, prepare_storage
from kordant_jobs.cli.output import err
from kordant_jobs.cli.session import open_session
from kordant_jobs.cli.stack import running
from kordant_jobs.triggers import reloader

TAKES_CODE = frozenset({"asset", "definitions", "dev", "job", "schedule", "sensor"})
"""Commands that load the project's code, by -m (in their own process) or -w (from a code server)."""

IN_ITS_OWN_PROCESS = (["job", "execute"], ["job", "print"], ["job", "scaffold_config"], ["asset", "materialize"])
"""Commands among these that accept no workspace."""

OWN_CODE = frozenset({"definitions", "dev"})
"""Commands that always load the code themselves."""

WHERE_GIVEN = frozenset({"-m", "--module-name", "-f", "--python-file", "-w", "--workspace", "--help", "-h"})


def with_code(arguments: Sequence[str], workspace: str | None) -> list[str]:
    """The command with the project's code added, unless it names code itself or needs none.

    A command for a daemon (a backfill, a launch) must use the daemon's code server, when there is one: the daemon could
    not find the code of this process.

    >>> with_code(["job", "execute", "-j", "x"], None)
    ['job', 'execute', '-m', 'kordant_jobs.definitions', '-j', 'x']
    >>> with_code(["dev", "-p", "3001"], None)
    ['dev', '-m', 'kordant_jobs.definitions', '-p', '3001']
    >>> with_code(["run", "list"], None)
    ['run', 'list']
    """
    given = list(arguments)
    words = 1 if given[:1] == ["dev"] else 2
    if len(given) < words or given[0] not in TAKES_CODE or WHERE_GIVEN & set(given):
        return given
    if workspace and given[:2] not in IN_ITS_OWN_PROCESS and given[0] not in OWN_CODE:
        where = ["-w", workspace]
    else:
        where = ["-m", "kordant_jobs.definitions"]
    return [*given[:words], *where, *given[words:]]


def run_dagster(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code.

    Raises:
        KordantError: the database or the master key is not available.
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
        if code_server is None:
            environ["KORDANT_LAUNCHER"] = "stock"  # no `up` serves the queue: Dagster's own daemon may, as in `dev`
            reloader.prepare(session.server.url, state, err.print)  # nor has it made the rows of schedules
        workspace = str(home / WORKSPACE) if code_server else None
        command = [sys.executable, "-m", "dagster", *with_code(arguments, workspace)]
        return _run(command, environ)


def _run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run it until it ends. A terminal's Ctrl-C reaches it directly; a SIGTERM to this process is passed on."""
    stop = threading.Event()
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: stop.set()),
    }  # before it starts: a shell's '&' leaves SIGINT ignored, and what is ignored is inherited
    try:
        with subprocess.Popen(command, env=environ) as child:
            while (code := _ended(child)) is None:
                if stop.is_set():
                    child.send_signal(signal.SIGINT)  # Dagster's commands end their own children then
                    stop.clear()
            return code
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _ended(child: subprocess.Popen[bytes]) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return child.wait(0.2)
    return None
