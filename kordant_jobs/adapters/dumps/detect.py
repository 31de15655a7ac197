"""Detects the layout of a document from at most 500 lines of its first MiB."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial

import polars as pl

from kordant_jobs.adapters.dumps.columns import (
    MOSTLY,
    STRAY,
    are_of_the_world,
    betrays_itself,
    is_email,
    is_personal_number,
    is_phone,
    named_columns,
    reaches,
    role_by_name,
    unnamed_columns,
)
from kordant_jobs.adapters.dumps.model import IDENTIFYING, SECRET, USUAL, Column, DumpShape, Layout, Role, identifies
from kordant_jobs.adapters.dumps.sweep import top_domains
from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs.errors import DumpUnreadable

_USUAL_LINE = 1 << 16
_REGULAR = 0.8  # of the lines must have the same number of columns
_DELIMITERS = (",", ";", "\t", "|", ":", "\x01")
_RARE = ("^", "~", " - ", " -> ", "=>", "->", "#", "=", ">")
"""Delimiters tried when no layout has one of the usual ones."""
_LONG = ("::", "||", ";;", " - ", "->", "=>")
"""Delimiters between a site, a login and a password only; elsewhere a doubled delimiter means an empty column."""
_MARK = r"(?:[^\w\s@\"'<]{1,4}\s+|\d{1,9}[.)]\s+)?"
"""A mark before the address of a list: '1. ', '- ', '[+] ', a bullet, a tick."""
_LEADING = re.compile(rf"""^\s*{_MARK}[\s"'<]*([^\s:;,|"'<>]+@[^\s:;,|"'<>]+)["'>]*(?:\s*([:;,|\t])|( ))?""")


def layout_of(lines: Sequence[str], *, shape: DumpShape | None, phone_region: str) -> Layout:
    """The layout of lines with separators. With `shape`, only the rest is detected.

    Raises:
        DumpUnreadable: nothing in it looks like an identifier, or it does not fit the given shape.
    """
    usual = [line for line in lines if len(line) <= _USUAL_LINE] or lines
    finders = {
        DumpShape.SITE_LOGIN: _site_login,
        DumpShape.CSV: _csv,
        DumpShape.DELIMITED: _delimited,
        DumpShape.COMBO: _combo,
        DumpShape.PLAIN: _plain,
    }
    for candidate, find in finders.items():
        if shape in (None, candidate):
            layout = find(usual, phone_region, shape is not None)
            if layout is not None:
                return layout
    rare = tuple(one for one in _RARE if sum(one in line for line in usual) >= _REGULAR * len(usual))
    for candidate, find_rare in {
        DumpShape.CSV: _csv,
        DumpShape.DELIMITED: _delimited,
        DumpShape.COMBO: _combo_by,
    }.items():
        if rare and usual and shape in (None, candidate):
            layout = find_rare(usual, phone_region, shape is not None, rare)
            if layout is not None:
                return layout
    if shape is not None:
        raise DumpUnreadable(f"The dump does not read as {shape}. Leave the shape out to have it detected.")
    raise DumpUnreadable(
        f"No identifiers were found in the first {len(lines)} lines of the dump. If it is one, give its shape "
        f"({', '.join(DumpShape)}); a list of bare user names is read only when given as plain."
    )


_LABEL = re.compile(
    r"""^[\s\-*+|>"'{(\[]*([^\W\d_][\w .\-/÷×]{0,30}?)[\])}]?(?:;[^:\n]{1,60})?\s*(?:::?|=>?)(?!//)\s*\S?"""
)
_VALUE = re.compile(r"^[^:]{0,39}[^:\s]:\s+\S")
"""A label and its value, as opposed to two names of columns."""
_WITHIN = re.compile(
    r"""(?:(?:^|[|,;/\t(\[{]|- )[ "':]{0,3}([^\W\d_][\w -]{0,30}?)|(?<=[ {(])([^\W\d_]\w{0,30}))"""
    r"""["'\])}]{0,2} ?[:=](?!/)"""
)
_LINES_JUDGED, _LINE_JUDGED = 100, 512
"""The lines, and the characters of each, that are searched for labels, which takes 2 to 35 ms."""
_RULE = re.compile(r"^[\s+|]*([=\-*_#~])\1{2,}\s*")
_EXPANDED = re.compile(r"-\[ RECORD \d+ \]")
"""A rule of psql's expanded display; the lines below it are 'name | value'."""
_LABELLED = 0.6
_SITE = re.compile(
    r"^\s*(?:[A-Za-z][A-Za-z0-9+.-]{1,15}://\S|(?:www\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[^\s:;,|]*)?[:;,|\t ])"
)
_PORT = re.compile(r"\d{1,5}")
_WITH_SCHEME = re.compile(r"^\s*[A-Za-z][A-Za-z0-9+.-]{1,15}://([^\s]*)")


