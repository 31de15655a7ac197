"""Reads lists of data brokers, whichever it is: by the header of a table or the structure of a document.

Known: eraser's YAML, justvanish's YAML documents, datenanfragen's JSON lines, DuckDuckGo's recipes, two kinds of joins,
the California registry with 8 columns (2021) and 77 (since 2025), its links as tried one by one, and our own starter
list. Every row becomes a `BrokerRow` or is skipped with a reason.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kordant_jobs import outside_json
from kordant_jobs.domain.removals.brokers import BrokerRow, ListSource, Skipped, registrable
from kordant_jobs.errors import CatalogueUnreadable

LIST_MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class BrokerList:
    """A list as it was read: each of its `rows_read` rows is in `rows` or in `skipped`. `is_cut`: the file ends in the
    middle of its last row."""

    source: ListSource
    rows: tuple[BrokerRow, ...]
    skipped: tuple[Skipped, ...] = ()
    rows_read: int
    layout: str = field(default="", compare=False)
    is_cut: bool = False


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
    table = _of_csv(text) if text.lstrip()[:1] != "{" else None
    if table is not None:
        return _collected(*table)
    return _collected(*(_of_json(text) if text.lstrip()[:1] == "{" else _of_yaml(text)))


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 40
_SHORT.maxlevel = 2


class _Post(BaseModel):
    model_config = ConfigDict(strict=True)
    url: str
    fields: dict[str, str]
    fixed: dict[str, str] = {}
    success: Annotated[str, Field(min_length=1)]


class _Search(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, str]
    url: str
    result: str


class _Recipe(BaseModel):
    """The parts of a recipe that our code reads, in their types."""

    model_config = ConfigDict(strict=True, extra="allow")
    channel: Literal["drop"] | None = None
    only: str | None = None
    language: Literal["en", "pt-BR"] | None = None
    prefill: str | None = None
    drp_business_id: str | None = None
    no_email: bool | None = None
    send: list[str] | None = None
    steps: list[str] | None = None
    regulated_by: list[str] | None = None
    daily_cap: Annotated[int, Field(ge=1)] | None = None
    cool_down_days: Annotated[int, Field(ge=0, le=3650)] | None = None
    search: _Search | None = None
    post: _Post | None = None


def _problem(row: BrokerRow) -> str | None:
    """Why a row can be no broker, if so."""
    lists = (row.domains, row.emails, row.regions, row.categories, row.dead_links)
    single = (row.key, row.name, row.website, row.opt_out_url, row.handled_by, row.notes)
    texts = [*single, *(text for one in lists for text in one)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(row.recipe, Mapping):
        return "a field is of another type than the list's form wants"
    if any("\0" in text for text in texts):
        return "a field has a NUL character"
    if not row.name.strip():
        return "it has no name"
    if bad := [one for one in row.emails if not re.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", one)]:
        return f"{_SHORT.repr(bad[0])} is no mail address"
    try:
        _Recipe.model_validate(dict(row.recipe))
    except ValidationError as error:
        first = error.errors()[0]
        return f"its recipe: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    return None


Entry = BrokerRow | Skipped
Read = tuple[ListSource, str, Iterable[Any], Callable[[Any], Iterable[Entry]], bool]
"""The source and layout of a list, its entries, what makes rows of one, and whether the file ends in the middle."""


def _each(entries: Iterable[Any], read: Callable[[Any], Iterable[Entry]]) -> Iterator[Entry]:
    for entry in entries:
        try:
            yield from list(read(entry))
        except (KeyError, TypeError, AttributeError, ValueError, IndexError):
            yield Skipped(key=_SHORT.repr(entry), reason="the entry is none of the list's form")


def _collected(
    source: ListSource, layout: str, entries: Iterable[Any], read: Callable[[Any], Iterable[Entry]], is_cut: bool
) -> BrokerList:
    rows: dict[str, BrokerRow] = {}
    skipped: list[Skipped] = []
    count = 0
    for one in _each(entries, read):
        count += 1
        if isinstance(one, Skipped):
            skipped.append(one)
        elif problem := _problem(one):
            skipped.append(Skipped(key=one.key if isinstance(one.key, str) else _SHORT.repr(one.key), reason=problem))
        elif one.key in rows:
            skipped.append(Skipped(key=one.key, reason="the list has this row twice; the first counts"))
        else:
            rows[one.key] = one
    return BrokerList(
        source=source, rows=tuple(rows.values()), skipped=tuple(skipped), rows_read=count, layout=layout, is_cut=is_cut
    )


def _texts(value: Any) -> tuple[str, ...]:
    """A list of texts; one text is a list of one."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def _unknown(what: str) -> CatalogueUnreadable:
    return CatalogueUnreadable(
        f"{what} is no list of brokers that we know. `kordant-jobs brokers import --help` names the forms."
    )


