"""News of removal requests: one digest a day by default, apart from alerts."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.mail.maildir import MaildirTransport
from kordant_jobs.engine import Progress
from kordant_jobs.jobs.notifications_send import service
from kordant_jobs.jobs.notifications_send.channel_senders import mail_sender
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.jobs.notifications_send.news import write_removal_message
from kordant_jobs.jobs.removebrokers_process import intake
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import moves, notices, requests
from kordant_jobs.store.removals.links import done_link
from kordant_jobs_tests.jobs.removals import NOW, add_brokers, add_profiled, ask, broker_row


def test_two_events_of_a_day_are_one_mail_that_says_whose_turn_it_is(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    brokers = add_brokers(
        db,
        [
            broker_row(key, opt_out_url=f"https://{key}.com/o", recipe={"prefill": f"https://{key}.com/o?n={{name}}"})
            for key in ("spoken", "other")
        ],
    )
    person = add_profiled(db, keyring, contact="ann@mail.example")
    made = ask(db, person, list(brokers.values()))
    rows = [
        {"id": str(made[0]), "from_state": "draft", "to_state": "needs_user_action", "reason": "form_for_a_person",
         "action": "ask_user"},
        {"id": str(made[1]), "from_state": "draft", "to_state": "queued", "reason": "asked", "action": "request"},
    ]  # fmt: skip
    with db.begin() as connection:
        moves.apply(connection, moves.frame_of(rows), now=NOW, actor="test")
    for before, after in (("queued", "sent"), ("sent", "completed")):
        action = "tell_user" if after == "completed" else "sent"
        row = {"id": str(made[1]), "from_state": before, "to_state": after, "reason": "x", "action": action}
        with db.begin() as connection:
            moves.apply(connection, moves.frame_of([row]), now=NOW, actor="test")
    sender = mail_sender(
        MaildirTransport(tmp_path),
        MailFrom(header="Kordant <alerts@kordant.example>", removals=partial(done_link, keyring, "https://us.example")),
    )

    def send(later: timedelta) -> service.SendSummary:
        with db.begin() as connection:
            now = outbox.now(connection) + later
            if later:
                connection.execute(sa.text("UPDATE kordant.notification_outbox SET due_at = now()"))
        with Progress(db, "test") as progress:
            return service.send_due(
                db=db, keyring=keyring, senders=[sender], limit=10, progress=progress, clock=lambda: now
            )

    assert send(timedelta(0)).held == 2
    assert send(timedelta(days=1, hours=1)).sent == 2
    [mail] = [message_from_bytes(path.read_bytes()) for path in (tmp_path / "new").iterdir()]
    assert mail["Subject"] == "1 data broker needs you"
    text = next(part for part in mail.walk() if part.get_content_type() == "text/plain").get_payload(decode=True)
    assert isinstance(text, bytes)
    assert b"by its form only" in text
    assert b"It says that your data was removed. Its site cannot be searched by us." in text
    assert text.count(b".com/o?n=Ann%20Example") == 1
    assert text.count(done_link(keyring, "https://us.example", made[0]).encode()) == 1


@pytest.mark.parametrize("then", ["relisted", "unread"])
def test_a_broker_s_answer_is_not_repeated_once_it_is_in_doubt(db: Engine, keyring: Keyring, then: str) -> None:
    [broker] = add_brokers(db, [broker_row("spoken")]).values()
    [request] = ask(db, add_profiled(db, keyring), [broker])
    steps = ["draft", "queued", "sent", "completed", *(["relisted"] if then == "relisted" else [])]
    for before, after in pairwise(steps):
        action = "tell_user" if after == "completed" else "sent"
        row = {"id": str(request), "from_state": before, "to_state": after, "reason": "x", "action": action}
        with db.begin() as connection:
            moves.apply(connection, moves.frame_of([row]), now=NOW, actor="test")
    if then == "unread":
        with db.connect() as connection:
            token = requests.get(connection, request).address_token
        mail = f"From: p@spoken.com\r\nTo: removals+{token}@k.example\r\nMessage-ID: <1@s>\r\n\r\nWe were wrong."
        taken = intake.process_mail(mail.encode(), db=db, keyring=keyring, now=NOW)
        assert taken is not None
        assert taken.needs_person
    with db.connect() as connection:
        ids = connection.execute(sa.text("SELECT id FROM kordant.notification_outbox")).scalars().all()
        told = write_removal_message(notices.removal_notices(connection, ids), "Ann", pages=[""])
    assert "your data was removed" not in repr(told)
    assert ("It wrote again" if then == "unread" else "There is news") in repr(told)
