"""What brokers say later, or about another thing: it moves the request, or a person reads it."""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa

from kordant_jobs.domain.removals.clocks import Ask
from kordant_jobs.domain.removals.replies import ReplyClass
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.removebrokers_process import asking
from kordant_jobs.store.removals import notices, reporting, requests
from kordant_jobs_tests.jobs.removals import add_brokers, add_profiled, ask, broker_row
from kordant_jobs_tests.jobs.removebrokers_process.conftest import Desk

DONE = "We have deleted all your personal data."
NO_MATCH = "We do not hold any personal data relating to you."
DENIED = "After review we have decided to deny your request."


def asked(desk: Desk, *, people: int = 1, **more: object) -> list[UUID]:
    """A request of each of so many people to one broker, sent."""
    brokers = list(add_brokers(desk.db, [broker_row("spoken", **more)]).values())
    persons = [add_profiled(desk.db, desk.keyring, contact=f"p{n}@mail.example") for n in range(people)]
    made = [ask(desk.db, one, brokers)[0] for one in persons]
    desk.run()
    return made


def faults(desk: Desk) -> list[str]:
    with desk.db.connect() as connection:
        return list(connection.execute(sa.text("SELECT contact FROM kordant.broker_contact_faults")).scalars())


@pytest.mark.parametrize(
    ("first", "later", "state"),
    [
        (DONE, "We made a mistake. Please send a copy of your driver's license.", "needs_identity"),
        (DONE, "Correction: we decline your request.", "denied"),
        (
            NO_MATCH,
            "We found your record. Please complete our opt-out form at https://spoken.com/f",
            "needs_user_action",
        ),
        (NO_MATCH, DENIED, "denied"),
        (NO_MATCH, DONE, "completed"),
        (DENIED, "Please send a copy of your driver's license and we will look again.", "needs_identity"),
        (DONE, NO_MATCH, "completed"),
    ],
)
def test_what_a_broker_says_last_counts(desk: Desk, first: str, later: str, state: str) -> None:
    [request] = asked(desk)
    desk.reply(request, first)
    taken = desk.reply(request, later)
    assert taken is not None
    assert (desk.state(request)[0], taken.needs_person) == (state, False)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (DONE, "We made a mistake and your data is back."),
        (DONE, "Your request is currently being processed by our data team."),
        (DENIED, "Your request is currently being processed by our data team."),
    ],
)
def test_a_correction_without_a_move_goes_to_a_person_and_the_old_claim_is_not_repeated(
    desk: Desk, first: str, later: str
) -> None:
    [request] = asked(desk)
    desk.reply(request, first)
    before = desk.state(request)
    taken = desk.reply(request, later)
    assert taken is not None
    assert taken.needs_person
    assert desk.state(request) == before
    with desk.db.connect() as connection:
        [row] = requests.listed(connection)
        [line] = reporting.lines(connection, [row.subscription_id])[row.subscription_id]
        ids = connection.execute(sa.text("SELECT id FROM kordant.notification_outbox")).scalars().all()
        told = notices.removal_notices(connection, ids)
    assert row.is_unread
    assert line["is_unread"]
    assert [one.is_unread for one in told] == [True]


def test_an_answer_to_a_request_that_is_about_to_go_out_waits_for_a_person(desk: Desk) -> None:
    brokers = list(add_brokers(desk.db, [broker_row("spoken", recipe={"daily_cap": 1})]).values())
    persons = [add_profiled(desk.db, desk.keyring, contact=f"p{n}@mail.example") for n in range(2)]
    made = [ask(desk.db, one, brokers)[0] for one in persons]
    desk.run()
    [queued] = [one for one in made if desk.state(one)[0] == "queued"]
    taken = desk.reply(queued, DONE)
    assert taken is not None
    assert taken.needs_person
    with desk.db.connect() as connection:
        [reply] = requests.story(connection, queued).replies
    with pytest.raises(PermanentError, match="is queued: no answer moves it"):
        asking.person_read(desk.db, reply.id, ReplyClass.DONE, actor="op", now=desk.now)
    desk.run(days=1)
    assert asking.person_read(desk.db, reply.id, ReplyClass.DONE, actor="op", now=desk.now) == "completed"


def test_an_opt_out_is_not_the_deletion_that_was_asked_for(desk: Desk) -> None:
    [request] = asked(desk)
    text = "You have been opted out of the sale of your personal information."
    desk.reply(request, text)
    assert desk.state(request)[0] == "sent"
    with desk.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.removal_requests SET ask = :ask"), {"ask": Ask.OPT_OUT})
    desk.reply(request, text)
    assert desk.state(request)[0] == "completed"


