"""Runs jobs in forked children, so that a test can kill one: python -m …forking, then a job's name a line.

Prints the child's pid, and `ended CODE` when it is gone. The children are what Dagster's own run worker is: a process
that executes a job on the instance that DAGSTER_HOME names. Nothing here starts a thread before it forks.
"""

from __future__ import annotations

import os
import sys

import dagster as dg

from kordant_jobs.definitions import defs


def _run(job: str) -> int:
    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
        return 0 if result.success else 1


def main() -> None:
    """Serve until standard input ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 2
            try:
                code = _run(line.strip())
            finally:
                os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
