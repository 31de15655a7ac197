"""The Data Rights Protocol and posted forms through the whole service. The adapters have tests of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from kordant_jobs.domain.removals.brokers import ListSource
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.jobs.removebrokers_process import asking
from kordant_jobs.ports import RightsError, RightsStatus, WebOutcome
from kordant_jobs.store.removals import catalogue, links, requests, rights
from kordant_jobs.store.removals.notices import removal_notices
from kordant_jobs_tests.jobs.removals import NOW, add_brokers, add_profiled, ask, broker_row
from kordant_jobs_tests.jobs.removebrokers_process.conftest import Desk


@dataclass
class Business:
    """A business of the protocol; its token counts until `token` is changed."""

    token: str = "first"
    state: str = "open"
    expected_by: datetime | None = None
    page: str | None = None
    is_down: bool = False
    exercised: list[Mapping[str, Any]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    polls: int = 0

    def register(self, business: Mapping[str, Any]) -> str:
        return self.token

    def exercise(
        self, business: Mapping[str, Any], token: str, claims: Mapping[str, Any], *, request_id: UUID
    ) -> RightsStatus:
        self._answer(token)
        self.exercised.append(claims)
        return RightsStatus(request_id="outside-1", state="open")

    def status(self, business: Mapping[str, Any], token: str, outside_id: str) -> RightsStatus:
        self.polls += 1
        self._answer(token)
        return RightsStatus(
            request_id=outside_id, state=self.state, expected_by=self.expected_by, user_verification_url=self.page
        )

    def revoke(self, business: Mapping[str, Any], token: str, outside_id: str, reason: str) -> RightsStatus:
        self._answer(token)
        self.revoked.append(outside_id)
        return RightsStatus(request_id=outside_id, state="revoked")

    def _answer(self, token: str) -> None:
        if self.is_down:
            raise SourceUnavailable("down")
        if token != self.token:
            raise RightsError("403", forbidden=True)


@pytest.fixture
def business(desk: Desk) -> Business:
    made = Business()
    desk.outside = replace(desk.outside, rights=made)
    with desk.db.begin() as connection:
        document = {"id": "SPOKEN", "api_base": "https://drp.spoken.com", "supported_actions": ["deletion"],
                    "supported_verifications": ["email"]}  # fmt: skip
        rights.write_businesses(connection, [document], now=NOW)
    return made


def asked(desk: Desk, **recipe: Any) -> UUID:
    brokers = add_brokers(desk.db, [broker_row("spoken", recipe=recipe)])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    return request


def test_a_status_is_asked_for_every_day_and_moves_the_request(desk: Desk, business: Business) -> None:
    request = asked(desk, drp_business_id="SPOKEN")
    assert desk.run().sent == 1
    assert set(business.exercised[0]) >= {"exercise", "regime", "email"}
    for _ in range(5):
        desk.run(days=1)
    assert business.polls == 5
    assert desk.state(request)[0] == "acknowledged"
    business.token, business.state = "second", "fulfilled"
    desk.run(days=1)
    assert desk.state(request)[0] == "completed"


def page_of(desk: Desk, request: UUID) -> str:
    with desk.db.connect() as connection:
        story = requests.story(connection, request)
        return links.page_of(connection, desk.keyring, story.request, story.broker.facts)


def test_where_a_business_asks_for_proof_of_identity_is_stored_sealed_and_sent_to_the_subscriber(
    desk: Desk, business: Business
) -> None:
    request = asked(desk, drp_business_id="SPOKEN")
    desk.run()
    business.state, business.page = "need_user_verification", "javascript:alert(1)"
    desk.run(days=1)
    assert (desk.state(request)[0], page_of(desk, request)) == ("needs_identity", "")
    business.page = "https://id.spoken.com/v?case=ann-77"
    desk.run(days=14)
    assert page_of(desk, request) == business.page
    sealed = desk.row(request).verification_encrypted
    assert b"ann-77" not in bytes(sealed)
    with desk.db.connect() as connection:
        ids = list(connection.execute(sa.text("SELECT id FROM kordant.notification_outbox")).scalars())
        rows = removal_notices(connection, ids)
        keys = desk.keyring.load_keys(connection, [rows[0].subscriber_id])
    assert {one.page(keys, "Ann Example", "ann@mail.example") for one in rows} == {business.page}
    business.state, business.page = "in_progress", None
    desk.run(days=14)
    assert desk.row(request).verification_encrypted is None


def test_a_day_that_a_business_moves_is_an_extension_as_far_as_the_law_goes(desk: Desk, business: Business) -> None:
    request = asked(desk, drp_business_id="SPOKEN")
    desk.run()
    row = desk.row(request)
    business.state, business.expected_by = "in_progress", desk.now + timedelta(days=60)
    desk.run(days=1)
    assert desk.row(request).extended_by_on == business.expected_by.date()
    assert desk.state(request) == ("extended", "drp_extended")
    business.expected_by = desk.now + timedelta(days=400)
    desk.run(days=1)
    assert desk.state(request)[0] == "extended"
    assert desk.row(request).extended_by_on == row.extended_by_on
    with desk.db.connect() as connection:
        moved = [one.to_state for one in requests.story(connection, request).events if one.from_state != one.to_state]
    assert moved == ["queued", "sent", "extended"]


def test_a_business_that_is_always_at_it_is_complained_about_all_the_same(desk: Desk, business: Business) -> None:
    request = asked(desk, drp_business_id="SPOKEN")
    business.state = "in_progress"
    for _ in range(75):
        desk.run(days=1)
    assert desk.state(request)[0] == "escalated"


def test_a_form_for_a_person_is_linked_filled_in_with_what_its_address_names_and_no_more(desk: Desk) -> None:
    brokers = add_brokers(
        desk.db,
        [
            broker_row(
                "spoken", emails=(), opt_out_url="https://spoken.com/optout",
                recipe={"prefill": "https://spoken.com/optout?f={first_name}&l={last_name}&c={city}"},
            ),
            broker_row(
                "other", emails=(), opt_out_url="https://other.com/optout",
                recipe={"prefill": "https://other.com/optout?b={birth_date}"},
            ),
        ],
    )  # fmt: skip
    person = add_profiled(desk.db, desk.keyring, details={"city": "São Paulo", "phone": "+15550100"})
    made = ask(desk.db, person, list(brokers.values()))
    desk.run()
    assert {desk.state(one)[0] for one in made} == {"needs_user_action"}
    assert {page_of(desk, one) for one in made} == {
        "https://spoken.com/optout?f=Ann&l=Example&c=S%C3%A3o%20Paulo",
        "https://other.com/optout",
    }


def test_a_business_that_is_down_is_asked_again_the_next_day(desk: Desk, business: Business) -> None:
    request = asked(desk, drp_business_id="SPOKEN")
    desk.run()
    business.is_down = True
    desk.run(days=1)
    business.is_down, business.state = False, "fulfilled"
    desk.run(days=1)
    assert desk.state(request)[0] == "completed"


def test_a_withdrawn_request_is_revoked_once_also_when_the_business_was_down_at_first(
    desk: Desk, business: Business
) -> None:
    request = asked(desk, drp_business_id="SPOKEN")
    desk.run()
    with desk.db.begin() as connection:
        requests.move(
            connection, request, RemovalState.CANCELLED, reason="by_subscriber", actor="test", now=desk.now,
            next_at=desk.now,
        )  # fmt: skip
    business.is_down = True
    desk.run()
    assert business.revoked == []
    business.is_down = False
    desk.run(days=1)
    desk.run(days=1)
    assert business.revoked == ["outside-1"]
    assert desk.state(request)[0] == "cancelled"


def test_a_broker_that_left_the_catalogue_stops_no_other(desk: Desk, business: Business) -> None:
    request = asked(desk, drp_business_id="SPOKEN")
    desk.run()
    with desk.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.brokers SET retired_at = now()"))
    desk.run(days=1)
    assert desk.state(request)[0] == "sent"


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (WebOutcome(done=True, code="http 200"), "sent", "form_posted"),
        (WebOutcome(done=False, code="cut_off", uncertain=True), "needs_user_action", "form_may_be_posted"),
        (WebOutcome(done=False, code="http 404"), "queued", "asked"),
    ],
)
def test_a_form_is_posted_once_and_one_that_is_refused_leads_to_the_next_channel(
    desk: Desk, outcome: WebOutcome, state: str, reason: str
) -> None:
    posted: list[Mapping[str, str]] = []

    class Site:
        def follow(self, url: str, domains: frozenset[str]) -> WebOutcome:
            raise AssertionError(url)

        def post(self, form: Mapping[str, Any], fields: Mapping[str, str]) -> WebOutcome:
            posted.append(fields)
            return outcome

    desk.outside = replace(desk.outside, web=Site())
    form = {"url": "https://spoken.com/optout", "fields": {"n": "name"}, "success": "thanks"}
    request = asked(desk, post=form)
    desk.run()
    desk.run()
    assert len(posted) == 1
    if state == "queued":
        assert [one.recipient for one in desk.sent] == ["privacy@spoken.com"]
        assert desk.state(request)[0] == "sent"
    else:
        assert desk.state(request) == (state, reason)


def test_open_requests_follow_a_broker_that_is_merged_into_another(desk: Desk) -> None:
    first = add_brokers(desk.db, [broker_row("spoken"), broker_row("other")])
    person = add_profiled(desk.db, desk.keyring)
    [request] = ask(desk.db, person, [first["other.com"]])
    rows = [broker_row("spoken"), broker_row("other", domains=("spoken.com",), website="https://spoken.com")]
    after = add_brokers(desk.db, rows, now=datetime(2026, 3, 2, 10, tzinfo=UTC))
    assert desk.row(request).broker_id == after["spoken.com"]
    desk.run()
    assert desk.state(request)[0] == "sent"


def test_of_two_requests_that_meet_at_one_broker_the_later_is_withdrawn(desk: Desk) -> None:
    first = add_brokers(desk.db, [broker_row("spoken"), broker_row("other")])
    person = add_profiled(desk.db, desk.keyring)
    [kept] = ask(desk.db, person, [first["spoken.com"]])
    [gone] = ask(desk.db, person, [first["other.com"]])
    add_brokers(desk.db, [broker_row("spoken"), broker_row("other", domains=("spoken.com",), website="")])
    assert desk.state(kept)[0] == "draft"
    assert desk.state(gone) == ("cancelled", "broker_merged")


def test_requests_that_were_not_sent_follow_a_broker_that_another_one_handles_now(desk: Desk) -> None:
    first = add_brokers(desk.db, [broker_row("spoken"), broker_row("other"), broker_row("third")])
    person, another = add_profiled(desk.db, desk.keyring), add_profiled(desk.db, desk.keyring)
    [at_third] = ask(desk.db, person, [first["third.com"]])
    desk.run()
    [kept] = ask(desk.db, person, [first["spoken.com"]])
    [gone] = ask(desk.db, person, [first["other.com"]])
    [follows] = ask(desk.db, another, [first["other.com"]])
    box = ("privacy@spoken.com",)
    add_brokers(desk.db, [broker_row("spoken"), broker_row("other", emails=box), broker_row("third", emails=box)])
    assert (desk.state(kept)[0], desk.state(gone)) == ("draft", ("cancelled", "broker_merged"))
    assert desk.row(follows).broker_id == first["spoken.com"]
    assert (desk.state(at_third)[0], desk.row(at_third).broker_id) == ("sent", first["third.com"])


def test_a_list_without_a_usable_row_takes_nothing_away(desk: Desk) -> None:
    before = add_brokers(desk.db, [broker_row("spoken")])
    with desk.db.begin() as connection:
        assert catalogue.import_rows(connection, ListSource.KORDANT, [], now=NOW).gone_rows == 0
        assert catalogue.diff_with(connection, ListSource.KORDANT, []) == []
        assert connection.execute(
            sa.text("SELECT id FROM kordant.brokers WHERE retired_at IS NULL")
        ).scalars().all() == list(before.values())


@pytest.mark.parametrize("emails", [("privacy@spoken.com",), ()])
def test_a_broker_asked_by_form_is_reminded_by_mail_if_it_has_an_address_and_otherwise_no_reminder_is_recorded(
    desk: Desk, emails: tuple[str, ...]
) -> None:
    class Site:
        def follow(self, url: str, domains: frozenset[str]) -> WebOutcome:
            raise AssertionError(url)

        def post(self, form: Mapping[str, Any], fields: Mapping[str, str]) -> WebOutcome:
            return WebOutcome(done=True, code="http 200")

    desk.outside = replace(desk.outside, web=Site())
    form = {"url": "https://spoken.com/optout", "fields": {"n": "name"}, "success": "thanks"}
    brokers = add_brokers(desk.db, [broker_row("spoken", emails=emails, recipe={"post": form})])
    [request] = ask(desk.db, add_profiled(desk.db, desk.keyring), list(brokers.values()))
    desk.run()
    for _ in range(62):
        desk.run(days=1)
    row = desk.row(request)
    assert (row.state, row.channel) == ("escalated", "form_post")
    assert row.reminders == len(desk.sent) == 2 * len(emails)
    drafted = asking.complaint(desk.db, desk.keyring, request)
    assert drafted.check_first == "https://cppa.ca.gov/webapplications/complaint"
    assert ("also after a reminder" in drafted.text) == bool(emails)
    assert drafted.text.startswith("To California Privacy Protection Agency (https://cppa.ca.gov")


def test_who_must_write_itself_gets_the_text_with_the_details_that_the_broker_needs_and_no_other(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    person = add_profiled(desk.db, desk.keyring, details={"phone": "+15550100"})
    [request] = ask(desk.db, person, list(brokers.values()))
    text = asking.own_request(desk.db, desk.keyring, request, today=desk.now.date())
    assert text.startswith("To the privacy team of Spoken")
    assert "Ann Example" in text
    assert "16 April 2026" in text or "April 16, 2026" in text
    assert "+1555" not in text
    assert "agent" not in text
