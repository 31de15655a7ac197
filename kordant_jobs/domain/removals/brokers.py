"""Data brokers: the facts in lists, and how several rows become one broker. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from publicsuffixlist import PublicSuffixList

from kordant_jobs.domain.property.names import SUFFIXES, TITLES


class ListSource(StrEnum):
    """The lists that the catalogue is made from, the most trusted first: where two differ, the first one counts."""

    KORDANT = "kordant"
    CALIFORNIA_LINKS = "california_links"
    """The registry's opt-out links, each of which was tested."""
    CALIFORNIA = "california"
    ERASER = "eraser"
    DUCKDUCKGO = "duckduckgo"
    JUSTVANISH = "justvanish"
    DATENANFRAGEN = "datenanfragen"
    FRONTS = "fronts"


class RemovalChannel(StrEnum):
    """The channels by which a request can reach a broker, the preferred one first."""

    DRP = "drp"
    """The Data Rights Protocol."""
    FORM_POST = "form_post"
    """A plain HTTP form that the recipe allows us to post."""
    EMAIL = "email"
    WEB_FORM = "web_form"
    """A form that a person has to fill in."""
    DROP = "drop"
    """California's platform, which accepts requests from consumers only."""


@dataclass(frozen=True, kw_only=True)
class BrokerRow:
    """One row of one list. `key` identifies it within the list, as long as the list keeps it. `handled_by` is the
    domain or name of the broker whose opt-out covers this one. `dead_links` are links that the list's makers found
    dead."""

    source: ListSource
    key: str
    name: str
    domains: tuple[str, ...] = ()
    website: str = ""
    emails: tuple[str, ...] = ()
    opt_out_url: str = ""
    regions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    requires_id: bool = False
    handled_by: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    dead_links: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A row that became no broker, with the reason."""

    key: str
    reason: str


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def host_of(url: str) -> str:
    """The host of a URL; empty where it has none.

    >>> host_of("https://x.com:8/a"), host_of("http://[x"), host_of("x.com")
    ('x.com', '', '')
    """
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


@lru_cache(maxsize=65_536)
def registrable(host: str) -> str:
    """The registered domain; empty where the text is not a host.

    >>> registrable("https://www.bbc.co.uk/privacy"), registrable("privacy [at] vdx.tv"), registrable("localhost")
    ('bbc.co.uk', '', '')
    """
    text = host.strip().lower()
    if "//" in text:
        text = "" if text.startswith("//") else host_of(text)
    text = text.partition("/")[0].partition(":")[0].strip(".")
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", text):
        return ""
    return _suffixes().privatesuffix(text) or ""


_NO_NAMES = SUFFIXES.keys() | TITLES


def places_of(details: Mapping[str, str], *, year: int | None = None) -> dict[str, str]:
    """A person's details, with first and last name split, and the age that they reach in a year.

    >>> found = places_of({"name": "Ann Maria Example, Jr.", "birth_year": "1980"}, year=2026)
    >>> found["last_name"], found["age"]
    ('Example', '46')
    """
    words = details.get("name", "").replace(",", " ").split()
    name = [one for one in words if one.strip(".").upper() not in _NO_NAMES]
    born = details.get("birth_year") or details.get("birth_date", "")[:4]
    age = {"age": str(year - int(born))} if year and born.isdigit() else {}
    return {**details, "first_name": name[0] if name else "", "last_name": name[-1] if len(name) > 1 else "", **age}


def prefilled(template: str, details: Mapping[str, str], *, year: int | None = None) -> str | None:
    """The address of a form, filled with only the details that its template names; None where one is missing.

    >>> prefilled("https://b.com/?f={first_name}&c={city}", {"name": "Ann Example", "city": "São Tomé", "phone": "1"})
    'https://b.com/?f=Ann&c=S%C3%A3o%20Tom%C3%A9'
    >>> prefilled("https://b.com/opt?c={city}", {"name": "Ann Example"})
    """
    given, named = places_of(details, year=year), re.findall(r"\{(\w+)\}", template)
    if not template.startswith("https://") or not all(given.get(name) for name in named):
        return None
    return re.sub(r"\{(\w+)\}", lambda found: quote(given[found[1]], safe=""), template)


MAIL_HOSTS = frozenset(
    {
        "aol.com", "gmail.com", "gmx.de", "gmx.net", "hotmail.com", "icloud.com", "outlook.com", "proton.me",
        "protonmail.com", "web.de", "yahoo.com",
    }
)  # fmt: skip
"""Mail domains that do not identify the owner of an address."""

FORM_HOSTS = frozenset(
    {
        "aboutads.info", "formstack.com", "google.com", "jotform.com", "networkadvertising.org", "onetrust.com",
        "securiti.ai", "transcend.io", "trustarc.com", "typeform.com", "wufoo.com", "zendesk.com",
    }
)  # fmt: skip
"""Domains of form services and directories: a broker with a form there does not own the domain."""


def squashed(name: str) -> str:
    """A name without the parts that lists write differently.

    >>> squashed("Spokeo, Inc."), squashed("people_yellowpages_com"), squashed("Data Axle LLC")
    ('spokeo', 'peopleyellowpagescom', 'dataaxle')
    """
    text = re.sub(r"\b(inc|llc|ltd|limited|corp|corporation|co|gmbh|ag|se|lp|plc|company)\b\.?", " ", name.lower())
    return re.sub(r"[^a-z0-9]", "", text) or re.sub(r"[^a-z0-9]", "", name.lower())


def domain_of(row: BrokerRow) -> str:
    """The domain that a row is merged by: its own, its website's, or its mail address's; else empty."""
    mail = [address.rpartition("@")[2] for address in row.emails]
    for text in (*row.domains, row.website, *mail):
        found = registrable(text)
        if found and found not in MAIL_HOSTS and found not in FORM_HOSTS:
            return found
    return ""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A broker in our catalogue: the facts of all its rows, the most trusted list first."""

    key: str
    name: str
    domains: tuple[str, ...]
    website: str
    emails: tuple[str, ...]
    opt_out_url: str
    regions: tuple[str, ...]
    categories: tuple[str, ...]
    requires_id: bool
    handled_by: str
    recipe: Mapping[str, Any]
    sources: tuple[str, ...]
    dead_links: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return {
            one.name: list(value) if isinstance(value := getattr(self, one.name), tuple) else value
            for one in fields(self)
        }

    @property
    def channels(self) -> tuple[RemovalChannel, ...]:
        """The available channels, the preferred one first."""
        recipe = self.recipe
        if recipe.get("channel") == RemovalChannel.DROP:
            return (RemovalChannel.DROP,)
        ways = {
            RemovalChannel.DRP: bool(recipe.get("drp_business_id")),
            RemovalChannel.FORM_POST: bool(recipe.get("post")),
            RemovalChannel.EMAIL: bool(self.emails) and not recipe.get("no_email"),
            RemovalChannel.WEB_FORM: bool(self.opt_out_url),
        }
        return tuple(channel for channel, is_open in ways.items() if is_open)


