from __future__ import annotations

import pytest

from kordant_jobs.adapters.brokers.bounded import BoundedClient, BrokerSites
from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer


class Page(FakeServer):
    """One page of a broker."""

    body, status = "", 200

    def answer(self, asked: Asked) -> Answer:
        return Answer(status=self.status, body=self.body.encode())


@pytest.mark.parametrize(
    ("status", "body", "done"),
    [
        (200, "<h1>Thank you. Your request is confirmed.</h1>", True),
        (200, "<p>Sua solicitação foi confirmada.</p>", True),
        (200, "<h1>This link has expired. Nothing was done.</h1>", False),
        (200, "<p>Thank you. Press the button to confirm your request.</p>", False),
        (200, "<p style='display:none'>confirmed</p><p>Welcome</p>", False),
        (404, "confirmed", False),
    ],
)
def test_a_link_has_done_its_work_only_when_the_page_says_so(status: int, body: str, done: bool) -> None:
    with Page() as page:
        page.status, page.body = status, body
        sites = BrokerSites(BoundedClient(hosts={"spoken.com": page.url}))
        assert sites.follow("https://spoken.com/confirm", frozenset({"spoken.com"})).done is done


@pytest.mark.parametrize(
    ("status", "body", "done", "uncertain"),
    [
        (200, "<h1>Thank you. We have your request.</h1>", True, False),
        (200, "<h1>Thank you. Your form was NOT submitted.</h1>", False, True),
        (200, "<p>Please try again.</p>", False, False),
        (200, "<!-- thank you --><p>Welcome</p>", False, False),
        (400, "thank you", False, False),
        (500, "", False, True),
    ],
)
def test_a_posted_form_is_done_only_when_the_page_shows_it(status: int, body: str, done: bool, uncertain: bool) -> None:
    form = {"url": "https://spoken.com/out", "fields": {"n": "name"}, "success": "thank you"}
    with Page() as page:
        page.status, page.body = status, body
        found = BrokerSites(BoundedClient(hosts={"spoken.com": page.url})).post(form, {"name": "Ann Example"})
    assert (found.done, found.uncertain) == (done, uncertain)
