"""Reads tables of counties in windows: ranges of documents' keys, each read completely in pages as large as allowed.

Pages go by key (document, row) and never by offset, so that rows that move while pages are read are neither lost nor
counted twice. A row that changes during a read gets a watermark later than the newest one at the start of the read, so
that the next read brings it. Every page is checked to be rows.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from kordant_jobs.adapters.counties.asking import Server, TooMuchAtOnce
from kordant_jobs.adapters.counties.description import AddressTable, County, TableDescription, TableKind
from kordant_jobs.adapters.sources.http import SourceFailed
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.domain.property.addresses import AddressQuery

Row = Mapping[str, Any]
Place = tuple[str, str]
"""The place of a row in its table's order: the document's key, and the row's own id."""
ADDRESSES_MAX = 200
"""The most address rows that are ranked for one query."""
KEYS_AT_ONCE = 50
"""Keys in one request for the rows of documents: the request's URL should stay below 2 kB."""
PAGE_LEAST = 500
_LAST = 1 << 62
"""Higher than any row's id."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The rows of a table to read: at or after a watermark, after one key and up to another, or of these documents."""

    since: str | None = None
    after: str | None = None
    upto: str | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Window:
    """The rows of whole documents, by table. `upto` is the key of the last document; None: there are no more
    windows."""

    rows: dict[TableKind, list[Row]]
    upto: str | None


def mark_of(row: Row, table: TableDescription) -> str | None:
    """The row's watermark as text."""
    value = row.get(table.watermark) if table.watermark else None
    return None if value is None else str(value)


def key_of(row: Row, table: TableDescription) -> str | None:
    """The key by which a table's rows are ordered, as text."""
    value = row.get(table.key)
    return None if value is None else str(value)


def day_of_mark(mark: str) -> date | None:
    """The day of a watermark: an ISO date or time, or milliseconds since 1970; None where it is neither.

    >>> day_of_mark("2026-11-20T00:00:00.000"), day_of_mark("1795132800000"), day_of_mark("17")
    (datetime.date(2026, 11, 20), datetime.date(2026, 11, 20), None)
    """
    try:
        if mark.lstrip("-").isdecimal():
            return datetime.fromtimestamp(int(mark) / 1000, UTC).date() if len(mark) >= 12 else None
        return date.fromisoformat(mark[:10])
    except (ValueError, OverflowError, OSError):
        return date.max if mark[:1].isdigit() and mark.lstrip("-").isdecimal() else None


def mark_like(mark: str, day: date) -> str:
    """A day in the format of another watermark.

    >>> mark_like("2026-11-20T00:00:00.000", date(2026, 11, 1)), mark_like("1795132800000", date(2026, 11, 20))
    ('2026-11-01', '1795132800000')
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return str(int(midnight.timestamp() * 1000)) if mark.lstrip("-").isdecimal() else day.isoformat()


def is_before(mark: str, other: str) -> bool:
    """True when one watermark is older than another of the same table.

    >>> is_before("9", "10"), is_before("2026-11-20", "2026-11-19T00:00:00")
    (True, False)
    """
    numbers = mark.isdecimal() and other.isdecimal()
    return int(mark) < int(other) if numbers else mark < other


def is_future(mark: str, today: date) -> bool:
    """True when a watermark's day has not come; one day ahead is allowed for time zones."""
    day = day_of_mark(mark)
    return day is not None and day > today + timedelta(days=1)


