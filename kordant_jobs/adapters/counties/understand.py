"""Turns a county's rows into documents with their parcels, and counts each row without meaning by its reason. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from kordant_jobs.adapters.counties.description import Column, County, TableKind
from kordant_jobs.domain.property.addresses import place_of
from kordant_jobs.domain.property.instruments import (
    APART,
    Event,
    Instrument,
    Party,
    key_apart,
    kind_of,
    recorders_key,
    role_of,
    tidy,
)

Row = Mapping[str, Any]


class NotUnderstood(StrEnum):
    """The reason why a row, or a part of it, could not be used. Counted by reason and stored with the county."""

    NO_KEY = "no_key"
    NO_CODE = "no_code"
    BAD_PARCEL = "bad_parcel"
    NO_PARCEL = "no_parcel"
    BAD_DATE = "bad_date"
    BAD_AMOUNT = "bad_amount"
    UNKNOWN_CODE = "unknown_code"
    NO_DOCUMENT = "no_document"
    """Parties or lots of a document that the source does not have, or not yet."""
    COLUMN_MISSING = "column_missing"
    """A file lacks a column that the county's description names: it was renamed or dropped."""
    FILE_DAMAGED = "file_damaged"
    FILE_MISSING = "file_missing"
    """No dropped file matches a table's pattern."""
    FILE_UNMATCHED = "file_unmatched"
    """A dropped file matches no table's pattern, so it is not read."""
    ROW_DAMAGED = "row_damaged"
    """A row of a file has more or fewer cells than its header, so its parcel cannot be known."""
    KEY_SHARED = "key_shared"
    """Documents share one key but differ in type or day. Each is kept under a key of its own."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document with the canonical numbers of its parcels. See `addresses.place_of` for a document without a
    number."""

    instrument: Instrument
    parcels: tuple[str, ...] = field(repr=False)


@dataclass
class Understood:
    """The documents of some rows, and counts of what was not understood. `upto`: see `drivers.Window`."""

    documents: list[Document] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    as_of: date | None = None
    upto: str | None = None


def cell(row: Row, column: Column | None) -> str | None:
    """The text of a row in a column: several columns are joined with '-'; blank is None. Objects (URLs, points) are
    ignored."""
    if column is None:
        return None
    parts = [row.get(name) for name in column.of]
    said = [str(part).strip() for part in parts if part is not None and not isinstance(part, dict | list)]
    text = "-".join(one for one in said if one).encode("utf-8", "replace").decode()  # lone surrogates of bad JSON
    return text or None if len(said) == len(parts) or len(parts) == 1 else None


def cells(row: Row, column: Column | None) -> list[str]:
    """The texts of a cell, divided where the county's description divides it."""
    text = cell(row, column)
    if text is None or column is None:
        return []
    return [one.strip() for one in text.split(column.split)] if column.split else [text]


PLAIN_MOST = 200
"""The most characters of a key, number or document type. A longer text was made of another cell, or of several."""
_CODE = re.compile(r"[A-Z0-9][A-Z0-9/&.-]{0,11}")
UNREADABLE_CODE = "?"
_NO_SIGN = re.compile(r"[^0-9A-Za-z./ _-]")


def is_plain(text: str) -> bool:
    """True when a text may be a key, number or document type: short, and printable.

    >>> is_plain("2026-17"), is_plain("20\\x0026"), is_plain("1" * 900)
    (True, False, False)
    """
    return 0 < len(text) <= PLAIN_MOST and text.isprintable() and APART not in text


def plain_cell(row: Row, column: Column | None) -> str | None:
    """The text of a cell; None where `is_plain` refuses it."""
    text = cell(row, column)
    return text if text is not None and is_plain(text) else None


def together(row: Row, column: Column | None) -> str:
    """The words of all columns of a meaning, empty ones left out."""
    said = (str(row[name]).strip() for name in (column.of if column else ()) if row.get(name) is not None)
    return " ".join(filter(None, said))


_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:$|[T ])")
_US = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:$| )")
_PACKED = re.compile(r"(\d{4})(\d\d)(\d\d)")
OLDEST = 1800