def _of_json(text: str) -> Read:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        first = outside_json.loads(lines[0])
    except ValueError:
        first = None
    if isinstance(first, dict) and "slug" in first:
        is_cut = not text.endswith("\n") and not lines[-1].rstrip().endswith("}")
        return ListSource.DATENANFRAGEN, "datenanfragen", lines, _datenanfragen, is_cut
    try:
        whole = outside_json.loads(text)
    except ValueError:
        raise _unknown("the file") from None
    recipes = list(whole.values()) if isinstance(whole, dict) else []
    if recipes and all(isinstance(one, dict) and "steps" in one for one in recipes):
        return ListSource.DUCKDUCKGO, "duckduckgo", whole.items(), _duckduckgo, False
    raise _unknown("the JSON")


def _datenanfragen(line: str) -> Iterator[Entry]:
    try:
        raw = outside_json.loads(line)
        yield BrokerRow(
            source=ListSource.DATENANFRAGEN,
            key=raw["slug"],
            name=raw["name"],
            website=raw.get("web", ""),
            emails=_texts(raw.get("email")),
            opt_out_url=raw.get("webform", ""),
            regions=_texts(raw.get("relevant-countries")),
            categories=_texts(raw.get("categories")),
            requires_id=bool(raw.get("needs-id-document")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Skipped(key=line[:40], reason="the line is no record with slug and name")


_PLACES = {"firstName": "first_name", "lastName": "last_name", "city": "city", "state": "state", "age": "age"}


def _duckduckgo(entry: tuple[str, Mapping[str, Any]]) -> Iterator[Entry]:
    key, raw = entry
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
    if not {"url", "result"} <= recipe.get("search", {}).keys():
        recipe.pop("search", None)
    yield BrokerRow(
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


_CALIFORNIA: Mapping[str, str] = {
    "name": r"(data broker|business|legal( business)?)?( legal)? ?name",
    "dba": r".*(doing business as|\bdba\b).*",
    "website": r"((data broker|business|public)('s)? )?(primary )?(website|web site|internet)( address| url)?",
    "email": r".*e-?mail.*",
    "rights": r"how a consumer may .*|(?=.*(exercise|rights|delet|opt.?out))(?=.*(web ?site|url|link|page)).*",
    "fcra": r".*(\bfcra\b|fair credit).*",
}
"""Headers of the registry as published since 2020, with 8 to 77 columns. They are matched by what they say: their
number, order and signs change from year to year."""
HEADER_ROWS = 10
"""Rows in which the headers are looked for: the registry has a row of notes above them in some years."""

_NO_LINK = re.compile(r"https?://[^\s,;\"')\]]+", re.IGNORECASE)


def _header(cell: str) -> str:
    """A header without what is not said: odd blanks, a colon or star at its end, notes in brackets.

    >>> _header("Data broker\N{NO-BREAK SPACE}name: *"), _header("Business Name [optional]")
    ('data broker name', 'business name')
    """
    text = unicodedata.normalize("NFKC", cell).replace("’", "'").lower()
    return " ".join(re.sub(r"\[[^\]]*\]", " ", text).split()).strip(" :*?.")


def _columns(cells: Sequence[str]) -> tuple[ListSource, dict[str, int]] | None:
    """The columns of a table that we know, by its headers."""
    headers = [_header(one) for one in cells]
    if {"url_original", "company_name"} <= set(headers):
        return ListSource.CALIFORNIA_LINKS, {name: place for place, name in enumerate(headers)}
    found = {
        name: place
        for name, pattern in _CALIFORNIA.items()
        if (place := next((at for at, one in enumerate(headers) if re.fullmatch(pattern, one)), None)) is not None
    }
    return (ListSource.CALIFORNIA, found) if {"name", "website", "email"} <= set(found) else None


def _of_csv(text: str) -> Read | None:
    """A table, or None when the text looks like none. Its headers are in one of its first rows."""
    start = "\n".join(text.splitlines()[: 5 * HEADER_ROWS])
    for delimiter in ",;\t":
        for place, cells in enumerate(_rows(start, delimiter)[0][:HEADER_ROWS]):
            if (known := _columns(cells)) is not None:
                return _table(known, *_rows(text, delimiter), place, len(cells))
    if "," in text.partition("\n")[0] and not text.lstrip().startswith(("-", "#")):
        raise _unknown("the table")
    return None


def _rows(text: str, delimiter: str) -> tuple[list[list[str]], bool]:
    """The rows of a table, and whether it ends within a quoted cell."""
    is_cut = False
    try:
        for _ in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            pass
    except csv.Error as error:
        is_cut = "unexpected end" in str(error)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)), is_cut
    except csv.Error as error:
        raise CatalogueUnreadable(f"the table cannot be read: {error}.") from None


def _table(
    known: tuple[ListSource, dict[str, int]], rows: list[list[str]], ends_in_quotes: bool, place: int, width: int
) -> Read:
    source, columns = known
    body = [(number, row) for number, row in enumerate(rows[place + 1 :], place + 2) if any(map(str.strip, row))]
    is_cut = ends_in_quotes or bool(body and len(body[-1][1]) < width)
    whole = body[:-1] if is_cut else body
    cells = [
        {"line": str(number)} | {name: row[at].strip() if at < len(row) else "" for name, at in columns.items()}
        for number, row in whole
    ]
    if source is ListSource.CALIFORNIA_LINKS:
        return source, "california_links", cells, _links, is_cut
    return source, f"california, {width} columns", cells, _california, is_cut


def _addresses(text: str) -> tuple[str, ...]:
    """Mail addresses in a cell; the registry of 2021 writes ` [at] ` for the sign."""
    plain = re.sub(r"\s*[\[(]\s*at\s*[\])]\s*", "@", text, flags=re.IGNORECASE)
    plain = re.sub(r"\s*[\[(]\s*dot\s*[\])]\s*", ".", plain, flags=re.IGNORECASE)
    return tuple(dict.fromkeys(one.lower().strip(".") for one in re.findall(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", plain)))


def _california(cells: Mapping[str, str]) -> Iterator[Entry]:
    if not cells["name"]:
        yield Skipped(key=f"line {cells['line']}", reason="it has no name")
        return
    links = [one.rstrip(".") for one in _NO_LINK.findall(cells.get("rights", ""))]
    website = cells["website"].split()[0] if cells["website"] else ""
    if website and "//" not in website:
        website = f"https://{website}"
    name = " ".join(cells["name"].split())
    exempt = cells.get("fcra", "").lower() in {"yes", "true", "y", "x"}
    yield BrokerRow(
        source=ListSource.CALIFORNIA,
        key=name.lower(),
        name=name,
        website=website,
        emails=_addresses(cells["email"]),
        opt_out_url=links[0] if links else "",
        regions=("us-ca",),
        recipe={"regulated_by": ["fcra"]} if exempt else {},
    )


def _links(raw: Mapping[str, str]) -> Iterator[Entry]:
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


def _of_yaml(text: str) -> Read:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = [one for one in yaml.load_all(text, Loader=loader) if one is not None]
    except (yaml.YAMLError, ValueError):
        raise _unknown("the file") from None
    first = documents[0] if documents else None
    if isinstance(first, dict) and isinstance(first.get("kordant_brokers"), list):
        return ListSource.KORDANT, "kordant", first["kordant_brokers"], _own, False
    if isinstance(first, dict) and isinstance(first.get("brokers"), list):
        return ListSource.ERASER, "eraser", first["brokers"], _eraser, False
    if isinstance(first, dict) and "organization_name" in first:
        return ListSource.JUSTVANISH, "justvanish", documents, _justvanish, False
    if isinstance(first, dict) and first and all(isinstance(one, list) for one in first.values()):
        return ListSource.FRONTS, "fronts", first.items(), _fronts, False
    if isinstance(first, list) and first and all(isinstance(one, list) for one in first):
        return ListSource.FRONTS, "similar", first, _similar, False
    raise _unknown("the YAML")


def _own(raw: Any) -> Iterator[Entry]:
    yield BrokerRow(
        source=ListSource.KORDANT,
        key=raw["id"],
        name=raw["name"],
        domains=_texts(raw.get("domains")),
        website=raw.get("website", ""),
        emails=_texts(raw.get("emails")),
        opt_out_url=raw.get("opt_out_url", ""),
        regions=_texts(raw.get("regions")),
        categories=_texts(raw.get("categories")),
        requires_id=bool(raw.get("requires_id")),
        handled_by=raw.get("handled_by", ""),
        recipe=raw.get("recipe", {}),
        notes=raw.get("notes", ""),
    )


def _eraser(raw: Any) -> Iterator[Entry]:
    yield BrokerRow(
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


def _justvanish(raw: Any) -> Iterator[Entry]:
    contact = raw.get("contact") or {}

    def deletion(kind: str, name: str) -> tuple[str, ...]:
        entries = [one for one in contact.get(kind) or [] if one.get(name)]
        fit = [one for one in entries if any(use.startswith("delete") for use in one.get("usage") or [])]
        return tuple(dict.fromkeys(one[name].strip() for one in fit or entries))

    forms = deletion("form", "url")
    yield BrokerRow(
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


def _fronts(entry: tuple[str, Sequence[str]]) -> Iterator[Entry]:
    owner, names = entry
    for name in names:
        if not isinstance(name, str):
            yield Skipped(key=_SHORT.repr(owner), reason="one of its names is no text")
            continue
        yield BrokerRow(source=ListSource.FRONTS, key=f"{owner}/{name}", name=name, handled_by=owner)


def _similar(names: Sequence[str]) -> Iterator[Entry]:
    yield Skipped(
        key=", ".join(names), reason="these are alike, which is no statement that one opt-out covers them all"
    )