class TableReader(ABC):
    """Reads one county's tables from its server. A driver makes the requests; windows and pages are made here."""

    own_id: str = ""
    """The column with the id that the source itself gives every row."""

    def __init__(self, county: County, server: Server) -> None:
        self.county = county
        self.server = server
        self.problems: Counter[str] = Counter()
        """Counts, by reason, of rows of the last read that were not understood, before documents were made of them."""
        self._largest: dict[str, int] = {}
        """By dataset the most rows that a page had. A server may cap pages below what it is asked for."""

    @abstractmethod
    def freshness(self) -> str:
        """The source's state by its own report. When the text is the same as before, nothing is new.

        Raises:
            SourceFailed: it did not say.
        """

    @abstractmethod
    def query(self, table: TableDescription, where: str, order: str, limit: int) -> tuple[list[Row], bool]:
        """The first rows that match, in this order, and whether there are more.

        Raises:
            SourceFailed: the source did not return them.
        """

    def row_id(self, table: TableDescription) -> str:
        """The column that tells the rows of one document apart."""
        return table.row_id or self.own_id

    def columns(self, table: TableDescription) -> tuple[str, ...]:
        """Every column that is requested."""
        return tuple(dict.fromkeys([self.row_id(table), *table.names]))

    def literal(self, table: TableDescription, column: str, value: str) -> str:
        """A value as a literal of the source's SQL."""
        return _quoted(value)

    def newest_watermark(self, kind: TableKind, *, today: date) -> str | None:
        """The newest watermark at the source that is no later than today; None where there is none. A row dated 2102 by
        mistake would otherwise hide everything recorded after it.

        Raises:
            SourceFailed: the source did not return it.
        """
        table = self.county.tables[kind]
        if table.watermark is None:
            return None
        where = f"{table.watermark} IS NOT NULL"
        rows, _ = self.query(table, where, f"{table.watermark} DESC", 1)
        found = mark_of(rows[0], table) if rows else None
        if found is None or not is_future(found, today):
            return found
        tomorrow = self.literal(table, table.watermark, mark_like(found, today + timedelta(days=1)))
        rows, _ = self.query(table, f"{table.watermark} <= {tomorrow}", f"{table.watermark} DESC", 1)
        return mark_of(rows[0], table) if rows else None

    def windows(self, since: Mapping[str, str], after: str | None) -> Iterator[Window]:
        """The documents with a row whose watermark is one of `since` or later (all documents where `since` is empty),
        from the key `after` on. There is at least one window.

        Raises:
            SourceFailed: a page could not be read. The windows before it are not all.
        """
        main = self.county.tables[TableKind.INSTRUMENTS]
        others = [kind for kind in self.county.tables if kind is not TableKind.INSTRUMENTS]
        held: list[Row] = []
        for page, more in self.pages(main, Span(since=since.get(TableKind.INSTRUMENTS), after=after)):
            held += page
            cut = len(held)
            if more:  # the last document may go on
                last = key_of(held[-1], main)
                while cut and key_of(held[cut - 1], main) == last:
                    cut -= 1
                if not cut:
                    continue
            ready, held = held[:cut], held[cut:]
            upto = key_of(ready[-1], main) if more else None
            found = {TableKind.INSTRUMENTS: ready}
            for kind in others:
                span = Span(since=since.get(kind), after=after, upto=upto)
                found[kind] = [row for rows, _ in self.pages(self.county.tables[kind], span) for row in rows]
            yield Window(rows=found, upto=upto)
            after = upto

    def pages(self, table: TableDescription, span: Span) -> Iterator[tuple[list[Row], bool]]:
        """The rows of a span, ordered by document and row, one page at a time, each with whether more follow."""
        row_id, last = self.row_id(table), None
        while True:
            rows, more = self.page(table, span, last)
            largest = self._largest.get(table.dataset, 0)
            self._largest[table.dataset] = max(largest, len(rows))
            more = more or len(rows) >= largest  # only a page below what it gave before is surely the last
            more = more and bool(rows) and key_of(rows[-1], table) is not None  # rows without a key come last
            yield rows, more
            if not more:
                return
            before, last = last, (str(rows[-1][table.key]), str(rows[-1].get(row_id) or ""))
            if not last[1] or last == before:  # it sends what it sent: better fail than turn for ever
                raise SourceFailed(UnknownReason.UNREADABLE)

    def page(self, table: TableDescription, span: Span, last: Place | None) -> tuple[list[Row], bool]:
        """The rows of a span after the one at `last`."""

        def compared(column: str, sign: str, value: str) -> str:
            return f"{column} {sign} {self.literal(table, column, value)}"

        key = table.key
        parts = [f"{key} IN ({', '.join(self.literal(table, key, one) for one in span.keys)})"] if span.keys else []
        if table.watermark and span.since is not None:
            parts.append(compared(table.watermark, ">=", span.since))
        if span.upto is not None:
            parts.append(compared(key, "<=", span.upto))
        if last is not None:
            beyond, same = compared(key, ">", last[0]), compared(key, "=", last[0])
            parts.append(f"({beyond} OR ({same} AND {compared(self.row_id(table), '>', last[1])}))")
        elif span.after is not None:
            parts.append(compared(key, ">", span.after))
        return self.query(table, " AND ".join(parts), f"{key}, {self.row_id(table)}", table.page)

    def rows_of(self, kind: TableKind, keys: Sequence[str]) -> list[Row]:
        """All rows of these documents.

        Raises:
            SourceFailed: the source did not return them.
        """
        table = self.county.tables[kind]
        parts = [tuple(keys[start : start + KEYS_AT_ONCE]) for start in range(0, len(keys), KEYS_AT_ONCE)]
        return [row for part in parts for rows, _ in self.pages(table, Span(keys=part)) for row in rows]

    def rows_at(self, table: AddressTable, query: AddressQuery) -> list[Row]:
        """Rows of the county's addresses that the query may mean. Some others are among them.

        Raises:
            SourceFailed: the source did not return them.
        """
        house, *street = table.columns["address"].of
        column, before = (street[0], "") if street else (house, f"{query.house} ")
        likes = " OR ".join(f"upper({column}) LIKE {_quoted(f'{before}%{one}%')}" for one in query.streets)
        where = f"{house} = {_quoted(query.house)} AND ({likes})" if street else f"({likes})"
        return self.query(table, where, column, ADDRESSES_MAX)[0]


