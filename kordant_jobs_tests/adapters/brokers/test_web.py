from __future__ import annotations

import pytest

from kordant_jobs.adapters.brokers.bounded import BoundedClient
from kordant_jobs.adapters.brokers.web import BrokerSites
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