def day_of(text: str, formats: Collection[str] = ()) -> date | None:
    """A day as counties write it: in one of the county's own formats, else ISO with or without time, month/day/year
    (only where the county gives no formats), epoch milliseconds, eight digits.

    >>> day_of("05/11/2026"), day_of("05/11/2026", ["%d/%m/%Y"]), day_of("11/20/2026", ["%d/%m/%Y"])
    (datetime.date(2026, 5, 11), datetime.date(2026, 11, 5), None)

    >>> day_of("04/16/2026 12:00:00 AM"), day_of("2026-03-06 00:00:00-05"), day_of("1767225600000")
    (datetime.date(2026, 4, 16), datetime.date(2026, 3, 6), datetime.date(2026, 1, 1))
    >>> day_of("0212-08-01") is None
    True
    """
    found = None
    for form in formats:
        try:
            found = datetime.strptime(text, form).replace(tzinfo=UTC).date()
            break
        except ValueError:
            continue
    try:
        if found:
            pass
        elif iso := _ISO.match(text):
            found = date(int(iso[1]), int(iso[2]), int(iso[3]))
        elif not formats and (us := _US.match(text)):
            found = date(int(us[3]), int(us[1]), int(us[2]))
        elif packed := _PACKED.fullmatch(text):
            found = date(int(packed[1]), int(packed[2]), int(packed[3]))
        elif text.lstrip("-").isdecimal() and len(text) >= 9:
            found = datetime.fromtimestamp(int(text) / 1000, UTC).date()
    except (ValueError, OverflowError, OSError):
        return None
    return found if found and found.year >= OLDEST else None


def amount_of(text: str) -> Decimal | None:
    """An amount of money, with or without a currency sign and commas.

    >>> amount_of("$1,250.50"), amount_of("n/a")
    (Decimal('1250.50'), None)
    """
    try:
        found = Decimal(text.replace("$", "").replace(",", "").strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found) < Decimal(10) ** 15 else None


def understand(county: County, rows: Mapping[TableKind, Iterable[Row]], *, today: date) -> Understood:
    """Combine the rows of all tables by document. A row that cannot be used is counted by its reason and stops no
    other."""
    made = Understood()
    lots, parties, references = _by_key(county, rows, made)
    main = county.tables[TableKind.INSTRUMENTS]
    grouped: dict[str, list[Row]] = {}
    for row in rows.get(TableKind.INSTRUMENTS, ()):
        made.rows += 1
        key = plain_cell(row, main.columns["key"])
        if key is None:
            made.problems[NotUnderstood.NO_KEY] += 1
            continue
        grouped.setdefault(key, []).append(row)
    for key, own in _apart(county, grouped, made):
        known = recorders_key(key)
        document = _document(
            county, key, own, list(lots.get(known, [])), parties.get(known, []), references.get(known, []), made
        )
        if document:
            made.documents.append(document)
            on = document.instrument.recorded_on
            if on and on <= today and (made.as_of is None or on > made.as_of):
                made.as_of = on
    orphans = (set(lots) | set(parties)) - set(grouped)
    if orphans:
        made.problems[NotUnderstood.NO_DOCUMENT] += len(orphans)
    return made


