"""HTTP to sites that we do not trust: no private addresses, few redirects, a bounded body, no cookies kept. On brokers'
own sites it opens confirmation links and posts plain forms."""

import codecs
import ipaddress
import re
import socket
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from kordant_jobs.adapters.brokers.mail_text import seen_in_html
from kordant_jobs.adapters.http_client import HttpClient
from kordant_jobs.domain.removals.brokers import form_fields, registrable
from kordant_jobs.ports import WebOutcome

BODY_MAX = 1 << 20
REDIRECTS_MAX = 5
TIMEOUT_S = 20.0
USER_AGENT = "KordantRemovals/1.0 (privacy requests of consumers)"


@dataclass(frozen=True, kw_only=True)
class Page:
    """An answer; `code` says why there is none. `is_cut`: the body is longer than its first `BODY_MAX` bytes here;
    `is_sent` False: the request never left us."""

    status: int = 0
    url: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    is_cut: bool = False
    code: str = ""
    is_sent: bool = True
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str:
        """The body as text; letters that cannot be read are `\N{REPLACEMENT CHARACTER}`. Its charset is the header's
        or that of its marks, else UTF-8, else the one that its `<meta>` names, as browsers read it."""
        header = re.search(r"charset=[\"']?([\w.:-]+)", self.headers.get("content-type", ""), re.IGNORECASE)
        if self.body.startswith(_MARKS):
            return self.body.decode("utf-8-sig" if self.body.startswith(BOM_UTF8) else "utf-16", "replace")
        if header:
            return _decoded(self.body, header[1])
        try:
            return self.body.decode("utf-8")
        except UnicodeDecodeError:
            meta = re.search(rb"<meta[^>]{0,200}charset=[\"']?([\w.:-]+)", self.body[:4096], re.IGNORECASE)
            return _decoded(self.body, meta[1].decode() if meta else "utf-8")


_MARKS = (BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE)


def _decoded(body: bytes, charset: str) -> str:
    """The text. A body that calls itself Latin-1 or ASCII is windows-1252 (WHATWG's Encoding Standard §4.2)."""
    try:
        name = codecs.lookup(charset).name
        return body.decode("cp1252" if name in {"iso8859-1", "ascii"} else name, "replace")
    except (LookupError, UnicodeError):
        return body.decode("utf-8", "replace")


class BoundedClient:
    """Asks sites, each request once. `hosts` sends the requests for some domains to an address of ours (simulated
    brokers), by domain."""

    def __init__(self, *, hosts: Mapping[str, str] | None = None) -> None:
        self._hosts = hosts or {}
        self._client: httpx.Client | None = None

    def _opened(self) -> httpx.Client:
        if self._client is None:
            self._client = HttpClient(timeout=TIMEOUT_S, headers={"user-agent": USER_AGENT}, follow_redirects=False)
        self._client.cookies.clear()
        return self._client

    def ask(self, method: str, url: str, *, domains: frozenset[str] | None = None, **more: Any) -> Page:
        """One request with its redirects, each on one of `domains` (None: on the domain of `url`). Never raises: what
        went wrong is the page's `code`."""
        allowed = domains if domains is not None else frozenset({registrable(url)})
        for hop in range(REDIRECTS_MAX + 1):
            if why := self._refused(url, allowed):
                return Page(code=why, url=url, is_sent=hop > 0)
            page = self._once(method, url, **more)
            if hop and not page.is_sent:
                return replace(page, is_sent=True)
            location = page.headers.get("location")
            if page.code or page.status not in {301, 302, 303, 307, 308} or not location:
                return page
            url = urljoin(url, location)
            if page.status in {301, 302, 303}:
                method, more = "GET", {}
        return Page(code="redirects", url=url)

    def _refused(self, url: str, allowed: frozenset[str]) -> str | None:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            return "no_url"
        if registrable(host) not in allowed or not registrable(host):
            return "other_domain"
        if parts.scheme != "https":
            return "no_https"
        if parts.username or parts.password or parts.port not in {None, 80, 443}:
            return "odd_url"
        if registrable(host) in self._hosts:
            return None
        try:
            found = {entry[4][0] for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}
        except OSError:
            return "dns"
        return None if all(ipaddress.ip_address(one).is_global for one in found) else "private_address"

    def _once(self, method: str, url: str, **more: Any) -> Page:
        parts = urlsplit(url)
        target, headers = url, dict(more.pop("headers", {}))
        if base := self._hosts.get(registrable(url)):
            target = f"{base}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
            headers["host"] = parts.netloc
        try:
            with self._opened().stream(method, target, headers=headers, **more) as answer:
                body = b""
                for block in answer.iter_bytes():
                    body += block
                    if len(body) > BODY_MAX:
                        break
                return Page(
                    status=answer.status_code,
                    url=url,
                    body=body[:BODY_MAX],
                    is_cut=len(body) > BODY_MAX,
                    headers={name.lower(): value for name, value in answer.headers.items()},
                )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Page(code="connect", url=url, is_sent=False)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return Page(code=f"cut_off {type(error).__name__}", url=url)


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
