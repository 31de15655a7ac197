"""Confirmation links and plain form posts on brokers' own sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kordant_jobs.adapters.brokers.bounded import BoundedClient
from kordant_jobs.domain.removals.brokers import form_fields, registrable
from kordant_jobs.ports import WebOutcome


class BrokerSites:
    """See `ports.BrokerWeb`."""

    def __init__(self, client: BoundedClient) -> None:
        self._client = client

    def follow(self, url: str, domains: frozenset[str]) -> WebOutcome:
        """Open a link by GET."""
        page = self._client.ask("GET", url, domains=domains)
        if page.code:
            return WebOutcome(done=False, code=page.code)
        return WebOutcome(done=page.status < 400, code=f"http {page.status}")

    def post(self, form: Mapping[str, Any], fields: Mapping[str, str]) -> WebOutcome:
        """Post the form; done only when the site says the words of the recipe."""
        values = {place: fields[name] for place, name in form["fields"].items() if name in form_fields(form, fields)}
        values |= form.get("fixed", {})
        domains = frozenset({registrable(form["url"])})
        page = self._client.ask("POST", form["url"], domains=domains, data=values)
        if page.code:
            is_uncertain = page.code.startswith("cut_off")
            return WebOutcome(done=False, code=page.code, uncertain=is_uncertain, is_handed_over=page.is_sent)
        said = str(form["success"]).lower() in page.text.lower()
        return WebOutcome(done=page.status < 400 and said, code=f"http {page.status}", uncertain=page.status >= 500)
