"""Runs jobs in forked children, so that a test can kill one: python -m …forking, then a job's name a line.

Prints the child's pid, and `ended CODE` when it is gone. The children are what Dagster's own run worker is: a process
that executes a job on the instance that DAGSTER_HOME names. Everything is imported and warmed up before the first
fork, as the engine's own warm process does it, so that a child's time is the job's.
"""

from __future__ import annotations

import os
import sys

import dagster as dg

from kordant_jobs.app import SYSTEM
from kordant_jobs.engine.launcher.warm import prepare


def _run(job: dg.JobDefinition, instance: dg.DagsterInstance) -> int:
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    return 0 if result.success else 1


def main() -> None:
    """Serve until standard input ends."""
    instance = prepare(SYSTEM)
    from kordant_jobs.definitions import defs  # once prepared: NumPy may start no thread

    print("ready", flush=True)
    for line in sys.stdin:
        job = defs.resolve_job_def(line.strip())
        pid = os.fork()
        if pid == 0:
            code = 2
            try:
                code = _run(job, instance)
            finally:
                os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
