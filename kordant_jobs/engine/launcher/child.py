"""The life of a forked child: connect, report that it is ready, wait for an order, run one run, report its end, exit.

With a `fail` order a child ends another process's run, and then waits for the next order.
"""

import gc
import json
import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, NoReturn

import sqlalchemy as sa
from dagster import DagsterEventType, DagsterInstance

from kordant_jobs import tracing
from kordant_jobs.engine import dagster_private, tree
from kordant_jobs.engine.failure import Failure, failure_of, failure_of_run
from kordant_jobs.engine.launcher.protocol import encode
from kordant_jobs.engine.run_side import SHOW_INTERRUPTIONS

OUTCOMES = {
    DagsterEventType.RUN_SUCCESS: "success",
    DagsterEventType.RUN_FAILURE: "failure",
    DagsterEventType.RUN_CANCELED: "canceled",
}


def live(parent: int, control: socket.socket, instance: DagsterInstance, engines: Sequence[sa.Engine]) -> NoReturn:
    """The main function of a child, from the fork on. Never returns."""
    code = 1
    try:
        _become_a_child(parent)
        for engine in engines:
            _connect(engine)
        control.sendall(encode({"ready": True}))
        with control.makefile("rb") as orders:
            code = _serve(orders, control, instance, dagster_private.pool_of(instance))
    except SystemExit:
        code = 0
    except BaseException:  # noqa: BLE001 - the last frame of the process: no frame above could handle it
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become_a_child(parent: int) -> None:
    """Give the child a session, signals and random numbers of its own, let it die with its parent, and let it adopt
    orphans below it."""
    os.setsid()
    tree.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    tree.adopt_orphans()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.set_threshold(20_000, 20, 50)  # a short run ends before the first collection
    random.seed()
    if numbers := sys.modules.get("numpy.random"):  # NumPy loads it when it is first used, which takes 20 ms
        numbers.seed(int.from_bytes(os.urandom(4), "little"))


def _connect(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))


def _serve(orders: Any, control: socket.socket, instance: DagsterInstance, engine: sa.Engine) -> int:
    while line := orders.readline():
        order = json.loads(line)
        if "fail" not in order:
            return _run(order, control, instance, engine)
        try:
            status = dagster_private.fail(instance, order["fail"], order["message"], order["tags"])
            dagster_private.flush(engine)
        except Exception as error:  # noqa: BLE001 - reported to the parent, which tries again
            control.sendall(encode({"not_failed": order["fail"], "error": type(error).__name__}))
        else:
            control.sendall(encode({"failed": order["fail"], "status": status}))
    return 0


def _run(order: dict[str, Any], control: socket.socket, instance: DagsterInstance, engine: sa.Engine) -> int:
    outcome, failure = "failure", None
    interrupted = ended = False
    SHOW_INTERRUPTIONS.set(True)
    with dagster_private.capture_interrupts():
        try:
            for event in dagster_private.execute(instance, order["run_id"]):
                if event.event_type == DagsterEventType.STEP_FAILURE:
                    failure = failure_of(event)
                elif event.event_type in OUTCOMES:
                    outcome = OUTCOMES[event.event_type]
                    ended = True
                    if event.event_type == DagsterEventType.RUN_FAILURE:
                        failure = failure_of_run(event, failure)
                        interrupted = failure.interrupted
        except (KeyboardInterrupt, dagster_private.DagsterExecutionInterruptedError):
            interrupted = True
        except Exception as error:  # noqa: BLE001 - Dagster has written it to the event log; the run has failed
            traceback.print_exc()
            failure = Failure(error=f"{type(error).__name__} outside the job's own code: see the run's event log")
    failure = failure or Failure(error="the run ended without saying how")
    if not ended:
        dagster_private.end_if_unfinished(instance, order["run_id"], failure.error)
    dagster_private.flush(engine)
    said = replace(failure, interrupted=interrupted) if outcome == "failure" else Failure(error="")
    control.sendall(encode({"outcome": outcome, **asdict(said)}))
    if not interrupted:
        tracing.flush()
    return 0 if outcome == "success" else 1