def _rows(value: Any, table: TableDescription) -> list[Row]:
    """The rows of an answer, after checking that it is a list of objects of which one has a requested column."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise SourceFailed(UnknownReason.UNREADABLE)
    if value and not any(name in row for row in value for name in table.names):
        raise SourceFailed(UnknownReason.UNREADABLE)
    return value


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class Socrata(TableReader):
    """SODA 2.1, or SODA3 where the county uses it. Null columns are missing in a row; numbers are strings."""

    own_id = ":id"

    def freshness(self) -> str:
        """The last change of the rows of each table."""
        said = []
        for table in self.county.tables.values():
            view = self.server.ask(f"{self.county.url}/api/views/{table.dataset}.json", {})
            if not isinstance(view, dict) or "rowsUpdatedAt" not in view:
                raise SourceFailed(UnknownReason.UNREADABLE)
            said.append(f"{table.dataset}={view['rowsUpdatedAt']}")
        return " ".join(said)

    def query(self, table: TableDescription, where: str, order: str, limit: int) -> tuple[list[Row], bool]:
        """See `TableReader`."""
        columns = ", ".join(self.columns(table))
        if self.county.driver == "soda3":
            text = f"SELECT {columns}" + (f" WHERE {where}" if where else "") + f" ORDER BY {order} LIMIT {limit}"
            url = f"{self.county.url}/api/v3/views/{table.dataset}/query.json"
            value = self.server.ask(url, {}, body={"query": text, "includeSynthetic": False})
        else:
            params = {"$select": columns, "$order": order, "$limit": str(limit), **({"$where": where} if where else {})}
            value = self.server.ask(f"{self.county.url}/resource/{table.dataset}.json", params)
        rows = _rows(value, table)
        return rows, len(rows) >= limit


class Arcgis(TableReader):
    """A layer of a FeatureServer or MapServer. Its dates are milliseconds; its errors come with status 200."""

    def __init__(self, county: County, server: Server) -> None:
        super().__init__(county, server)
        self._layers: dict[str, dict[str, Any]] = {}
        self._listed: dict[str, list[tuple[str, int]]] = {}

    def _layer(self, table: TableDescription) -> dict[str, Any]:
        if table.dataset not in self._layers:
            said = self.server.ask(f"{self.county.url}/{table.dataset}", {"f": "json"})
            if not isinstance(said, dict) or "fields" not in said:
                raise SourceFailed(UnknownReason.UNREADABLE)
            self._layers[table.dataset] = said
        return self._layers[table.dataset]

    def freshness(self) -> str:
        """The last edit of each layer; for a layer that does not report it, its number of rows."""
        self._layers, self._listed = {}, {}
        said = []
        for table in self.county.tables.values():
            edited = (self._layer(table).get("editingInfo") or {}).get("lastEditDate")
            said.append(f"{table.dataset}={edited if edited is not None else self._count(table)}")
        return " ".join(said)

    def _count(self, table: TableDescription) -> int:
        count = self._ask(table, {"where": "1=1", "returnCountOnly": "true"}).get("count")
        if not isinstance(count, int):  # a server was seen that sends features instead
            raise SourceFailed(UnknownReason.UNREADABLE)
        return count

    def _ask(self, table: TableDescription, params: Mapping[str, str]) -> dict[str, Any]:
        whole = {**params, "f": "json", "returnGeometry": "false"}
        long = sum(map(len, whole.values())) > 1500
        value = self.server.ask(f"{self.county.url}/{table.dataset}/query", whole, post=long)
        if not isinstance(value, dict):
            raise SourceFailed(UnknownReason.UNREADABLE)
        return value

    def row_id(self, table: TableDescription) -> str:
        """See `TableReader`. The layer's metadata names the column."""
        layer = self._layer(table)
        named = layer.get("objectIdField") or layer.get("objectIdFieldName")
        ids = [one["name"] for one in layer["fields"] if one.get("type") == "esriFieldTypeOID"]
        return str(named or (ids[0] if ids else "OBJECTID"))

    def _is_paged(self, table: TableDescription) -> bool:
        return bool((self._layer(table).get("advancedQueryCapabilities") or {}).get("supportsPagination"))

    def _most(self, table: TableDescription) -> int:
        return min(table.page, int(self._layer(table).get("maxRecordCount") or 1000))

    def literal(self, table: TableDescription, column: str, value: str) -> str:
        """A literal of the field's type. A date, which comes as milliseconds since 1970, becomes a SQL timestamp."""
        kind = next((one.get("type") for one in self._layer(table)["fields"] if one.get("name") == column), None)
        if kind == "esriFieldTypeDate" and value.lstrip("-").isdecimal():
            return f"TIMESTAMP '{datetime.fromtimestamp(int(value) / 1000, UTC):%Y-%m-%d %H:%M:%S}'"
        return value if kind not in {None, "esriFieldTypeString", "esriFieldTypeDate"} else _quoted(value)

    def newest_watermark(self, kind: TableKind, *, today: date) -> str | None:
        """See `TableReader`. A layer without pagination has no order, so it is read completely each time."""
        return super().newest_watermark(kind, today=today) if self._is_paged(self.county.tables[kind]) else None

    def query(self, table: TableDescription, where: str, order: str, limit: int) -> tuple[list[Row], bool]:
        """See `TableReader`."""
        most = min(limit, self._most(table))
        asked = {"where": where or "1=1", "outFields": ",".join(self.columns(table)), "orderByFields": order}
        rows, more = self.features_of(table, self._ask(table, {**asked, "resultRecordCount": str(most)}))
        return rows, more or len(rows) >= most

    def page(self, table: TableDescription, span: Span, last: Place | None) -> tuple[list[Row], bool]:
        """See `TableReader`. For a layer without pagination the keys are listed first, then rows are read by id."""
        if self._is_paged(table):
            return super().page(table, span, last)
        most, found = self._most(table), self._keys(table)
        if span.keys:
            found = [one for one in found if one[0] in span.keys]
        if span.upto is not None:
            found = found[: bisect_right(found, (span.upto, _LAST))]
        if last is not None or span.after is not None:
            place = (last[0], int(last[1])) if last else (span.after or "", _LAST)
            found = found[bisect_right(found, place) :]
        rows = self._by_ids(table, [number for _, number in found[:most]], self.columns(table))
        rows.sort(key=lambda row: (str(row.get(table.key)), row[self.row_id(table)]))
        return rows, len(found) > most

    def _keys(self, table: TableDescription) -> list[tuple[str, int]]:
        if table.dataset not in self._listed:
            ids = self._ask(table, {"where": "1=1", "returnIdsOnly": "true"}).get("objectIds")
            if ids is not None and not isinstance(ids, list):
                raise SourceFailed(UnknownReason.UNREADABLE)
            ordered, most, listed = sorted(ids or []), self._most(table), []
            for start in range(0, len(ordered), most):
                rows = self._by_ids(table, ordered[start : start + most], (self.row_id(table), table.key))
                listed += [(str(row.get(table.key)), int(row[self.row_id(table)])) for row in rows]
            self._listed[table.dataset] = sorted(listed)
        return self._listed[table.dataset]

    def _by_ids(self, table: TableDescription, ids: Sequence[int], fields: Sequence[str]) -> list[Row]:
        if not ids:
            return []
        asked = {"objectIds": ",".join(map(str, ids)), "outFields": ",".join(fields)}
        rows, _ = self.features_of(table, self._ask(table, asked))
        if len(rows) != len(ids) or not all(isinstance(row.get(self.row_id(table)), int) for row in rows):
            raise SourceFailed(UnknownReason.UNREADABLE)
        return rows

    @staticmethod
    def features_of(table: TableDescription, value: Mapping[str, Any]) -> tuple[list[Row], bool]:
        """The rows of an answer, and whether the server left some out.

        Raises:
            SourceFailed: there are none in it.
        """
        features = value.get("features")
        if not isinstance(features, list):
            raise SourceFailed(UnknownReason.UNREADABLE)
        found = [one.get("attributes") or one.get("properties") if isinstance(one, dict) else None for one in features]
        rows = _rows(found, table)
        below = value.get("properties")
        more = value.get("exceededTransferLimit") or (below or {}).get("exceededTransferLimit")
        return rows, bool(more)


