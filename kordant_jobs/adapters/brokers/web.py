"""Confirmation links and plain form posts on brokers' own sites."""

import re
from collections.abc import Mapping
from typing import Any

from kordant_jobs.adapters.brokers.bounded import BoundedClient
from kordant_jobs.adapters.brokers.mail_text import seen_in_html
from kordant_jobs.domain.removals.brokers import form_fields, registrable
from kordant_jobs.ports import WebOutcome

_CONFIRMED = re.compile(
    r"\b(confirmed|verified|validated|thank you|thanks|success\w*|received|processed|completed?|recorded|obrigad[oa]|"
    r"sucesso|confirmad[oa]|recebid[oa]|validad[oa]|conclu[ií]d[oa]|registrad[oa])\b",
    re.IGNORECASE,
)
_UNCLEAR = re.compile(
    r"\b(expired?|invalid|errors?|fail\w*|nothing|not|no longer|cannot|unable|try again|click|press|button|captcha|"
    r"log ?in|sign in|once|will|pending|expir\w+|inv[aá]lid\w*|erros?|"
    r"não|tente|clique|botão|entrar|nada|pendente)\b|n't\b",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"\b(not (been )?(submitted|sent|received|processed|accepted|completed?)|error|invalid|fail(ed|ure)|"
    r"try again|captcha|não (foi|pôde|pode)|erro|inv[aá]lid[oa]|tente)\b",
    re.IGNORECASE,
)


class BrokerSites:
    """See `ports.BrokerWeb`."""

    def __init__(self, client: BoundedClient) -> None:
        self._client = client

    def follow(self, url: str, domains: frozenset[str]) -> WebOutcome:
        """Open a link by GET; done only when the page says so: many answer 200 to a link that expired, or want a button
        pressed."""
        page = self._client.ask("GET", url, domains=domains)
        if page.code:
            return WebOutcome(done=False, code=page.code)
        said = seen_in_html(page.text)
        is_done = page.status < 400 and _CONFIRMED.search(said) is not None and _UNCLEAR.search(said) is None
        return WebOutcome(done=is_done, code=f"http {page.status}" + ("" if is_done else ", not confirmed"))

    def post(self, form: Mapping[str, Any], fields: Mapping[str, str]) -> WebOutcome:
        """Post the form; done only when the page shows the words of the recipe and no word of a failure. With both
        it is uncertain."""
        values = {place: fields[name] for place, name in form["fields"].items() if name in form_fields(form, fields)}
        values |= form.get("fixed", {})
        domains = frozenset({registrable(form["url"])})
        page = self._client.ask("POST", form["url"], domains=domains, data=values)
        if page.code:
            is_uncertain = page.code.startswith("cut_off")
            return WebOutcome(done=False, code=page.code, uncertain=is_uncertain, is_handed_over=page.is_sent)
        seen = seen_in_html(page.text)
        is_said, has_failed = str(form["success"]).lower() in seen.lower(), _FAILED.search(seen) is not None
        return WebOutcome(
            done=page.status < 400 and is_said and not has_failed,
            code=f"http {page.status}",
            uncertain=page.status >= 500 or (page.status < 400 and is_said and has_failed),
        )
