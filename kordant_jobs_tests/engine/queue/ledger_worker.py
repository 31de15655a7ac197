"""Dispatchers in processes of their own, to be killed: each request's effect is a row of a ledger without a key.

Run as `python -m kordant_jobs_tests.engine.queue.ledger_worker URL`; it forks one for every line `start`, and sends it
SIGKILL or SIGTERM for the lines `kill` and `term`, answering each with a line once that is done.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import sqlalchemy as sa

from kordant_jobs.engine.jobs import Backoff, RetryPolicy
from kordant_jobs.engine.queue.clock import DatabaseClock
from kordant_jobs.engine.queue.dispatch import Dispatcher, DispatchSettings
from kordant_jobs.lab.engine import Done, InlineRuns, RunContext, complete
from kordant_jobs.postgres import database
from kordant_jobs_tests.engine.queue.toys import mails

AT_ONCE = RetryPolicy(backoff=Backoff.FIXED, retries=100, first_s=0.01, jitter=0.0)
ROWS = mails(batch_size=20, concurrency=4, retries=AT_ONCE)


def send(work: RunContext) -> None:
    """Write the effects of ten requests and their completion in one fenced transaction, then of the next ten."""
    mine = work.requests()
    for some in (mine[:10], mine[10:]):
        time.sleep(0.005)
        with work.db.begin() as connection:
            rows = [{"n": one.payload["number"]} for one in some]
            connection.execute(sa.text("INSERT INTO ledger (number) VALUES (:n)"), rows)
            complete(connection, work.lease, [Done(request_id=one.id) for one in some], clock=work.clock)


def dispatch(url: str) -> None:
    """Dispatch until told to stop."""
    db = database.create_engine(url, pool_size=12)
    clock = DatabaseClock(db)
    runs = InlineRuns(db=db, handlers={"mail": send}, clock=clock, threads=True)
    settings = DispatchSettings(lease_s=0.6, tick_s=0.1, drain_s=5)
    dispatcher = Dispatcher(db, runs, runs, clock, worker="ledger", catalog=ROWS, settings=settings)
    runs.on_end = dispatcher.wake
    stop = threading.Event()

    def told(number: int, frame: object) -> None:
        stop.set()
        dispatcher.wake()

    signal.signal(signal.SIGTERM, told)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    dispatcher.run(stop)
    dispatcher.close()


def main(url: str) -> None:
    """Do what standard input says."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # a child must not miss one before it listens
    pid = 0
    for line in sys.stdin:
        match line.strip():
            case "start":
                pid = os.fork()
                if pid == 0:
                    dispatch(url)
                    os._exit(0)
                print("started", flush=True)
            case word:
                os.kill(pid, {"kill": signal.SIGKILL, "term": signal.SIGTERM}[word])
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
