"""What the start of a document says about its layout. Judged from at most 500 lines of the first MiB."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence

from kordant_jobs.adapters.dumps.columns import (
    MOSTLY,
    STRAY,
    is_email,
    is_phone,
    named_columns,
    role_by_name,
    unnamed_columns,
)
from kordant_jobs.adapters.dumps.model import IDENTIFYING, SECRET, Column, DumpShape, Layout, Role, identifies
from kordant_jobs.adapters.dumps.sql import STATEMENT
from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs.errors import DumpUnreadable

_SAMPLE_LINES = 500
_USUAL_LINE = 1 << 16
_REGULAR = 0.8  # of the lines must have the same number of columns
_DELIMITERS = (",", ";", "\t", "|", ":")
_LEADING = re.compile(r"""^[\s"'<]*([^\s:;,|"'<>]+@[^\s:;,|"'<>]+)["'>]*\s*([:;,|\t ])?""")
_ANYWHERE = re.compile(r"""[:;,|\t"'<]\s*[^\s:;,|"'<>]+@[^\s:;,|"'<>]+\.[^\s:;,|"'<>]+""")


def layout_of(text: str, *, shape: DumpShape | None, phone_region: str) -> Layout:
    """The layout of a document that starts with `text`. With `shape` told, only the rest is found out.

    Raises:
        DumpUnreadable: nothing in it looks like an identifier, or it does not fit the told shape.
    """
    lines = [line for line in text.splitlines() if line.strip()][:_SAMPLE_LINES]
    usual = [line for line in lines if len(line) <= _USUAL_LINE] or lines
    finders = {
        DumpShape.SQL_INSERT: _sql,
        DumpShape.JSON_LINES: _json_lines,
        DumpShape.CSV: _csv,
        DumpShape.DELIMITED: _delimited,
        DumpShape.COMBO: _combo,
        DumpShape.PLAIN: _plain,
    }
    for candidate, find in finders.items():
        if shape in (None, candidate):
            # An extended insert is one long line; anywhere else a giant line is damage that says nothing.
            sample = lines if candidate is DumpShape.SQL_INSERT else usual
            layout = find(sample, phone_region, shape is not None)
            if layout is not None:
                return layout
    if shape is not None:
        raise DumpUnreadable(f"The dump does not read as {shape}. Leave the shape out to have it detected.")
    raise DumpUnreadable(
        f"No identifiers were found in the first {len(lines)} lines of the dump. If it is one, tell its shape "
        f"({', '.join(DumpShape)}); a list of bare user names is read only when told to be plain."
    )


def _sql(lines: Sequence[str], region: str, _told: bool) -> Layout | None:
    found = any(STATEMENT.match(line) for line in lines)
    created = any(re.match(r"(?i)\s*CREATE TABLE\s", line) for line in lines)
    return Layout(shape=DumpShape.SQL_INSERT, phone_region=region) if found or created else None


def _json_lines(lines: Sequence[str], region: str, _told: bool) -> Layout | None:
    objects = []
    for line in lines:
        try:
            value = json.loads(line.strip().rstrip(",")) if line.lstrip().startswith("{") else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            objects.append(_flat(value))
    if len(objects) < MOSTLY * len(lines) or not objects:
        return None
    names = list(dict.fromkeys(name for each in objects for name in each))
    rows = [[each.get(name, "") for name in names] for each in objects]
    columns = named_columns([name.split("\x1f")[-1] for name in names], rows, region)
    columns = tuple(Column(name=name, role=column.role) for name, column in zip(names, columns, strict=True))
    if not identifies(column.role for column in columns):
        return None
    return Layout(shape=DumpShape.JSON_LINES, columns=columns, phone_region=region)


def _flat(value: dict[str, object]) -> dict[str, str]:
    """Keys at the top, and those one level below as 'top\\x1fkey'; scalar values as text."""
    flat = {}
    for key, held in value.items():
        below = held.items() if isinstance(held, dict) else ()
        for name, inner in [(key, held), *((f"{key}\x1f{name}", inner) for name, inner in below)]:
            if isinstance(inner, str | int | float) and not isinstance(inner, bool):
                flat[name] = str(inner)
    return flat