def looks_labelled(lines: Sequence[str]) -> bool:
    """True when most lines have a label ('Login: …'), and one of the usual labels names a login or a password."""
    if any(map(_EXPANDED.match, lines[:3])):
        return True
    labelled, telling, rules = 0, 0, 0
    for line in lines:
        if _RULE.match(line):
            rules += 1
            continue
        found = _LABEL.match(line[:200])
        if found is None or role_by_name(line[found.end() - 1 :][:64]) is not None:  # 'email:password' is a header
            continue
        name = found[1].rpartition(".")[2] if role_by_name(found[1]) is None else found[1]
        role = role_by_name(name)
        labelled += 1
        telling += role in IDENTIFYING or role in SECRET
    held = len(lines) - rules
    if labelled < _LABELLED * held:
        return False
    return (telling > 0 and telling * 12 >= held) or looks_labelled_within(lines)


def looks_labelled_within(lines: Sequence[str]) -> bool:
    """True when most lines have several labels anywhere, with no address before the first: objects as programs
    print them, `User(email='ann@mail.example', phone=…)`."""
    judged = lines[:_LINES_JUDGED]
    return sum(map(_tells_within, judged)) >= max(1.0, _LABELLED * len(judged))


def _tells_within(line: str) -> bool:
    """True when a line has two labels with a role, one of them of an identifier: `Name: … - Phone: …`."""
    matches = _WITHIN.finditer(line[:_LINE_JUDGED])
    found = [(match.start(), role) for match in matches if (role := role_by_name(match[1] or match[2])) is not None]
    if len(found) < 2 or "@" in line[: found[0][0]]:
        return False
    return any(role in IDENTIFYING for _, role in found)


def _site_login(lines: Sequence[str], region: str, given: bool) -> Layout | None:
    """The layout site, separator, login, same separator, password. Not where the first line has names of columns."""
    if not given and lines and any(_names_all(lines[0], delimiter) for delimiter in _DELIMITERS):
        return None
    sites = [line for line in lines if _begins_with_site(line)]
    if len(sites) < (MOSTLY if given else _LABELLED) * len(lines) or not sites:
        return None
    best, hits = "", 0
    for separator in (*_LONG, *USUAL, "^", "~", ">", "#"):
        found = sum(_reads_as_login(line, separator) for line in sites)
        if found > hits:
            best, hits = separator, found
    if hits < MOSTLY * len(sites):
        return None
    beside = [line.rpartition(best)[2].strip() for line in sites]
    if not given and reaches(MOSTLY, beside, partial(is_personal_number, region=region)):
        return None
    columns = tuple(Column(name="", role=role) for role in (Role.SITE, Role.LOGIN, Role.PASSWORD))
    return Layout(shape=DumpShape.SITE_LOGIN, delimiter=best, columns=columns, phone_region=region)


def _begins_with_site(line: str) -> bool:
    """True when a line begins with a URL, or with a host that may exist: 'anna.koch' is not one."""
    if not _SITE.match(line):
        return False
    if _WITH_SCHEME.match(line):
        return True
    labels = re.split(r"[/:;,|\s]", line.strip(), maxsplit=1)[0].lower().split(".")
    return bool({labels[0], labels[-1]} & top_domains()) or all(label.isdigit() for label in labels)


def _names_all(line: str, delimiter: str) -> bool:
    """True when a line has the names of three or more columns, each with a role: the format that browsers export."""
    names = fields(line, delimiter)
    return sum(role_by_name(name) is not None for name in names) >= 3


def _reads_as_login(line: str, separator: str) -> bool:
    """True when a site is followed by two more fields."""
    found = _WITH_SCHEME.match(line)
    rest = line.strip()
    if found:
        rest = rest[rest.index("://") + 3 :]
    elif separator not in rest:
        return False
    if separator == ":":
        rest = re.sub(r"^([^/:]*):\d{1,5}(?=[/:])", r"\1", rest)
    site, found_one, rest = rest.partition(separator)
    login, found_two, password = rest.strip(separator).partition(separator)
    if not (found_one and found_two and login.strip() and "." in site + "."):
        return False
    if separator != ":" and _PORT.fullmatch(login.strip()):  # host|587|ann@mail.example|password
        return False
    return bool(password.strip()) and " " not in login.strip() and (found is not None or "." in site)


TITLE_LINES = 6
"""The most lines that may stand above the names of columns."""
_COLUMNS_MAX = 4_096