class Carto(TableReader):
    """CARTO's SQL interface. It reports its time-out with status 429 or 400; the page is then halved."""

    own_id = "cartodb_id"
    _limit: int | None = None

    def freshness(self) -> str:
        """The newest watermark and the number of rows of each table."""
        said = []
        for table in self.county.tables.values():
            newest = f"max({table.watermark}) AS newest, count(*) AS rows"
            [row] = self._select(f"SELECT {newest} FROM {table.dataset}") or [{}]  # noqa: S608 - of the county's file
            if "rows" not in row:
                raise SourceFailed(UnknownReason.UNREADABLE)
            said.append(f"{table.dataset}={row.get('newest')}/{row['rows']}")
        return " ".join(said)

    def _select(self, query: str) -> list[Row]:
        long = len(query) > 1500
        value = self.server.ask(f"{self.county.url}/api/v2/sql", {"q": query, "format": "json"}, post=long)
        rows = value.get("rows") if isinstance(value, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SourceFailed(UnknownReason.UNREADABLE)
        return rows

    def query(self, table: TableDescription, where: str, order: str, limit: int) -> tuple[list[Row], bool]:
        """See `TableReader`."""
        columns, condition = ", ".join(self.columns(table)), f" WHERE {where}" if where else ""
        while True:
            most = min(limit, self._limit or limit)
            query = f"SELECT {columns} FROM {table.dataset}{condition} ORDER BY {order} LIMIT {most}"  # noqa: S608 - as above
            try:
                rows = _rows(self._select(query), table)
                return rows, len(rows) >= most
            except TooMuchAtOnce:
                if most <= PAGE_LEAST:
                    raise
                self._limit = max(PAGE_LEAST, most // 2)
