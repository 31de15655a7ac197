"""What a subscriber is told follows what can be had: a complaint needs a law, an authority, and to be true."""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa

from kordant_jobs.domain.removals.replies import CheckVerdict, ReplyClass
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.removebrokers_process import asking
from kordant_jobs.store.removals import reporting, requests
from kordant_jobs_tests.jobs.removals import add_brokers, add_profiled, ask, broker_row
from kordant_jobs_tests.jobs.removebrokers_process.conftest import Desk

FORM = broker_row("formy", emails=(), opt_out_url="https://formy.com/optout")
DROP = broker_row("platform", emails=(), opt_out_url="https://platform.com", recipe={"channel": "drop"})


def asked_by_form(desk: Desk, *, drop: bool = False) -> UUID:
    brokers = add_brokers(desk.db, [DROP if drop else FORM])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    assert asking.form_done(desk.db, request, actor="subscriber", now=desk.now).value == "sent"
    return request


def test_californias_platform_has_no_deadline_and_is_not_complained_about_to_itself(desk: Desk) -> None:
    request = asked_by_form(desk, drop=True)
    for _ in range(13):
        desk.run(days=5)
    row = desk.row(request)
    assert (row.state, row.answer_by_on, row.channel) == ("sent", None, "drop")
    with pytest.raises(PermanentError, match="nothing to complain"):
        asking.complaint(desk.db, desk.keyring, request)


def test_a_broker_asked_by_form_answers_the_subscriber_who_says_what_it_said(desk: Desk) -> None:
    request = asked_by_form(desk)
    for _ in range(65):
        desk.run(days=1)
    assert desk.state(request)[0] == "escalated"
    assert (desk.row(request).reminders, desk.sent) == (0, [])
    drafted = asking.complaint(desk.db, desk.keyring, request)
    assert drafted.if_unanswered
    assert "I asked it, on its own form, to delete" in drafted.text
    assert "agent" not in drafted.text
    said = asking.broker_answered(desk.db, request, ReplyClass.DONE, actor="cli:x", now=desk.now)
    assert said.value == "completed"
    with pytest.raises(PermanentError, match="nothing to complain"):
        asking.complaint(desk.db, desk.keyring, request)
    with pytest.raises(PermanentError, match="moves it nowhere"):
        asking.broker_answered(desk.db, request, ReplyClass.RECEIVED, actor="cli:x", now=desk.now)


def test_where_no_law_obliges_the_broker_no_complaint_is_promised(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    person = add_profiled(desk.db, desk.keyring, state="NY", details={"state": "NY"})
    [request] = ask(desk.db, person, list(brokers.values()))
    desk.run()
    for _ in range(70):
        desk.run(days=1)
    assert desk.state(request)[0] == "overdue"
    assert all(b"may complain" not in one.content for one in desk.sent)
    assert len(desk.sent) == 2
    with pytest.raises(PermanentError, match="no law"):
        asking.complaint(desk.db, desk.keyring, request)
    with desk.db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.notification_outbox")).scalar_one() == 0
        [line] = reporting.lines(connection, [person.subscription_id])[person.subscription_id]
    assert (line["can_complain"], line["can_check"]) == (False, False)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (ReplyClass.DONE, "It answered that it had done so, yet my data was on its site"),
        (ReplyClass.NO_MATCH, "It answered that it held nothing about me, yet my data was on its site"),
    ],
)
def test_a_listing_is_held_against_what_the_broker_said(desk: Desk, said: ReplyClass, words: str) -> None:
    search = {"url": "https://spoken.com/{last_name}", "result": ".card"}
    brokers = add_brokers(desk.db, [broker_row("spoken", recipe={"search": search})])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    asking.broker_answered(desk.db, request, said, actor="cli:x", now=desk.now)
    with desk.db.begin() as connection:
        found = {"request_id": request, "verdict": CheckVerdict.LISTED, "reason": None, "source": "spoken.com"}
        requests.write_checks(connection, [found], now=desk.now)
        connection.execute(sa.text("UPDATE kordant.removal_requests SET next_at = :now"), {"now": desk.now})
    desk.run()
    assert desk.state(request)[0] == "relisted"
    text = asking.complaint(desk.db, desk.keyring, request).text
    assert words in text
    assert "the request was sent" in text
    assert "(" not in text.partition("What happened, in order:")[2]