def merge(key: str, rows: Iterable[BrokerRow]) -> Broker:
    """Combine rows, in any order, into one broker. Single values come from the most trusted list that has one, lists
    are combined, and dead links are left out."""
    order = list(ListSource)
    found = sorted(rows, key=lambda row: (order.index(row.source), row.key))
    dead = {link for row in found for link in row.dead_links}

    def first(values: Sequence[str]) -> str:
        return next((value for value in values if value and value not in dead), "")

    def together(values: Iterable[Sequence[str]]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value for one in values for value in one if value))

    mentioned = (registrable(text) for row in found for text in (*row.domains, row.website))
    domains = [domain_of(row) for row in found] + [one for one in mentioned if one not in FORM_HOSTS | MAIL_HOSTS]
    return Broker(
        key=key,
        name=first([row.name for row in found]),
        domains=together([domains]),
        website=first([row.website for row in found]),
        emails=together(row.emails for row in found),
        opt_out_url=first([row.opt_out_url for row in found]),
        regions=together(row.regions for row in found),
        categories=together(row.categories for row in found),
        requires_id=any(row.requires_id for row in found),
        handled_by=first([row.handled_by for row in found]),
        recipe={name: value for row in reversed(found) for name, value in row.recipe.items()},
        sources=together([[row.source.value for row in found]]),
        dead_links=tuple(sorted(dead)),
    )


