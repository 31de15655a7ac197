from __future__ import annotations

from datetime import date, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
import sqlalchemy as sa

from kordant_jobs.domain.removals.clocks import Ask
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.store.removals import catalogue, requests
from kordant_jobs_tests.jobs.removals import add_brokers, add_profiled, ask, broker_row
from kordant_jobs_tests.jobs.removebrokers_process.conftest import Desk


def letter(content: bytes) -> EmailMessage:
    found = message_from_bytes(content, policy=default)
    assert isinstance(found, EmailMessage)
    return found


def test_a_request_goes_out_once_from_its_own_address_with_the_permission_and_the_least_it_needs(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    person = add_profiled(desk.db, desk.keyring, details={"phone": "+15550100", "birth_date": "1980-01-01"})
    [request] = ask(desk.db, person, list(brokers.values()))
    assert ask(desk.db, person, list(brokers.values())) == []
    assert desk.run().sent == 1
    assert desk.run().sent == 0
    [mail] = desk.sent
    assert mail.recipient == "privacy@spoken.com"
    read = letter(mail.content)
    row = desk.row(request)
    assert row.address_token in str(read["From"])
    body = read.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    assert "Ann Example" in text
    assert "Fresno" in text
    assert "10 business days" in text
    assert "+1555" not in text
    assert "1980" not in text
    [attached] = read.iter_attachments()
    assert attached.get_content_type() == "application/pdf"
    assert (row.state, row.sent_on, row.answer_by_on) == ("sent", date(2026, 3, 2), date(2026, 4, 16))
    with desk.db.connect() as connection:
        [told] = requests.disclosures(connection, person.subscription_id)
    assert set(told.fields) == {"name", "email", "city", "state", "country", "permission"}
    assert "1798.105" in told.legal_ground


def test_an_address_is_not_asked_twice_about_a_person_within_the_cool_down(desk: Desk) -> None:
    """Whichever brokers share it, and though the first request was cancelled."""
    form = {"url": "https://other.com/o", "fields": {"n": "name"}, "success": "ok"}
    rows = [broker_row("spoken"), broker_row("other", emails=("privacy@spoken.com",), recipe={"post": form})]
    brokers = add_brokers(desk.db, rows)
    with desk.db.begin() as connection:
        catalogue.note_fault(connection, brokers["other.com"], "https://other.com/o", "gone", now=desk.now)
    person, another = add_profiled(desk.db, desk.keyring), add_profiled(desk.db, desk.keyring)
    made = ask(desk.db, person, list(brokers.values()))
    assert desk.run().sent == 1
    assert sorted(desk.state(one)[0] for one in made) == ["queued", "sent"]
    [sent] = [one for one in made if desk.state(one)[0] == "sent"]
    with desk.db.begin() as connection:
        requests.move(connection, sent, RemovalState.CANCELLED, reason="by_subscriber", actor="test", now=desk.now)
    ask(desk.db, person, [desk.row(sent).broker_id])
    assert desk.run(days=1).sent == 0
    ask(desk.db, another, [brokers["spoken.com"]])

    def asked() -> int:
        return sum(not str(letter(one.content)["Subject"]).startswith("Re:") for one in desk.sent)

    for days, so_far in ((1, 2), (24, 3), (24, 3), (1, 4)):
        desk.run(days=days)
        assert asked() == so_far


@pytest.mark.parametrize(
    ("first", "then", "made"),
    [(Ask.OPT_OUT, Ask.DELETION, 1), (Ask.DELETION, Ask.OPT_OUT, 0), (Ask.OPT_OUT,) * 2 + (0,)],
)
def test_an_opt_out_covers_no_deletion_and_a_deletion_covers_an_opt_out(
    desk: Desk, first: Ask, then: Ask, made: int
) -> None:
    brokers = list(add_brokers(desk.db, [broker_row("spoken")]).values())
    person = add_profiled(desk.db, desk.keyring)
    for wanted, number in ((first, 1), (then, made), (then, 0)):
        with desk.db.begin() as connection:
            created = requests.create(connection, person.subscription_id, brokers, now=desk.now, ask=wanted)
        assert (len(created.made), created.covered) == (number, 1 - number)
    assert desk.run().sent == 1 + made


def test_no_answer_is_reminded_then_overdue_then_escalated_each_on_its_day(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    began = desk.now
    seen: dict[str, int] = {}
    for _ in range(90):
        desk.run(days=1)
        state = desk.state(request)[0]
        seen.setdefault(state, (desk.now - began).days)
    assert seen == {"sent": 1, "overdue": 47, "escalated": 61}
    first, unconfirmed, overdue = [letter(one.content) for one in desk.sent]
    assert unconfirmed["In-Reply-To"] == first["Message-ID"] == overdue["In-Reply-To"]
    with desk.db.connect() as connection:
        events = requests.story(connection, request).events
    assert [(one.to_state, one.reason) for one in events if one.reason.startswith("no_")] == [
        ("sent", "no_confirmation"),
        ("overdue", "no_answer"),
        ("escalated", "no_answer"),
    ]


@pytest.mark.parametrize(
    ("text", "state", "reason"),
    [
        ("We have received your request.", "acknowledged", "received"),
        ("We have no data linked to your email in our system.", "no_match", "no_match"),
        ("We do not process requests via email alone. Please submit via our web form.", "needs_user_action",
         "form_required"),
        ("Can you please verify last 4 of your social? We have several individuals with your name.",
         "needs_identity", "identity_asked"),
        ("consumer reporting agencies are exempt as Fair Credit Reporting Act related data so we do not remove data.",
         "exempt", "fcra"),
        ("We are extending the time to respond by an additional 45 days.", "extended", "extended"),
        ("We have deleted all your personal information.", "completed", "done"),
        ("We must decline your request.", "denied", "other"),
        ("Who are you?", "sent", "sent"),
    ],
)  # fmt: skip
def test_an_answer_moves_its_request(desk: Desk, text: str, state: str, reason: str) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    taken = desk.reply(request, text)
    assert taken is not None
    assert taken.needs_person == (text == "Who are you?")
    assert desk.state(request) == (state, reason)
    sent = len(desk.sent)
    desk.run()
    assert len(desk.sent) == sent, "more was sent by itself"


def test_a_contact_that_has_left_is_a_catalogue_fault_and_the_next_way_is_taken(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken", opt_out_url="https://spoken.com/optout")])
    people = [add_profiled(desk.db, desk.keyring, contact=f"p{n}@mail.example") for n in range(2)]
    [first] = ask(desk.db, people[0], list(brokers.values()))
    desk.run()
    desk.reply(first, "I no longer work for the company.", subject="I have now left Spoken Re: Request")
    assert desk.state(first) == ("contact_moved", "contact_moved")
    desk.run()
    assert desk.state(first) == ("needs_user_action", "form_for_a_person")
    [second] = ask(desk.db, people[1], list(brokers.values()))
    desk.run()
    assert desk.state(second) == ("needs_user_action", "form_for_a_person")
    assert len(desk.sent) == 1


def test_a_broker_without_any_contact_is_a_fault_of_the_catalogue(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken", emails=())])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    assert desk.state(request) == ("contact_moved", "no_contact")


def test_a_bounce_is_matched_by_what_it_encloses_and_the_same_mail_counts_once(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken", opt_out_url="https://spoken.com/optout")])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    message_id = str(letter(desk.sent[0].content)["Message-ID"])
    text = f"Delivery failed: 550 5.1.1 no such user\n\nMessage-ID: {message_id}\n"
    how = {"sender": "MAILER-DAEMON@mx.spoken.com", "to": "removals@kordant.example", "message_id": "<b1@mx>"}
    assert desk.reply(request, text, subject="Undelivered Mail", **how)
    assert desk.state(request) == ("bounced", "bounced")
    repeated = desk.reply(request, text, subject="Undelivered Mail", **how)
    assert repeated
    assert repeated.repeated
    desk.run()
    assert desk.state(request)[0] == "needs_user_action"


def test_an_answer_from_another_address_is_found_by_the_case_number_of_that_domain(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    helpdesk = {"sender": "help@desk.com"}
    desk.reply(request, "Your ticket number is 448211.", subject="Ticket #448211 created", **helpdesk)
    elsewhere = {"to": "removals@kordant.example"}
    text = "We have deleted your data. Ticket 448211"
    assert desk.reply(request, text, sender="x@phish.com", **elsewhere) is None
    assert desk.reply(request, text, sender="help@desk.com", **elsewhere)
    assert desk.state(request)[0] == "completed"


def test_a_broker_gets_no_more_than_its_cap_a_day_over_all_processes(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken", recipe={"daily_cap": 2})])
    people = [add_profiled(desk.db, desk.keyring, contact=f"p{n}@mail.example") for n in range(5)]
    for person in people:
        ask(desk.db, person, list(brokers.values()))
    for _ in range(4):
        desk.run()
        desk.run()
        desk.run(days=1)
    assert len(desk.sent) == 5
    with desk.db.connect() as connection:
        per_day = connection.execute(
            sa.text("SELECT count(*) FROM kordant.removal_messages WHERE begun_at IS NOT NULL GROUP BY begun_at::date")
        )
        assert sorted(per_day.scalars()) == [1, 2, 2]


def test_fronts_are_one_request_to_the_broker_that_handles_them(desk: Desk) -> None:
    rows = [broker_row("owner"), *(broker_row(f"front{n}", handled_by="owner.com") for n in range(5))]
    brokers = add_brokers(desk.db, rows)
    person = add_profiled(desk.db, desk.keyring)
    assert len(ask(desk.db, person, list(brokers.values()))) == 1
    desk.run()
    [mail] = desk.sent
    assert mail.recipient == "privacy@owner.com"
    body = letter(mail.content).get_body(("plain",))
    assert body is not None
    assert "Front0, Front1, Front2, Front3, and Front4" in body.get_content()


def test_a_cancelled_request_sends_nothing_more_and_answers_move_it_no_more(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    with desk.db.begin() as connection:
        requests.move(connection, request, RemovalState.CANCELLED, reason="by_subscriber", actor="test", now=desk.now)
    desk.reply(request, "We have deleted your data.")
    desk.run(days=60)
    assert desk.state(request) == ("cancelled", "by_subscriber")
    assert len(desk.sent) == 1


def test_a_mail_server_that_is_down_puts_messages_off(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.server.answers.to_rcpt = lambda _recipient, times: "450 4.2.1 later" if times < 1 else None
    assert desk.run().put_off == 1
    assert desk.state(request)[0] == "queued"
    assert desk.run(days=1).sent == 1
    assert desk.row(request).sent_on == (desk.now.date())


def test_a_dead_address_at_the_server_is_a_bounce_at_once(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.server.answers.to_rcpt = lambda _recipient, _times: "550 5.1.1 no such user"
    desk.run()
    assert desk.state(request)[0] == "bounced"
    desk.run()
    assert desk.state(request) == ("contact_moved", "no_contact")
    assert timedelta(days=29) < desk.row(request).next_at - desk.now < timedelta(days=31)
