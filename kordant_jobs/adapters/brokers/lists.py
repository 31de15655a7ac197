"""Reads lists of data brokers, whichever it is: by the header of a table or the structure of a document.

Known: eraser's YAML, justvanish's YAML documents, datenanfragen's JSON lines, DuckDuckGo's recipes, two kinds of joins,
the California registry with 8 columns (2021) and 77 (since 2025), its links as tried one by one, and our own starter
list. Every row becomes a `BrokerRow` or is skipped with a reason.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from kordant_jobs import outside_json
from kordant_jobs.domain.removals.brokers import BrokerRow, ListSource, Skipped, registrable
from kordant_jobs.errors import CatalogueUnreadable

LIST_MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class BrokerList:
    """A list as it was read: each of its `rows_read` rows is in `rows` or in `skipped`."""

    source: ListSource
    rows: tuple[BrokerRow, ...]
    skipped: tuple[Skipped, ...] = ()
    rows_read: int
    layout: str = field(default="", compare=False)


def read_broker_list(content: bytes) -> BrokerList:
    """The rows of a list.

    Raises:
        CatalogueUnreadable: it is too large, no text, or of no known form.
    """
    if len(content) > LIST_MAX_BYTES:
        raise CatalogueUnreadable(f"the list has more than {LIST_MAX_BYTES >> 20} MB. Give one list a file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CatalogueUnreadable("the list is not UTF-8 text. Save it as UTF-8.") from None
    head = text.lstrip()[:1]
    if head == "{":
        source, layout, entries = _of_json(text)
    elif "," in text.partition("\n")[0] and not text.lstrip().startswith(("-", "#")):
        source, layout, entries = _of_csv(text)
    else:
        source, layout, entries = _of_yaml(text)
    return _collected(source, layout, entries)


def _collected(source: ListSource, layout: str, entries: Iterator[BrokerRow | Skipped]) -> BrokerList:
    rows: dict[str, BrokerRow] = {}
    skipped: list[Skipped] = []
    count = 0
    for one in entries:
        count += 1
        if isinstance(one, Skipped):
            skipped.append(one)
        elif not one.name.strip():
            skipped.append(Skipped(key=one.key, reason="it has no name"))
        elif one.key in rows:
            skipped.append(Skipped(key=one.key, reason="the list has this row twice; the first counts"))
        else:
            rows[one.key] = one
    return BrokerList(source=source, rows=tuple(rows.values()), skipped=tuple(skipped), rows_read=count, layout=layout)


Entries = tuple[ListSource, str, Iterator["BrokerRow | Skipped"]]


def _unknown(what: str) -> CatalogueUnreadable:
    return CatalogueUnreadable(
        f"{what} is no list of brokers that we know. `kordant-jobs brokers import --help` names the forms."
    )


def _of_json(text: str) -> Entries:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        first = outside_json.loads(lines[0])
    except ValueError:
        first = None
    if isinstance(first, dict) and "slug" in first:
        return ListSource.DATENANFRAGEN, "datenanfragen", (_datenanfragen(line) for line in lines)
    try:
        whole = outside_json.loads(text)
    except ValueError:
        raise _unknown("the file") from None
    recipes = list(whole.values()) if isinstance(whole, dict) else []
    if recipes and all(isinstance(one, dict) and "steps" in one for one in recipes):
        return ListSource.DUCKDUCKGO, "duckduckgo", (_duckduckgo(key, one) for key, one in whole.items())
    raise _unknown("the JSON")


def _datenanfragen(line: str) -> BrokerRow | Skipped:
    try:
        raw = outside_json.loads(line)
        return BrokerRow(
            source=ListSource.DATENANFRAGEN,
            key=raw["slug"],
            name=raw["name"],
            website=raw.get("web", ""),
            emails=(raw["email"],) if raw.get("email") else (),
            opt_out_url=raw.get("webform", ""),
            regions=tuple(raw.get("relevant-countries", ())),
            categories=tuple(raw.get("categories", ())),
            requires_id=bool(raw.get("needs-id-document")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Skipped(key=line[:40], reason="the line is no record with slug and name")


_PLACES = {"firstName": "first_name", "lastName": "last_name", "city": "city", "state": "state", "age": "age"}


def _duckduckgo(key: str, raw: Mapping[str, Any]) -> BrokerRow | Skipped:
    if not raw.get("name"):
        return Skipped(key=key, reason="the recipe has no name")
    recipe: dict[str, Any] = {}
    steps: list[str] = []
    for step in raw["steps"]:
        actions = step.get("actions", [])
        if step.get("stepType") == "scan":
            recipe["search"] = _search(actions)
        for action in actions if step.get("stepType") == "optOut" else []:
            steps += [_step_words(action)]
            if action["actionType"] == "navigate" and "${" in action["url"]:
                recipe["prefill"] = _with_places(action["url"])
    if steps:
        recipe["steps"] = [step for step in steps if step]
    if any(one and not one.get("url") for one in (recipe.get("search"),)):
        recipe.pop("search")
    return BrokerRow(
        source=ListSource.DUCKDUCKGO,
        key=key,
        name=raw["name"],
        domains=(raw["url"],),
        website=f"https://{raw['url']}",
        opt_out_url=raw.get("optOutUrl", ""),
        regions=("us",),
        categories=("people-search",),
        handled_by=raw.get("parent") or "",
        recipe=recipe,
    )


_SHOWN = {
    "name": "name",
    "age": "age",
    "city_state": "addressCityState",
    "past_places": "addressCityStateList",
}
"""The fields of a result, and their names in recipes."""


def _with_places(url: str) -> str:
    """A link with our places in it; for what we never know (a middle name) the one that the recipe gives instead."""
    whole = re.sub(r"\$\{middleName\|defaultIfEmpty:([^}|]*)\}", r"\1", url)
    return re.sub(r"\$\{(\w+)(?:\|[^}]*)?\}", lambda one: "{" + _PLACES.get(one[1], one[1]) + "}", whole)


def _search(actions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A search page as our driver takes it: a link with places, and selectors."""
    found: dict[str, Any] = {}
    for action in actions:
        if action["actionType"] == "navigate":
            found["url"] = _with_places(action["url"])
        elif action["actionType"] == "extract":
            profile = action.get("profile", {})
            found["result"] = action["selector"]
            if action.get("noResultsSelector"):
                found["no_results"] = action["noResultsSelector"]
            for name, part in _SHOWN.items():
                if profile.get(part):
                    found[name] = profile[part].get("selector", "")
    return found