def same_page(brokers: Mapping[str, Broker]) -> dict[str, str]:
    """The brokers handled by another one, whose opt-out page they give as theirs, by their keys. The page's owner, by
    its domain, is never handled by the others.

    >>> one = merge("equifax.com", [BrokerRow(source=ListSource.ERASER, key="1", name="Equifax",
    ...     website="https://equifax.com", opt_out_url="https://www.equifax.com/my-privacy")])
    >>> two = merge("ixi.com", [BrokerRow(source=ListSource.ERASER, key="2", name="IXI", website="https://ixi.com",
    ...     opt_out_url="https://equifax.com/my-privacy/")])
    >>> same_page({"equifax.com": one, "ixi.com": two})
    {'ixi.com': 'equifax.com'}
    """
    owners = {domain: key for key, broker in sorted(brokers.items(), reverse=True) for domain in broker.domains}
    pages: dict[str, set[str]] = {}
    for key, broker in brokers.items():
        if page := plain_url(broker.opt_out_url):
            pages.setdefault(page, set()).add(key)
    found = {}
    for page, keys in pages.items():
        owner = owners.get(registrable(page))
        if owner in keys and "/" in page.strip("/"):
            found.update(dict.fromkeys(sorted(keys - {owner}), owner))
    return found


def same_mailbox(brokers: Mapping[str, Broker]) -> dict[str, str]:
    """The brokers that another one handles because both are asked at one mail address, by their keys: one request there
    names them all. The address's owner by its domain handles the others, else the one whose key comes first.

    >>> one, two, three = (merge(f"{name}.com", [BrokerRow(source=ListSource.ERASER, key=name, name=name,
    ...     website=f"https://{name}.com", emails=(f"privacy@{box}.com",))]) for name, box in ("ab", "bb", "cc"))
    >>> same_mailbox({one.key: one, two.key: two, three.key: three})
    {'a.com': 'b.com'}
    """
    boxes: dict[str, list[str]] = {}
    for key, broker in sorted(brokers.items()):
        if broker.channels[:1] == (RemovalChannel.EMAIL,) and not broker.recipe.get("only"):
            boxes.setdefault(broker.emails[0].lower(), []).append(key)
    found = {}
    for box, keys in boxes.items():
        owner = next((key for key in keys if registrable(box.rpartition("@")[2]) in brokers[key].domains), keys[0])
        found.update({key: owner for key in keys if key != owner})
    return found


def plain_url(url: str) -> str:
    """A URL in the form for comparison: without scheme, `www.`, closing slash and fragment."""
    host = host_of(url.strip().lower()).removeprefix("www.")
    parts = urlsplit(url.strip().lower() if host else "")
    return f"{host}{parts.path.rstrip('/')}" + (f"?{parts.query}" if parts.query else "") if host else ""


FIELDS_BY_CATEGORY: Mapping[str, tuple[str, ...]] = {
    "people-search": ("name", "email", "city", "state"),
    "background-check": ("name", "email", "city", "state"),
    "ads": ("email",),
    "adtech": ("email",),
    "marketing": ("name", "email"),
}
"""The fields that a broker of a category needs to find a person, where its recipe does not say. They are minimal: no
birth date, no phone, no street, unless a recipe requires it."""

FIELDS_ELSE = ("name", "email")


def fields_needed(broker: Broker) -> tuple[str, ...]:
    """The fields that a request to this broker discloses."""
    addresses = broker.recipe.get("send")
    if addresses:
        return tuple(addresses)
    return next((FIELDS_BY_CATEGORY[one] for one in broker.categories if one in FIELDS_BY_CATEGORY), FIELDS_ELSE)


def form_fields(form: Mapping[str, Any], details: Mapping[str, str]) -> tuple[str, ...]:
    """The details that posting a form discloses: those that it has a place for and the subscriber gave."""
    return tuple(dict.fromkeys(name for name in form["fields"].values() if details.get(name)))


@dataclass(frozen=True, kw_only=True)
class Change:
    """One broker that differs between two versions; `before` and `after` have only the differing facts."""

    key: str
    kind: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


def diff(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> list[Change]:
    """The brokers added, removed and changed between two catalogues of facts by key.

    >>> [(one.key, one.kind, dict(one.after)) for one in diff({"a": {"x": 1}, "b": {}}, {"a": {"x": 2}, "c": {}})]
    [('a', 'changed', {'x': 2}), ('b', 'removed', {}), ('c', 'added', {})]
    """
    found = []
    for key in sorted({*before, *after}):
        if key not in after:
            found.append(Change(key=key, kind="removed", before=before[key]))
        elif key not in before:
            found.append(Change(key=key, kind="added", after=after[key]))
        elif before[key] != after[key]:
            names = [name for name in {**before[key], **after[key]} if before[key].get(name) != after[key].get(name)]
            found.append(
                Change(
                    key=key,
                    kind="changed",
                    before={name: before[key].get(name) for name in names},
                    after={name: after[key].get(name) for name in names},
                )
            )
    return found