def _csv(lines: Sequence[str], region: str, told: bool) -> Layout | None:
    header = next((line.strip().lstrip("\ufeff") for line in lines if not line.startswith(("#", "--"))), "")
    best: tuple[int, list[str], str] | None = None
    for delimiter in _DELIMITERS:
        names = _fields(header, delimiter)
        roles = [role_by_name(name) for name in names]
        known = sum(role is not None for role in roles)
        if (identifies(roles) or told) and (best is None or known > best[0]):
            best = (known, names, delimiter)
    if best is None or "@" in header:
        return None
    _, names, delimiter = best
    rows = [_fields(line, delimiter) for line in lines[1:]]
    columns = named_columns(names, rows, region)
    if not identifies(column.role for column in columns):
        return None
    return Layout(shape=DumpShape.CSV, delimiter=delimiter, columns=columns, header=header, phone_region=region)


def _fields(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _regular(lines: Sequence[str], delimiter: str) -> tuple[int, list[list[str]]]:
    """How many columns most lines have, and the lines that have them; 0 when it varies."""
    rows = [_fields(line, delimiter) for line in lines]
    (count, hits), *_ = Counter(map(len, rows)).most_common(1) or [(0, 0)]
    if count < 2 or hits < _REGULAR * len(lines):
        return 0, []
    return count, [row for row in rows if len(row) == count]


def _delimited(lines: Sequence[str], region: str, told: bool) -> Layout | None:
    """The delimiter that makes the most columns with an identifier in one; not where a combo list says
    the same."""
    best: Layout | None = None
    for delimiter in _DELIMITERS:
        count, rows = _regular(lines, delimiter)
        if count <= (len(best.columns) if best else 1):
            continue
        columns = unnamed_columns(rows, count, region)
        if identifies(column.role for column in columns):
            best = Layout(shape=DumpShape.DELIMITED, delimiter=delimiter, columns=columns, phone_region=region)
    if best is None or told:
        return best
    roles = [column.role for column in best.columns]
    identifying = [at for at, role in enumerate(roles) if role in IDENTIFYING]
    is_combo = identifying == [0] and (len(roles) == 2 or (roles[1] in SECRET and best.delimiter == ":"))
    return None if is_combo else best


def _combo(lines: Sequence[str], region: str, told: bool) -> Layout | None:
    matches = [match for match in map(_LEADING.match, lines) if match and is_email(match[1])]
    delimiters = Counter(match[2] for match in matches if match[2])
    behind = sum(delimiters.values())
    if behind and behind >= MOSTLY * len(lines):
        delimiter = delimiters.most_common(1)[0][0]
        others = sum(_starts_otherwise(line, delimiter, region) for line in lines)
        role = Role.EMAIL if others <= STRAY * len(lines) else Role.LOGIN
        return _combo_layout(delimiter, role, region)
    for role in (Role.PHONE, Role.LOGIN):
        for delimiter in (":", ";", "|", "\t", ",", " "):
            heads = [line.partition(delimiter)[0].strip() for line in lines if delimiter in line]
            good = sum(_is(role, head, region) for head in heads) if delimiter != " " or role is Role.PHONE else 0
            if good >= (MOSTLY if told or role is Role.PHONE else _REGULAR) * len(lines) and good:
                return _combo_layout(delimiter, role, region)
    if lines and sum(bool(_ANYWHERE.search(line)) for line in lines) >= MOSTLY * len(lines):
        return _combo_layout(":", Role.EMAIL, region)
    return None


def _combo_layout(delimiter: str, role: Role, region: str) -> Layout:
    columns = (Column(name="", role=role), Column(name="", role=Role.PASSWORD))
    return Layout(shape=DumpShape.COMBO, delimiter=delimiter, columns=columns, phone_region=region)


def _starts_otherwise(line: str, delimiter: str, region: str) -> bool:
    """A line of a combo list that starts with a phone number or a user name, and is no comment."""
    head, found, _ = line.partition(delimiter)
    return bool(found) and "@" not in head and (_is(Role.LOGIN, head, region) or _is(Role.PHONE, head, region))


def _is(role: Role, value: str, region: str) -> bool:
    if role is Role.PHONE:
        return is_phone(value, region)
    return is_email(value) or normalise(IdentifierKind.USERNAME, value) is not None


def _plain(lines: Sequence[str], region: str, told: bool) -> Layout | None:
    values = [line.strip(" \t\r\"'<>,;") for line in lines]
    emails = sum(map(is_email, values))
    phones = sum(is_phone(value, region) for value in values)
    if told:
        role = Role.EMAIL if emails > (1 - STRAY) * len(values) else Role.LOGIN
    elif emails + phones < MOSTLY * len(values) or not values:
        return None
    else:
        role = Role.EMAIL if not phones else Role.PHONE if not emails else Role.LOGIN
    return Layout(shape=DumpShape.PLAIN, columns=(Column(name="", role=role),), phone_region=region)
