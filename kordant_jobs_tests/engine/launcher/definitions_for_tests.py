"""Jobs that do what runs do at their worst. Told what to do through the run's config."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg

from kordant_jobs.engine.failure import RETRY_AFTER
from kordant_jobs.errors import SettingsError


@dg.op(config_schema={"folder": str})
def write(context: dg.OpExecutionContext) -> None:
    print("said on stdout")
    os.write(2, b"said by C on stderr\n")
    Path(context.op_config["folder"], context.run_id).write_text("done")


@dg.op(config_schema={"folder": str, "stubborn": bool})
def nap(context: dg.OpExecutionContext) -> None:
    """Leave a daemon behind: a grandchild in a session of its own, whose parent has ended."""
    if context.op_config["stubborn"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    folder = Path(context.op_config["folder"])
    say = f"open({str(folder / 'orphan')!r}, 'w').write(str(os.getpid()))"
    fork = f"import os, time\nif os.fork(): os._exit(0)\nos.setsid()\n{say}\n"
    subprocess.run([sys.executable, "-S", "-c", fork + "time.sleep(600)"], check=True)
    while not (folder / "orphan").exists() or not (folder / "orphan").read_text():
        time.sleep(0.01)
    (folder / "napping").write_text(str(os.getpid()))
    time.sleep(600)


@dg.op(config_schema={"kind": str})
def use(context: dg.OpExecutionContext) -> None:
    """Use a lot, in a child process."""
    scripts = {
        "cpu": "while True: pass",
        "memory": "import time; held = bytearray(300 << 20); time.sleep(600)",
        "wall": "import time; time.sleep(600)",
    }
    subprocess.run([sys.executable, "-S", "-c", scripts[context.op_config["kind"]]], check=False)


@dg.op(config_schema={"kind": str})
def fail(context: dg.OpExecutionContext) -> None:
    if context.op_config["kind"] == "permanent":
        raise SettingsError("KORDANT_X is wrong: set it right")
    raise dg.Failure("ask again later", metadata={RETRY_AFTER: 17.5})


@dg.op(config_schema={"folder": str})
def wait_for_file(context: dg.OpExecutionContext) -> None:
    folder = Path(context.op_config["folder"])
    (folder / "waiting").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(0.02)


def _job(op: dg.OpDefinition) -> dg.JobDefinition:
    @dg.job(name=f"{op.name}_job", executor_def=dg.in_process_executor, tags={"of": "the job"})
    def made() -> None:
        op()

    return made


defs = dg.Definitions(jobs=[_job(op) for op in (write, nap, use, fail, wait_for_file)])