def _csv(lines: Sequence[str], region: str, given: bool, delimiters: tuple[str, ...] = _DELIMITERS) -> Layout | None:
    """The layout with a line of names, perhaps after a title ('Users') or Excel's 'sep=;'."""
    best: Layout | None = None
    first, most = 0, 0
    if found := re.match(r"(?i)^sep=(.)$", lines[0].strip()) if lines else None:
        delimiters, first = (found[1],), 1
    for at in range(first, min(len(lines), first + (1 if given else TITLE_LINES))):
        line = lines[at].strip().lstrip("\ufeff")
        if line.startswith("--") or "@" in line or _VALUE.match(line):
            continue
        layout = _under_header(line.lstrip("#").strip(), lines[at + 1 :], delimiters, region, given)
        known = sum(role_by_name(column.name) is not None for column in layout.columns) if layout else 0
        if known > most:
            best, most = layout, known
    return best


def _under_header(
    header: str, lines: Sequence[str], delimiters: Sequence[str], region: str, given: bool
) -> Layout | None:
    best: tuple[int, list[str], str] | None = None
    for delimiter in delimiters:
        names = fields(header, delimiter)[:_COLUMNS_MAX]
        roles = [role_by_name(name) for name in names]
        known = sum(role is not None for role in roles)
        if (identifies(roles) or given) and (best is None or known > best[0]):
            best = (known, names, delimiter)
    if best is None:
        return None
    _, names, delimiter = best
    if not all(len(name) <= 64 for name in names):
        return None
    quote = _quote_of(lines, delimiter)
    rows = [fields(line, delimiter, quote) for line in lines]
    columns = named_columns(names, rows, region)
    if not identifies(column.role for column in columns):
        return None
    return Layout(
        shape=DumpShape.CSV, delimiter=delimiter, columns=columns, quote=quote, header=header, phone_region=region
    )


def _quote_of(lines: Sequence[str], delimiter: str) -> str:
    """The quote character of cells: single if more cells begin with it than with a double one."""
    double = sum(f'{delimiter}"' in line or line.startswith('"') for line in lines)
    single = sum(f"{delimiter}'" in line or line.startswith("'") for line in lines)
    return "'" if single > double else '"'


def fields(line: str, delimiter: str, quote: str = '"') -> list[str]:
    """The cells of a line of CSV."""
    if quote not in line or len(delimiter) > 1:
        return [field.strip().strip(quote) for field in line.split(delimiter)]
    try:
        return next(csv.reader([line], delimiter=delimiter, quotechar=quote, skipinitialspace=True), [])
    except csv.Error:
        return []


def _regular(lines: Sequence[str], delimiter: str) -> tuple[int, list[list[str]]]:
    """The number of columns that most lines have, and those lines; 0 when it varies."""
    if sum(delimiter in line for line in lines) < _REGULAR * len(lines):
        return 0, []
    rows = [fields(line, delimiter) for line in lines]
    (count, hits), *_ = Counter(map(len, rows)).most_common(1) or [(0, 0)]
    if count < 2 or hits < _REGULAR * len(lines):
        return 0, []
    return count, [row for row in rows if len(row) == count]


def _delimited(
    lines: Sequence[str], region: str, given: bool, delimiters: tuple[str, ...] = _DELIMITERS
) -> Layout | None:
    """The layout by the delimiter that makes the most columns, one of them with an identifier. Not where a combo list
    fits as well."""
    best: Layout | None = None
    for delimiter in delimiters:
        count, rows = _regular(lines, delimiter)
        if not (len(best.columns) if best else 1) < count <= _COLUMNS_MAX:
            continue
        columns = unnamed_columns(rows, count, region)
        if delimiter in _RARE and any(column.role is Role.LOGIN for column in columns):
            continue  # 'USER=ann@mail.example' between other lines: what else stands there is no user name
        if identifies(column.role for column in columns):
            quote = _quote_of(lines, delimiter)
            best = Layout(
                shape=DumpShape.DELIMITED, delimiter=delimiter, columns=columns, quote=quote, phone_region=region
            )
    if best is None or given:
        return best
    roles = [column.role for column in best.columns]
    identifying = [at for at, role in enumerate(roles) if role in IDENTIFYING]
    is_combo = identifying == [0] and (len(roles) == 2 or (roles[1] in SECRET and best.delimiter == ":"))
    return None if is_combo else best


