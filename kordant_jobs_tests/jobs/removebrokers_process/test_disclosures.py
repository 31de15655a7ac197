"""The ledger says what left over each channel, and nothing else; a business that says 'later' is asked later."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import pytest
import sqlalchemy as sa

from kordant_jobs.adapters.brokers.bounded import BoundedClient, BrokerSites
from kordant_jobs.adapters.brokers.drp import DrpAgent
from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer
from kordant_jobs.store.removals import catalogue, requests, rights
from kordant_jobs_tests.adapters.brokers.test_drp import KEY
from kordant_jobs_tests.jobs.people import Person
from kordant_jobs_tests.jobs.removals import NOW, add_brokers, add_profiled, ask, broker_row
from kordant_jobs_tests.jobs.removebrokers_process.conftest import Desk

GIVEN = {"phone": "+12025550143", "street": "1 Main St", "postal_code": "93650", "birth_date": "1980-01-02"}
FORM = {"url": "https://spoken.com/o", "fields": {"n": "name", "d": "birth_date", "s": "birth_year"}, "success": "ok"}


class Broker(FakeServer):
    """A broker's site and its business of the protocol; `said` is the answer to each method."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, tuple[int, Any]] = {}

    def answer(self, asked: Asked) -> Answer:
        if "/agent/" in asked.path:
            return Answer.of(200, {"agent-id": "AA", "token": "t"})
        if asked.path == "/o":
            return Answer(status=200, body=b"ok")
        return Answer.of(*self.said.get(asked.method, (200, {"request_id": "r 1", "status": "open"})))


@pytest.fixture
def broker(desk: Desk) -> Iterator[Broker]:
    with Broker() as server:
        site = BrokerSites(BoundedClient(hosts={"spoken.com": server.url}))
        desk.outside = replace(desk.outside, web=site, rights=DrpAgent("AA", KEY, clock=lambda: desk.now))
        with desk.db.begin() as connection:
            document = {"id": "SPOKEN", "api_base": f"{server.url}/drp", "supported_actions": ["deletion"],
                        "supported_verifications": ["email", "phone_number", "address"]}  # fmt: skip
            rights.write_businesses(connection, [document], now=NOW)
        yield server


def asked(desk: Desk, **recipe: Any) -> tuple[UUID, Person]:
    brokers = add_brokers(desk.db, [broker_row("spoken", recipe=recipe)])
    person = add_profiled(desk.db, desk.keyring, details=GIVEN)
    [request] = ask(desk.db, person, list(brokers.values()))
    desk.run()
    return request, person


def ledger(desk: Desk, person: Person) -> list[set[str]]:
    with desk.db.connect() as connection:
        return [set(row.fields) for row in requests.disclosures(connection, person.subscription_id)]


def test_a_request_of_the_protocol_discloses_what_the_business_verifies(desk: Desk, broker: Broker) -> None:
    _, person = asked(desk, drp_business_id="SPOKEN")
    message = json.loads(base64.b64decode(broker.asked[-1].body)[64:])
    assert message["address"] == {
        "street_address": "1 Main St", "locality": "Fresno", "region": "CA", "postal_code": "93650", "country": "US",
    }  # fmt: skip
    assert (message["email_verified"], message["phone_number_verified"]) == (True, False)
    wanted = {"name", "email", "phone", "street", "city", "state", "postal_code", "country"}
    assert ledger(desk, person) == [wanted]


def test_a_posted_form_discloses_what_it_has_a_place_for_and_the_subscriber_gave(desk: Desk, broker: Broker) -> None:
    request, person = asked(desk, post=FORM)
    assert desk.state(request)[0] == "sent"
    assert parse_qs(broker.asked[-1].body.decode()) == {"n": ["Ann Example"], "d": ["1980-01-02"]}
    assert ledger(desk, person) == [{"name", "birth_date"}]


@pytest.mark.parametrize(("at", "lines"), [("to_rcpt", 0), ("to_data", 1)])
def test_a_mail_whose_recipient_is_refused_disclosed_nothing(desk: Desk, at: str, lines: int) -> None:
    setattr(desk.server.answers, at, lambda _recipient, _times: "550 5.1.1 no such user")
    request, person = asked(desk)
    assert desk.state(request)[0] != "sent"
    assert len(ledger(desk, person)) == lines


@pytest.mark.parametrize(
    "said",
    [(429, {}), (408, {}), (409, {"code": "409", "message": "twice"}), (400, {"code": "400", "message": "later"}),
     (503, {})],
)  # fmt: skip
def test_a_business_that_says_later_is_asked_again_and_stays_in_use(
    desk: Desk, broker: Broker, said: tuple[int, Any]
) -> None:
    broker.said = {"POST": said}
    request, _ = asked(desk, drp_business_id="SPOKEN")
    with desk.db.connect() as connection:
        assert catalogue.faults(connection, desk.row(request).broker_id) == []
    assert desk.state(request)[0] == "queued"
    broker.said = {}
    desk.run(days=1)
    assert (desk.state(request)[0], desk.row(request).channel) == ("sent", "drp")


def test_a_business_that_says_later_for_five_days_is_asked_over_another_channel(desk: Desk, broker: Broker) -> None:
    broker.said = {"POST": (429, {})}
    request, _ = asked(desk, drp_business_id="SPOKEN")
    for _ in range(6):
        desk.run(days=1)
    desk.run()
    assert (desk.state(request)[0], desk.row(request).channel) == ("sent", "email")


def test_the_status_of_another_request_is_not_believed(desk: Desk, broker: Broker) -> None:
    request, _ = asked(desk, drp_business_id="SPOKEN")
    assert desk.row(request).outside_id == "r 1"
    broker.said = {"GET": (200, {"request_id": "r 2", "status": "fulfilled"})}
    desk.run(days=1.1)
    assert desk.state(request)[0] == "sent"
    broker.said = {"GET": (200, {"request_id": "r 1", "status": "fulfilled"})}
    desk.run(days=1.1)
    assert broker.asked[-1].path.endswith("/r%201")
    assert desk.state(request)[0] == "completed"


def test_a_request_that_is_answered_with_another_ones_status_is_not_taken_for_sent(desk: Desk, broker: Broker) -> None:
    other = {"request_id": "r 1", "agent_request_id": str(UUID(int=7)), "status": "fulfilled"}
    broker.said = {"POST": (200, other)}
    request, _ = asked(desk, drp_business_id="SPOKEN")
    assert desk.state(request)[0] == "queued"
    with desk.db.connect() as connection:
        assert connection.execute(sa.text("SELECT outside_id FROM kordant.removal_requests")).scalar() is None