def test_a_second_text_under_the_same_message_id_is_another_reply(desk: Desk) -> None:
    [request] = asked(desk)
    desk.reply(request, "We have received your request.", message_id="<same@desk>")
    desk.reply(request, "Please send a copy of your passport.", message_id="<same@desk>")
    assert desk.state(request)[0] == "needs_identity"
    again = desk.reply(request, "Please send a copy of your passport.", message_id="<same@desk>")
    assert again is not None
    assert again.repeated


ELSEWHERE = {"to": "removals@kordant.example"}


@pytest.mark.parametrize(
    ("given", "sender", "later", "other"),
    [
        (
            "We have received your request under the Act (2018).",
            "privacy@spoken.com",
            "the Act (2018)",
            "privacy@spoken.com",
        ),
        ("We have received it. Ticket #48213.", "help@azen.zendesk.com", "Ticket #48213", "help@bzen.zendesk.com"),
        ("We have received it. Ticket #48213.", "ann@gmail.com", "Ticket #48213", "bob@gmail.com"),
    ],
)
def test_a_number_moves_no_request_of_another(desk: Desk, given: str, sender: str, later: str, other: str) -> None:
    [request] = asked(desk)
    desk.reply(request, given, sender=sender)
    assert desk.state(request)[0] == "acknowledged"
    assert desk.reply(request, f"{DONE} {later}", sender=other, **ELSEWHERE) is None


def test_a_number_that_a_broker_gave_twice_tells_nothing(desk: Desk) -> None:
    first, second = asked(desk, people=2)
    for one in (first, second):
        desk.reply(one, "We have received your request. Reference: 10004711")
    assert desk.reply(first, f"{DONE} Reference: 10004711", **ELSEWHERE) is None


def bounce(desk: Desk, request: UUID, message: str, text: str = "550 5.1.1 no such user") -> None:
    body = f"{text}\n\nMessage-ID: {message}\n"
    desk.reply(request, body, sender="MAILER-DAEMON@mx.spoken.com", message_id=f"<{request}{text[:9]}@mx>")


def test_two_bounces_of_one_address_leave_the_other_alone(desk: Desk) -> None:
    made = asked(desk, people=2, emails=("privacy@spoken.com", "second@spoken.com"))
    with desk.db.connect() as connection:
        ids = {one: f"<removal.{requests.story(connection, one).messages[0].id}@k>" for one in made}
    for one in made:
        bounce(desk, one, ids[one])
    assert faults(desk) == ["privacy@spoken.com"]
    desk.run(days=1)
    assert [one.recipient for one in desk.sent[2:]] == ["second@spoken.com"] * 2
    bounce(desk, made[0], ids[made[0]], "550 5.1.1 late: unknown user")
    assert (desk.state(made[0])[0], faults(desk)) == ("sent", ["privacy@spoken.com"])
    with desk.db.connect() as connection:
        assert not any(one.needs_person for one in requests.story(connection, made[0]).replies)


@pytest.mark.parametrize("sender", ["john.doe@gmail.com", "john@spoken.com"])
def test_a_contact_that_has_left_says_nothing_about_the_address_that_we_wrote_to(desk: Desk, sender: str) -> None:
    [request] = asked(desk)
    taken = desk.reply(request, "I have now left Spoken.", sender=sender, auto_submitted="auto-replied")
    assert taken is not None
    assert taken.needs_person
    assert (desk.state(request)[0], faults(desk)) == ("sent", [])
    with desk.db.connect() as connection:
        [reply] = requests.story(connection, request).replies
    asking.person_read(desk.db, reply.id, ReplyClass.CONTACT_MOVED, actor="op", now=desk.now)
    assert (desk.state(request)[0], faults(desk)) == ("contact_moved", ["privacy@spoken.com"])


def test_a_mail_that_a_block_list_refused_is_a_persons(desk: Desk) -> None:
    [request] = asked(desk)
    bounce(desk, request, "<x@y>", "550 5.7.1 blocked using Spamhaus")
    assert (desk.state(request)[0], faults(desk)) == ("sent", [])
    with desk.db.connect() as connection:
        [reply] = requests.story(connection, request).replies
    assert (reply.rule, reply.needs_person) == ("not_delivered", True)
