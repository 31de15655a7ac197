"""Postgres fails over to its standby while requests come in and run: no acknowledged one is lost or run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.engine.store.requests import sync_catalogue
from kordant_jobs.lab.engine import statuses
from kordant_jobs.postgres import database
from kordant_jobs.store import migrate
from kordant_jobs_tests.engine.queue.ledger_worker import ROWS
from kordant_jobs_tests.engine.queue.toys import Mail
from kordant_jobs_tests.failover import primary_and_standby

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # two servers and a whole migration

EVERY_S = 0.02
CUT_OFF_S = 1.0
"""For so long the primary commits without its standby, before it dies."""


class Asking(threading.Thread):
    """Enqueues a request every 20 ms, whatever happens to the database, and remembers which were acknowledged."""

    def __init__(self, db: Engine) -> None:
        super().__init__(daemon=True)
        self._db = db
        self.acknowledged: list[int] = []
        self.failed: list[int] = []
        self.ended = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.ended.wait(EVERY_S):
            number += 1
            try:
                with self._db.begin() as connection:
                    enqueue(connection, Mail(number=number), requested_by="test", catalog=ROWS)
            except sa.exc.DBAPIError:
                self.failed.append(number)
            else:
                self.acknowledged.append(number)

    def wait_for(self, more: int) -> None:
        """Return when so many more were acknowledged."""
        enough, deadline = len(self.acknowledged) + more, time.monotonic() + 90
        while len(self.acknowledged) < enough:
            assert time.monotonic() < deadline, "no request is acknowledged"
            time.sleep(0.05)


@pytest.mark.parametrize("synchronous", [True, False])
def test_what_was_acknowledged_outlives_the_primary_if_its_standby_is_synchronous(synchronous: bool) -> None:
    """The second trial shows what the first rests on: without a synchronous standby the same fault loses requests."""
    with primary_and_standby(synchronous=synchronous) as pair:
        db = database.create_engine(pair.url(), pool_size=2)
        migrate.upgrade(db)
        with db.begin() as connection:
            connection.execute(sa.text("CREATE TABLE ledger (number int)"))
            sync_catalogue(connection, ROWS.values())
        with _worker(pair.url()) as tell:
            assert tell("start") == "started"
            asking = Asking(db)
            asking.start()
            asking.wait_for(100)
            pair.stop_sending()
            time.sleep(CUT_OFF_S)
            pair.kill("primary")
            pair.promote()
            asking.wait_for(100)
            asking.ended.set()
            asking.join(30)
            _until_all_are_done(db)
            assert tell("term") == "0"
        with db.connect() as connection:
            done = list(connection.execute(sa.text("SELECT number FROM ledger ORDER BY 1")).scalars())
        db.dispose()
    assert len(done) == len(set(done))
    assert set(done) <= {*asking.acknowledged, *asking.failed}
    lost = set(asking.acknowledged) - set(done)
    assert bool(lost) is not synchronous


@contextmanager
def _worker(url: str) -> Iterator[Callable[[str], str]]:
    """A process that dispatches and runs requests, killed with its children if the test fails."""
    command = [sys.executable, "-m", "kordant_jobs_tests.engine.queue.ledger_worker", url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True
    ) as process:

        def tell(word: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            print(word, file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        try:
            yield tell
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _until_all_are_done(db: Engine) -> None:
    deadline = time.monotonic() + 90
    while set(statuses(db)) != {RequestStatus.COMPLETED}:
        assert time.monotonic() < deadline, statuses(db)
        time.sleep(0.1)