def _apart(county: County, grouped: Mapping[str, list[Row]], made: Understood) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each document. Rows with one key but other types or recording days are separate documents: some
    recorders number deeds and mortgages separately, or start again every year."""
    columns = county.tables[TableKind.INSTRUMENTS].columns
    for key, rows in grouped.items():
        if len(rows) == 1:
            yield key, rows
            continue
        days = [day_of(cell(row, columns.get("recorded_on")) or "", county.date_formats) for row in rows]
        codes = [tidy(plain_cell(row, columns["code"]) or "") for row in rows]
        day, code = next(filter(None, days), None), next(filter(None, codes), "")  # for rows that leave them blank
        parts: dict[tuple[date, str], list[Row]] = {}
        for row, its_day, its_code in zip(rows, days, codes, strict=True):
            parts.setdefault((its_day or day or date.min, its_code or code), []).append(row)
        for at, ((own_day, own_code), part) in enumerate(sorted(parts.items(), key=lambda pair: pair[0])):
            if at:
                made.problems[NotUnderstood.KEY_SHARED] += 1
            yield key_apart(key, own_code, own_day) if at else key, part


def keys_in(county: County, kind: TableKind, rows: Iterable[Row]) -> set[str]:
    """The keys of the documents that these rows belong to."""
    column = county.tables[kind].columns["key"]
    return {key for row in rows if (key := cell(row, column))}


_Lots = dict[str, list[str]]
_Parties = dict[str, list[tuple[int, str]]]


def _by_key(county: County, rows: Mapping[TableKind, Iterable[Row]], made: Understood) -> tuple[_Lots, _Parties, _Lots]:
    lots: _Lots = {}
    parties: _Parties = {}
    references: _Lots = {}
    for kind, table in county.tables.items():
        if kind is TableKind.INSTRUMENTS:
            continue
        for row in rows.get(kind, ()):
            made.rows += 1
            key = plain_cell(row, table.columns["key"])
            if key is None:
                made.problems[NotUnderstood.NO_KEY] += 1
            elif kind is TableKind.LOTS:
                _add_parcels(county, row, table.columns["parcel"], lots.setdefault(key, []), made)
            elif kind is TableKind.PARTIES:
                name, side = cell(row, table.columns["name"]), cell(row, table.columns["side"])
                if name:
                    parties.setdefault(key, []).append((int(side) if side and side.isdecimal() else 3, name))
            else:
                column = table.columns["refers_to"]
                said = [str(row[name]).strip() for name in column.of if row.get(name)]
                references.setdefault(key, []).extend(one for one in said if is_plain(one))
    return lots, parties, references


def _add_parcels(county: County, row: Row, column: Column | None, into: list[str], made: Understood) -> None:
    for text in cells(row, column):
        parcel = county.parcel_number(text)
        if parcel is None:  # with a sign that numbers do not have it may still be a watched one
            made.problems[NotUnderstood.BAD_PARCEL] += 1
            parcel = county.parcel_number(_NO_SIGN.sub("", text))
        if parcel is not None and parcel not in into:
            into.append(parcel)


def _document(
    county: County,
    key: str,
    own: list[Row],
    lots: list[str],
    parties: list[tuple[int, str]],
    references: list[str],
    made: Understood,
) -> Document | None:
    columns = county.tables[TableKind.INSTRUMENTS].columns
    row = own[-1]
    code = plain_cell(row, columns["code"])
    if code is None:
        made.problems[NotUnderstood.NO_CODE] += 1
        return None
    kind = kind_of(code, county.code_table, cell(row, columns.get("label")) or "")
    percent = _amount(row, columns.get("percent"), made)
    if percent is not None and not 0 <= percent <= 100:
        made.problems[NotUnderstood.BAD_AMOUNT] += 1
        percent = None
    if kind.event is Event.OWNERSHIP_CHANGE and percent is not None and 0 < percent < 100:
        kind = replace(kind, event=Event.PARTIAL_TRANSFER)
    if kind.event is Event.UNKNOWN:
        looks_like_one = _CODE.fullmatch(tidy(code)) is not None  # a cell that has moved may hold a name
        code = code if looks_like_one else UNREADABLE_CODE
        made.problems[f"{NotUnderstood.UNKNOWN_CODE} {code}" if looks_like_one else NotUnderstood.UNKNOWN_CODE] += 1
    for one in own:
        _add_parcels(county, one, columns.get("parcel"), lots, made)
    if not lots and county.matches_addresses and (place := place_of(together(row, columns.get("address")))):
        lots.append(place)
    if not lots:
        made.problems[NotUnderstood.NO_PARCEL] += 1
    named = [(side, name) for side, name in parties]
    for one in own:
        for side, meaning in ((1, "givers"), (2, "takers")):
            named += [(side, name) for name in cells(one, columns.get(meaning)) if name]
    instrument = Instrument(
        key=key,
        event=kind.event,
        form=kind.form,
        code=code,
        recorded_on=_day(row, columns.get("recorded_on"), county, made),
        executed_on=_day(row, columns.get("executed_on"), county, made),
        amount=_amount(row, columns.get("amount"), made),
        percent=percent,
        number=plain_cell(row, columns.get("number")) or "",
        parties=tuple(
            dict.fromkeys(
                Party(role=role_of(kind.event, side, swapped=kind.swapped), name=name) for side, name in named
            )
        ),
        refers_to=tuple(dict.fromkeys([*references, *filter(is_plain, cells(row, columns.get("refers_to")))])),
    )
    return Document(instrument=instrument, parcels=tuple(sorted(lots)))


def _day(row: Row, column: Column | None, county: County, made: Understood) -> date | None:
    text = cell(row, column)
    if text is None:
        return None
    found = day_of(text, county.date_formats)
    if found is None:
        made.problems[NotUnderstood.BAD_DATE] += 1
    return found


def _amount(row: Row, column: Column | None, made: Understood) -> Decimal | None:
    text = cell(row, column)
    if text is None:
        return None
    found = amount_of(text)
    if found is None:
        made.problems[NotUnderstood.BAD_AMOUNT] += 1
    return found
