"""The processes of a system, as its application module starts them: `python -m <app> daemon | warm | host | …`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kordant_jobs import tracing
from kordant_jobs.engine.system import System
from kordant_jobs.errors import KordantError

USAGE = "give one of: daemon WORKSPACE.yaml | warm | host | code-server start …"


def main(system: System, arguments: Sequence[str] | None = None) -> int:
    """Run the process that the first argument names. Returns its exit code; 1, after one line of text, when it cannot
    work."""
    word, *rest = list(sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        match word:
            case "daemon" if len(rest) == 1:
                return _daemon(system, rest[0])
            case "warm":
                from kordant_jobs.engine.launcher.warm import Warm

                return Warm(system).run()
            case "host":
                from kordant_jobs.engine.remote.host import Host

                return Host(system).run()
            case "code-server" if rest:
                from kordant_jobs.engine.dagster_private.code_server import serve

                serve(system, rest)
    except KordantError as error:
        sys.stderr.write(f"kordant-jobs: {error}\n")
        return 1
    sys.stderr.write(f"{USAGE}\n")
    return 2


def _daemon(system: System, workspace: str) -> int:
    from kordant_jobs.engine.daemon.process import run

    code = run(system, str(Path(workspace).absolute()))
    tracing.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is closed; taking the interpreter apart would be 2 s of CPU that the next leader can use