def _step_words(action: Mapping[str, Any]) -> str:
    kinds = ", ".join(one.get("type", "") for one in action.get("elements", []))
    match action["actionType"]:
        case "navigate":
            return f"Open {action['url']}"
        case "fillForm":
            return f"Fill in: {kinds}"
        case "click":
            return "Send the form"
        case "getCaptchaInfo" | "solveCaptcha":
            return "Solve the picture puzzle"
        case "emailConfirmation":
            return "Wait for a mail and open its link"
        case _:
            return ""


_CALIFORNIA_NEW: Mapping[str, str] = {
    "name": r"^(data broker |business |legal )?name\b(?!.*(dba|doing business|contact|agent))",
    "dba": r"doing business|\bdba\b",
    "website": r"^(primary )?(website|web ?site|internet)( address| url)?|business website",
    "email": r"e-?mail",
    "rights": r"(?=.*(exercise|rights|delet|opt.?out))(?=.*(web ?site|url|link|page))",
    "fcra": r"fcra|fair credit",
}
"""Headers of the registry with 77 columns, which are matched by what they say and not by where they stand."""

_NO_LINK = re.compile(r"https?://[^\s,;\"')\]]+", re.IGNORECASE)


def _of_csv(text: str) -> Entries:
    reader = csv.DictReader(io.StringIO(text))
    headers = [header.strip() for header in reader.fieldnames or []]
    reader.fieldnames = headers
    if "url_original" in headers and "company_name" in headers:
        return ListSource.CALIFORNIA_LINKS, "california_links", _links(reader)
    if "Data Broker Name" in headers and len(headers) < 20:
        columns = {"name": "Data Broker Name", "email": "Email Address", "website": "Website URL"}
        columns["rights"] = next((one for one in headers if one.lower().startswith("how a consumer may")), "")
        return ListSource.CALIFORNIA, "california, 8 columns", _california(reader, columns)
    columns = {
        name: found
        for name, pattern in _CALIFORNIA_NEW.items()
        if (found := next((one for one in headers if re.search(pattern, one, re.IGNORECASE)), ""))
    }
    if {"name", "website", "email"} <= set(columns):
        return ListSource.CALIFORNIA, f"california, {len(headers)} columns", _california(reader, columns)
    raise _unknown("the table")


