"""Senders that are killed, or lose their lease: no mail is lost, and none goes out under another id."""

from __future__ import annotations

import mailbox
import os
import signal
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.mail import MaildirTransport
from kordant_jobs.app import SYSTEM
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.engine.queue import outcomes
from kordant_jobs.engine.run_side import database_of_run
from kordant_jobs.engine.store.leases import LeaseLost
from kordant_jobs.jobs.notifications_send import rules
from kordant_jobs.jobs.notifications_send.channel_senders import MARK_MAILS_EVERY
from kordant_jobs.jobs.notifications_send.job import JOBS
from kordant_jobs.ports import Delivery, MailTransport, OutgoingMail
from kordant_jobs.postgres import database
from kordant_jobs.settings import Settings
from kordant_jobs.store.notifications.tables import notification_outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.notifications_send.test_service import (
    alerted,
    mails_in,
    make_due,
    outbox_rows,
    send,
)


class KilledAfter:
    """Delivers into a maildir and is killed between the delivery of mail `count` and its mark."""

    def __init__(self, folder: Path, count: int) -> None:
        self.inner, self.left = MaildirTransport(folder), count

    def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
        for delivery in self.inner.deliver(mails):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            yield delivery


def killed_while_sending(database_url: str, keyring: Keyring, transport: MailTransport) -> None:
    """Run the sender in a process of its own, which does not survive it."""
    child = os.fork()
    if child == 0:
        try:
            send(database.create_engine(database_url), keyring, transport)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.parametrize("killed_at", [1, 30])
def test_kill_9_between_sending_and_marking_leaves_each_mail_once(
    db: Engine, database_url: str, keyring: Keyring, tmp_path: Path, killed_at: int
) -> None:
    alerted(db, keyring, 40)
    killed_while_sending(database_url, keyring, KilledAfter(tmp_path / "mails", killed_at))
    assert len(mails_in(tmp_path / "mails")) == killed_at
    transport = MaildirTransport(tmp_path / "mails")
    assert send(db, keyring, transport).claimed == 0, "the dead sender's lease still holds"
    make_due(db)
    summary = send(db, keyring, transport)
    assert len(mailbox.Maildir(tmp_path / "mails")) == 40
    assert {row.status for row in outbox_rows(db).values()} == {"sent"}
    marked = killed_at - 1 - (killed_at - 1) % MARK_MAILS_EVERY
    assert summary.possible_repeats == 40 - marked


@contextmanager
def as_run(url: str) -> Iterator[Engine]:
    """The engine as the ops of a run of the job have it."""
    db = database.create_engine(url)
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            run = instance.create_run_for_job(JOBS.plain)
            with database_of_run(SYSTEM, db, run, instance) as own:
                yield own
    finally:
        db.dispose()


@pytest.fixture
def long_lease(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's lease outlasts the test, however busy the machine is; `reap` ends it."""
    monkeypatch.setenv("KORDANT_LEASE_S", "300")


def reap(db: Engine) -> int:
    """What the dispatcher does once the lease of every run has ended; the number of runs that were lost."""
    with db.begin() as connection:
        return len(outcomes.reap_lost(connection, BY_NAME, now=datetime.now(UTC) + timedelta(seconds=301)))


def test_the_mails_of_a_killed_run_are_free_as_soon_as_its_own_lease_ends(
    db: Engine, database_url: str, keyring: Keyring, long_lease: None, tmp_path: Path
) -> None:
    alerted(db, keyring, 40)
    child = os.fork()
    if child == 0:
        try:
            with as_run(database_url) as own:
                send(own, keyring, KilledAfter(tmp_path / "mails", 30))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    transport = MaildirTransport(tmp_path / "mails")
    assert send(db, keyring, transport).claimed == 0, "the dead run's lease still holds"
    assert reap(db) == 1
    assert send(db, keyring, transport).sent >= 10
    assert len(mailbox.Maildir(tmp_path / "mails")) == 40
    assert {row.status for row in outbox_rows(db).values()} == {"sent"}


def test_a_run_that_lost_its_lease_while_it_sends_writes_nothing_more_and_no_mail_goes_out_under_another_id(
    db: Engine, database_url: str, keyring: Keyring, long_lease: None, tmp_path: Path
) -> None:
    alerted(db, keyring, 3)
    transport = MaildirTransport(tmp_path / "mails")

    class Slow:
        """While it sends, its run is taken for dead and another sender sends everything."""

        def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
            assert reap(db) == 1
            assert send(db, keyring, transport).sent == 3
            yield from transport.deliver(mails)

    with pytest.raises(LeaseLost), as_run(database_url) as own:
        send(own, keyring, Slow())
    assert {(row.status, row.attempts) for row in outbox_rows(db).values()} == {("sent", 2)}
    ids = [str(mail["Message-ID"]) for mail in mails_in(tmp_path / "mails")]
    assert len(ids) == len(set(ids)) == 3, "the maildir takes a Message-ID once"


def test_a_mail_that_kills_its_sender_every_time_is_given_up(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    _, (outbox_id,) = alerted(db, keyring)
    with db.begin() as connection:
        connection.execute(sa.update(notification_outbox).values(status="sending", attempts=rules.MAX_ATTEMPTS))
    make_due(db)
    assert send(db, keyring, MaildirTransport(tmp_path / "m")).dead == 1
    assert outbox_rows(db)[outbox_id].status == "dead"


def test_a_mail_that_kills_its_senders_takes_no_other_with_it(
    db: Engine, database_url: str, keyring: Keyring, tmp_path: Path
) -> None:
    _, ids = alerted(db, keyring, 5)

    class Poison:
        """Whoever delivers this mail dies of it."""

        def deliver(self, mails: Iterable[OutgoingMail], /) -> Generator[Delivery, None, None]:
            for mail in mails:
                if mail.id == ids[2]:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield from MaildirTransport(tmp_path / "m").deliver([mail])

    for _ in range(rules.MAX_ATTEMPTS):
        killed_while_sending(database_url, keyring, Poison())
        make_due(db)
    send(db, keyring, Poison())
    rows = outbox_rows(db)
    assert {one: rows[one].status for one in ids} == {one: "dead" if one == ids[2] else "sent" for one in ids}
    assert len(mails_in(tmp_path / "m")) == 4