def _combo(lines: Sequence[str], region: str, given: bool) -> Layout | None:
    matches = [match for match in map(_LEADING.match, lines) if match and is_email(match[1])]
    delimiters = Counter(match[2] or match[3] for match in matches if match[2] or match[3])
    behind = sum(delimiters.values())
    if behind and behind >= MOSTLY * len(lines):
        delimiter = delimiters.most_common(1)[0][0]
        others = sum(_starts_otherwise(line, delimiter, region) for line in lines)
        role = Role.EMAIL if others <= STRAY * len(lines) else Role.LOGIN
        return _combo_layout(delimiter, role, region)
    for role in (Role.PHONE, Role.LOGIN):
        for delimiter in USUAL:
            pairs = [line.partition(delimiter) for line in lines if delimiter in line]
            if role is Role.LOGIN:  # quoted words with a comma behind each are the source of a program
                pairs = [pair for pair in pairs if pair[2].strip("\"' \t,;:|")]
            heads = [head.strip() for head, _, _ in pairs]
            if not heads or (role is Role.LOGIN and (delimiter == " " or _are_spaced(pairs))):
                continue
            share = (MOSTLY if given or role is Role.PHONE else _REGULAR) * len(lines) / len(heads)
            if share > 1 or not reaches(share, heads, partial(_is, role, region=region)):
                continue
            if role is Role.PHONE or not betrays_itself(pl.Series(heads, dtype=pl.String)):
                return _combo_layout(delimiter, role, region)
    return None


def _are_spaced(pairs: Sequence[tuple[str, str, str]]) -> bool:
    """True when most values are apart from their separator by a blank: 'name: value', as in code and settings."""
    return sum(rest[:1].isspace() for _, _, rest in pairs) > MOSTLY * len(pairs)


def _combo_by(lines: Sequence[str], region: str, given: bool, delimiters: tuple[str, ...]) -> Layout | None:
    """The layout of an address or a phone number, one of `delimiters`, and a rest."""
    for delimiter in delimiters:
        parts = [line.partition(delimiter) for line in lines]
        heads = [head.strip(" \t\"'<>") for head, _, rest in parts if rest.strip()]
        for role in (Role.EMAIL, Role.PHONE):
            share = MOSTLY * len(lines) / max(1, len(heads))
            if share <= 1 and reaches(share, heads, partial(_is_sure, role, region=region)):
                return _combo_layout(delimiter, role, region)
    return None


def _is_sure(role: Role, value: str, region: str) -> bool:
    return is_email(value) if role is Role.EMAIL else is_phone(value, region)


def _combo_layout(delimiter: str, role: Role, region: str) -> Layout:
    columns = (Column(name="", role=role), Column(name="", role=Role.PASSWORD))
    return Layout(shape=DumpShape.COMBO, delimiter=delimiter, columns=columns, phone_region=region)


def _starts_otherwise(line: str, delimiter: str, region: str) -> bool:
    """True for a line of a combo list that starts with a phone number or a user name, and is no comment."""
    head, found, _ = line.partition(delimiter)
    return bool(found) and "@" not in head and (_is(Role.LOGIN, head, region) or _is(Role.PHONE, head, region))


def _is(role: Role, value: str, region: str) -> bool:
    if role is Role.PHONE:
        return is_phone(value, region) or (value.isdigit() and len(value) > 10 and is_phone(f"+{value}", region))
    return is_email(value) or normalise(IdentifierKind.USERNAME, value) is not None


def _is_bare_email(value: str) -> bool:
    """True for an address without an assignment: 'USER=ann@mail.example' could pass as one, too."""
    return "=" not in value and is_email(value)


_NAMED = re.compile(r"^[^@]{0,80}<\s*([^\s<>@]+@[^\s<>@]+)>[\s,;]*$")


def _plain(lines: Sequence[str], region: str, given: bool) -> Layout | None:
    """The layout of one identifier on each line, perhaps as `Name <address>`."""
    named = [_NAMED.match(line) for line in lines]
    values = [(found[1] if found else line).strip(" \t\r\"'<>,;") for line, found in zip(lines, named, strict=True)]
    if not given and values and are_of_the_world(values):
        return Layout(shape=DumpShape.PLAIN, columns=(Column(name="", role=Role.PHONE),), phone_region=region)
    if not given and not reaches(MOSTLY, values, lambda value: _is_bare_email(value) or is_phone(value, region)):
        return None
    emails = sum(map(is_email, values))
    phones = sum(is_phone(value, region) for value in values)
    if given:
        role = Role.EMAIL if emails > (1 - STRAY) * len(values) else Role.LOGIN
    elif not values:
        return None
    else:
        role = Role.EMAIL if not phones else Role.PHONE if not emails else Role.LOGIN
    return Layout(shape=DumpShape.PLAIN, columns=(Column(name="", role=role),), phone_region=region)