def _addresses(text: str) -> tuple[str, ...]:
    """Mail addresses in a cell; the registry of 2021 writes ` [at] ` for the sign."""
    plain = re.sub(r"\s*[\[(]\s*at\s*[\])]\s*", "@", text, flags=re.IGNORECASE)
    plain = re.sub(r"\s*[\[(]\s*dot\s*[\])]\s*", ".", plain, flags=re.IGNORECASE)
    return tuple(dict.fromkeys(one.lower().strip(".") for one in re.findall(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", plain)))


def _california(reader: csv.DictReader[str], columns: Mapping[str, str]) -> Iterator[BrokerRow | Skipped]:
    for number, raw in enumerate(reader, 2):
        cells = {name: (raw.get(column) or "").strip() for name, column in columns.items()}
        if not cells["name"]:
            yield Skipped(key=f"line {number}", reason="it has no name")
            continue
        links = [one.rstrip(".") for one in _NO_LINK.findall(cells.get("rights", ""))]
        website = cells["website"].split()[0] if cells["website"] else ""
        if website and "//" not in website:
            website = f"https://{website}"
        exempt = cells.get("fcra", "").lower() in {"yes", "true", "y", "x"}
        yield BrokerRow(
            source=ListSource.CALIFORNIA,
            key=cells["name"].lower(),
            name=cells["name"],
            website=website,
            emails=_addresses(cells["email"]),
            opt_out_url=links[0] if links else "",
            regions=("us-ca",),
            recipe={"regulated_by": ["fcra"]} if exempt else {},
        )


def _links(reader: csv.DictReader[str]) -> Iterator[BrokerRow | Skipped]:
    for raw in reader:
        works = raw["status"] == "success"
        original, checked = raw["url_original"].strip(), (raw["url_final"] or raw["url_checked"]).strip()
        owner = BrokerRow(
            source=ListSource.CALIFORNIA_LINKS,
            key=raw["order_original"],
            name=raw["company_name"],
            domains=(registrable(raw["hostname_original"]),),
            opt_out_url=checked if works else "",
            regions=("us-ca",),
            dead_links=() if works else tuple(dict.fromkeys((original, raw["url_checked"].strip()))),
        )
        yield owner
        handled_by = owner.domains[0]
        for other in (raw.get("other_company_names_that_use_url_original") or "").split(";"):
            if other.strip():
                yield BrokerRow(
                    source=ListSource.CALIFORNIA_LINKS,
                    key=f"{raw['order_original']}/{other.strip()}",
                    name=other.strip(),
                    opt_out_url=owner.opt_out_url,
                    regions=("us-ca",),
                    handled_by=handled_by or raw["company_name"],
                )


def _of_yaml(text: str) -> Entries:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = [one for one in yaml.load_all(text, Loader=loader) if one is not None]
    except yaml.YAMLError:
        raise _unknown("the file") from None
    first = documents[0] if documents else None
    if isinstance(first, dict) and isinstance(first.get("kordant_brokers"), list):
        return ListSource.KORDANT, "kordant", (_own(one) for one in first["kordant_brokers"])
    if isinstance(first, dict) and isinstance(first.get("brokers"), list):
        return ListSource.ERASER, "eraser", (_eraser(one) for one in first["brokers"])
    if isinstance(first, dict) and "organization_name" in first:
        return ListSource.JUSTVANISH, "justvanish", (_justvanish(one) for one in documents)
    if isinstance(first, dict) and first and all(isinstance(one, list) for one in first.values()):
        return ListSource.FRONTS, "fronts", _fronts(first)
    if isinstance(first, list) and first and all(isinstance(one, list) for one in first):
        return ListSource.FRONTS, "similar", _similar(first)
    raise _unknown("the YAML")


def _guarded(make: Callable[[Any], BrokerRow]) -> Callable[[Any], BrokerRow | Skipped]:
    def read(raw: Any) -> BrokerRow | Skipped:
        try:
            return make(raw)
        except (KeyError, TypeError, AttributeError, ValueError):
            return Skipped(key=str(raw)[:40], reason="the entry has no id and name of the list's form")

    return read


@_guarded
def _own(raw: Any) -> BrokerRow:
    return BrokerRow(
        source=ListSource.KORDANT,
        key=raw["id"],
        name=raw["name"],
        domains=tuple(raw.get("domains", ())),
        website=raw.get("website", ""),
        emails=tuple(raw.get("emails", ())),
        opt_out_url=raw.get("opt_out_url", ""),
        regions=tuple(raw.get("regions", ())),
        categories=tuple(raw.get("categories", ())),
        requires_id=bool(raw.get("requires_id")),
        handled_by=raw.get("handled_by", ""),
        recipe=raw.get("recipe", {}),
        notes=raw.get("notes", ""),
    )


@_guarded
def _eraser(raw: Any) -> BrokerRow:
    return BrokerRow(
        source=ListSource.ERASER,
        key=raw["id"],
        name=raw["name"],
        website=raw.get("website") or "",
        emails=(raw["email"],) if raw.get("email") else (),
        opt_out_url=raw.get("opt_out_url") or "",
        regions=(raw["region"],),
        categories=(raw["category"],),
        requires_id=bool(raw.get("requires_id")),
        notes=raw.get("notes") or "",
    )


@_guarded
def _justvanish(raw: Any) -> BrokerRow:
    contact = raw.get("contact") or {}

    def deletion(kind: str, name: str) -> tuple[str, ...]:
        entries = [one for one in contact.get(kind) or [] if one.get(name)]
        fit = [one for one in entries if any(use.startswith("delete") for use in one.get("usage") or [])]
        return tuple(dict.fromkeys(one[name].strip() for one in fit or entries))

    forms = deletion("form", "url")
    return BrokerRow(
        source=ListSource.JUSTVANISH,
        key=f"{raw['organization_name']}|{raw.get('website') or ''}",
        name=raw["organization_name"],
        website=raw.get("website") or "",
        emails=_addresses(" ".join(deletion("email", "address"))),
        opt_out_url=forms[0] if forms else "",
        regions=tuple("us-ca" if one == "ccpa" else "eu" for one in raw.get("regulation") or []),
        categories=tuple(raw.get("organization_type") or ()),
        notes=(raw.get("notes") or "")[:2000],
    )


def _fronts(raw: Mapping[str, Sequence[str]]) -> Iterator[BrokerRow | Skipped]:
    for owner, names in raw.items():
        for name in names:
            yield BrokerRow(source=ListSource.FRONTS, key=f"{owner}/{name}", name=name, handled_by=owner)


def _similar(raw: Sequence[Sequence[str]]) -> Iterator[BrokerRow | Skipped]:
    for names in raw:
        yield Skipped(
            key=", ".join(names), reason="these are alike, which is no statement that one opt-out covers them all"
        )
