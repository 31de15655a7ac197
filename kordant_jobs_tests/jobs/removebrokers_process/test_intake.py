from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.adapters.brokers.mailbox import MaildirInbox
from kordant_jobs.jobs.removebrokers_process import intake
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import replies, requests
from kordant_jobs_tests.jobs.removals import add_brokers, add_profiled, ask, broker_row
from kordant_jobs_tests.jobs.removebrokers_process.conftest import AGENT, Desk

RECEIVED = "We have received your request. Your case number is PRV-77812."
DONE = "We have deleted your personal information from our systems."


def mail_of(text: str, number: int, *, to: str = "privacy-desk@kordant.example") -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = "privacy@b0.com", to, "Re: Request"
    mail["Message-ID"] = f"<{number}@b0.com>"
    mail.set_content(text)
    return mail.as_bytes()


def asked(desk: Desk, number: int) -> list[UUID]:
    """So many requests, each sent to a broker of its own."""
    brokers = add_brokers(desk.db, [broker_row(f"b{n}") for n in range(number)])
    made = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    return made


def test_mails_taken_together_move_their_requests_one_after_the_other(desk: Desk, tmp_path: Path) -> None:
    """A second mail goes on from where the first left it, one with only the case number is known by it, a copy counts
    once, and one of no request is put aside."""
    asked(desk, 2)
    with desk.db.connect() as connection:
        first, other = (row.id for row in sorted(requests.listed(connection), key=lambda row: str(row.broker)))
    address = AGENT.address_of(desk.row(first).address_token)
    mails = [
        mail_of(RECEIVED, 1, to=address),
        mail_of("Your case number is PRV-77812.\n\n" + DONE, 2),
        mail_of(RECEIVED, 1, to=address),
        mail_of("We have a new address for deliveries of paper.", 3),
        mail_of(RECEIVED.replace("PRV-77812", "Q-9"), 4, to=AGENT.address_of(desk.row(other).address_token)),
    ]
    (tmp_path / "new").mkdir()
    for number, content in enumerate(mails):
        (tmp_path / "new" / f"{number}").write_bytes(content)
    taken = intake.process_mailbox(MaildirInbox(tmp_path), db=desk.db, keyring=desk.keyring, now=lambda: desk.now)
    assert (taken.read, taken.moved, taken.repeated, taken.unmatched) == (5, 3, 1, 1)
    assert [desk.state(one)[0] for one in (first, other)] == ["completed", "acknowledged"]
    assert [one.name for one in (tmp_path / "unmatched").iterdir()] == ["3"]
    assert not list((tmp_path / "new").iterdir())
    with desk.db.connect() as connection:
        story = requests.story(connection, first)
    assert [one.matched_by for one in story.replies] == ["address", "case_number"]
    assert [one.to_state for one in story.events][-2:] == ["acknowledged", "completed"]


def test_a_mail_that_cannot_be_processed_is_put_aside_alone(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = asked(desk, 3)
    (tmp_path / "new").mkdir()
    for n, one in enumerate(made):
        content = mail_of(RECEIVED, n, to=AGENT.address_of(desk.row(one).address_token))
        (tmp_path / "new" / f"{n}").write_bytes(content)
    write = replies.write

    def refuse(connection: Connection, keyring: Keyring, keys: Any, fresh: list[Any]) -> Any:
        if any(one.request_id == made[1] for one in fresh):
            connection.execute(sa.text("SELECT 1 / 0"))
        return write(connection, keyring, keys, fresh)

    monkeypatch.setattr(replies, "write", refuse)
    taken = intake.process_mailbox(MaildirInbox(tmp_path), db=desk.db, keyring=desk.keyring, now=lambda: desk.now)
    assert (taken.read, taken.moved, taken.failed, taken.unmatched) == (3, 2, 1, 0)
    assert [desk.state(one)[0] for one in made] == ["acknowledged", "sent", "acknowledged"]
    assert [one.name for one in (tmp_path / "unmatched").iterdir()] == ["1"]


def test_a_batch_of_mails_costs_the_database_no_more_than_a_few(desk: Desk) -> None:
    made = asked(desk, 40)
    mails = [mail_of(RECEIVED, n, to=AGENT.address_of(desk.row(one).address_token)) for n, one in enumerate(made)]
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    sa.event.listen(desk.db, "before_cursor_execute", count)
    try:
        taken = intake.process_mails(mails, db=desk.db, keyring=desk.keyring, now=desk.now)
    finally:
        sa.event.remove(desk.db, "before_cursor_execute", count)
    assert all(one is not None and one.moved for one in taken)
    assert statements < len(mails) / 2
