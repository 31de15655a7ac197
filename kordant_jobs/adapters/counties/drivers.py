"""Reading tables of counties page by page: what is new or changed since the source's own watermark.

Pages go by key (watermark, row id) and never by offset, so that rows that move while pages are read are neither lost
nor counted twice: one that changes gets a later watermark and comes again. Every page is checked to be rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kordant_jobs.adapters.counties.asking import Server, TooMuchAtOnce
from kordant_jobs.adapters.counties.description import AddressTable, County, TableDescription, TableKind
from kordant_jobs.adapters.sources.http import SourceFailed
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.domain.property.addresses import AddressQuery

Row = Mapping[str, Any]
ADDRESSES_MAX = 200
"""Rows of addresses that are ranked for one question."""
KEYS_AT_ONCE = 50
"""Keys in one request for the rows of documents: an address should stay below 2 kB."""
PAGE_LEAST = 500


class TableReader(ABC):
    """One county's tables at its server."""

    def __init__(self, county: County, server: Server) -> None:
        self.county = county
        self.server = server

    @abstractmethod
    def freshness(self) -> str:
        """What the source says of its own state: the same text again means that nothing is new.

        Raises:
            SourceFailed: it did not say.
        """

    @abstractmethod
    def pages(self, kind: TableKind, since: str | None) -> Iterator[list[Row]]:
        """The rows at or after the watermark `since` (None: all), in pages as large as the source allows.

        Raises:
            SourceFailed: a page could not be had. What came before is not the whole.
        """

    @abstractmethod
    def rows_of(self, kind: TableKind, keys: Sequence[str]) -> list[Row]:
        """The rows of these documents.

        Raises:
            SourceFailed: they could not be had.
        """

    @abstractmethod
    def rows_at(self, table: AddressTable, query: AddressQuery) -> list[Row]:
        """Some rows of the county's addresses that the query may mean, and others.

        Raises:
            SourceFailed: they could not be had.
        """


def address_where(table: AddressTable, query: AddressQuery) -> str:
    """The condition on the address columns, in SQL that all three understand."""
    house, *street = table.columns["address"].of
    column, before = (street[0], "") if street else (house, f"{query.house} ")
    likes = " OR ".join(f"upper({column}) LIKE {_quoted(f'{before}%{one}%')}" for one in query.streets)
    return f"{house} = {_quoted(query.house)} AND ({likes})" if street else f"({likes})"


def mark_of(row: Row, table: TableDescription) -> str | None:
    """The row's watermark, as text that orders as the source orders."""
    value = row.get(table.watermark) if table.watermark else None
    return None if value is None else str(value)


def _rows(value: Any, table: TableDescription) -> list[Row]:
    """The rows of an answer, proved to be some: a list of objects of which one has a column that was asked for."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise SourceFailed(UnknownReason.UNREADABLE)
    if value and not any(name in row for row in value for name in table.names):
        raise SourceFailed(UnknownReason.UNREADABLE)
    return value


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class Socrata(TableReader):
    """SODA 2.1, or SODA3 where the county says so. Null columns are missing in a row; numbers are strings."""

    def freshness(self) -> str:
        """When the rows of every table were last changed."""
        said = []
        for table in self.county.tables.values():
            view = self.server.ask(f"{self.county.url}/api/views/{table.dataset}.json", {})
            if not isinstance(view, dict) or "rowsUpdatedAt" not in view:
                raise SourceFailed(UnknownReason.UNREADABLE)
            said.append(f"{table.dataset}={view['rowsUpdatedAt']}")
        return " ".join(said)

    def pages(self, kind: TableKind, since: str | None) -> Iterator[list[Row]]:
        """See `TableReader`."""
        table = self.county.tables[kind]
        last: tuple[str, str] | None = None
        while True:
            rows = self._query(table, self._where(table, since, last), table.page)
            if rows:
                yield rows
            if len(rows) < table.page and len(rows) % 1000:
                return  # a server may allow less than it was asked for, in round numbers
            if not rows:
                return
            last = (mark_of(rows[-1], table) or "", str(rows[-1].get(table.row_id, "")))
            if not last[1]:
                raise SourceFailed(UnknownReason.UNREADABLE)

    def _where(self, table: TableDescription, since: str | None, last: tuple[str, str] | None) -> str:
        mark, row_id = table.watermark, table.row_id
        parts = []
        if mark and since:
            parts.append(f"{mark} >= {_quoted(since)}")
        if last and mark:
            at, one = _quoted(last[0]), _quoted(last[1])
            parts.append(f"({mark} > {at} OR ({mark} = {at} AND {row_id} > {one}))")
        elif last:
            parts.append(f"{row_id} > {_quoted(last[1])}")
        return " AND ".join(parts)

    def _query(self, table: TableDescription, where: str, limit: int) -> list[Row]:
        order = ", ".join(filter(None, (table.watermark, table.row_id)))
        columns = ", ".join(dict.fromkeys([table.row_id, *table.names]))
        if self.county.driver == "soda3":
            text = f"SELECT {columns}" + (f" WHERE {where}" if where else "") + f" ORDER BY {order} LIMIT {limit}"
            url = f"{self.county.url}/api/v3/views/{table.dataset}/query.json"
            return _rows(self.server.ask(url, {}, body={"query": text, "includeSynthetic": False}), table)
        params = {"$select": columns, "$order": order, "$limit": str(limit), **({"$where": where} if where else {})}
        return _rows(self.server.ask(f"{self.county.url}/resource/{table.dataset}.json", params), table)

    def rows_of(self, kind: TableKind, keys: Sequence[str]) -> list[Row]:
        """See `TableReader`."""
        table = self.county.tables[kind]
        key = table.columns["key"].of[0]
        found: list[Row] = []
        for start in range(0, len(keys), KEYS_AT_ONCE):
            wanted = ", ".join(map(_quoted, keys[start : start + KEYS_AT_ONCE]))
            found += self._query(table, f"{key} in({wanted})", 50_000)
        return found

    def rows_at(self, table: AddressTable, query: AddressQuery) -> list[Row]:
        """See `TableReader`."""
        return self._query(table, address_where(table, query), ADDRESSES_MAX)


class Arcgis(TableReader):
    """A layer of a FeatureServer or MapServer. Its dates are milliseconds; its errors come with status 200."""

    def __init__(self, county: County, server: Server) -> None:
        super().__init__(county, server)
        self._layers: dict[str, dict[str, Any]] = {}

    def _layer(self, table: TableDescription) -> dict[str, Any]:
        if table.dataset not in self._layers:
            said = self.server.ask(f"{self.county.url}/{table.dataset}", {"f": "json"})
            if not isinstance(said, dict) or "fields" not in said:
                raise SourceFailed(UnknownReason.UNREADABLE)
            self._layers[table.dataset] = said
        return self._layers[table.dataset]

    def freshness(self) -> str:
        """When each layer was last edited; of one that does not tell, how many rows it has and its highest id."""
        self._layers = {}
        said = []
        for kind, table in self.county.tables.items():
            layer = self._layer(table)
            edited = (layer.get("editingInfo") or {}).get("lastEditDate")
            said.append(f"{table.dataset}={edited if edited is not None else self._count(kind)}")
        return " ".join(said)

    def _count(self, kind: TableKind) -> int:
        value = self._ask(self.county.tables[kind], {"where": "1=1", "returnCountOnly": "true"})
        count = value.get("count")
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

    def pages(self, kind: TableKind, since: str | None) -> Iterator[list[Row]]:
        """See `TableReader`."""
        table = self.county.tables[kind]
        layer = self._layer(table)
        paged = bool((layer.get("advancedQueryCapabilities") or {}).get("supportsPagination"))
        most = min(table.page, int(layer.get("maxRecordCount") or 1000))
        where = f"{table.watermark} >= {self._moment(since)}" if since and table.watermark else "1=1"
        if not paged:
            yield from self._by_ids(table, where, most, self._id_field(layer))
            return
        last = -1
        while True:
            id_field = self._id_field(layer)
            after = f"({where}) AND {id_field} > {last}" if last >= 0 else where
            asked = {"where": after, "outFields": self._fields(table, id_field), "orderByFields": id_field}
            rows, more = self._features(table, self._ask(table, {**asked, "resultRecordCount": str(most)}))
            if rows:
                yield rows
            if not rows or not (more or len(rows) >= most):
                return
            last = self._highest(rows, id_field, last)

    @staticmethod
    def _highest(rows: Sequence[Row], id_field: str, last: int) -> int:
        ids = [row[id_field] for row in rows if isinstance(row.get(id_field), int)]
        if not ids or max(ids) <= last:  # it sends what it sent: better fail than turn for ever
            raise SourceFailed(UnknownReason.UNREADABLE)
        return int(max(ids))

    def _by_ids(self, table: TableDescription, where: str, most: int, id_field: str) -> Iterator[list[Row]]:
        ids = self._ask(table, {"where": where, "returnIdsOnly": "true"}).get("objectIds")
        if ids is not None and not isinstance(ids, list):
            raise SourceFailed(UnknownReason.UNREADABLE)
        ordered = sorted(ids or [])
        for start in range(0, len(ordered), most):
            wanted = ",".join(map(str, ordered[start : start + most]))
            rows, _ = self._features(
                table, self._ask(table, {"objectIds": wanted, "outFields": self._fields(table, id_field)})
            )
            if len(rows) != len(ordered[start : start + most]):
                raise SourceFailed(UnknownReason.UNREADABLE)
            yield rows

    @staticmethod
    def _id_field(layer: Mapping[str, Any]) -> str:
        named = layer.get("objectIdField") or layer.get("objectIdFieldName")
        ids = [one["name"] for one in layer["fields"] if one.get("type") == "esriFieldTypeOID"]
        return str(named or (ids[0] if ids else "OBJECTID"))

    @staticmethod
    def _fields(table: TableDescription, id_field: str) -> str:
        return ",".join(dict.fromkeys([id_field, *table.names]))

    @staticmethod
    def _moment(mark: str) -> str:
        """Milliseconds since 1970 as SQL's literal; other watermarks as they are."""
        if mark.lstrip("-").isdecimal() and len(mark) > 9:
            return f"TIMESTAMP '{datetime.fromtimestamp(int(mark) / 1000, UTC):%Y-%m-%d %H:%M:%S}'"
        return mark if mark.isdecimal() else _quoted(mark)

    @staticmethod
    def _features(table: TableDescription, value: Mapping[str, Any]) -> tuple[list[Row], bool]:
        features = value.get("features")
        if not isinstance(features, list):
            raise SourceFailed(UnknownReason.UNREADABLE)
        found = [one.get("attributes") or one.get("properties") if isinstance(one, dict) else None for one in features]
        rows = _rows(found, table)
        below = value.get("properties")
        more = value.get("exceededTransferLimit") or (below or {}).get("exceededTransferLimit")
        return rows, bool(more)

    def rows_of(self, kind: TableKind, keys: Sequence[str]) -> list[Row]:
        """See `TableReader`."""
        table = self.county.tables[kind]
        id_field = self._id_field(self._layer(table))
        found: list[Row] = []
        for start in range(0, len(keys), KEYS_AT_ONCE):
            wanted = ", ".join(map(_quoted, keys[start : start + KEYS_AT_ONCE]))
            where = f"{table.columns['key'].of[0]} IN ({wanted})"
            asked = {"where": where, "outFields": self._fields(table, id_field)}
            found += self._features(table, self._ask(table, asked))[0]
        return found

    def rows_at(self, table: AddressTable, query: AddressQuery) -> list[Row]:
        """See `TableReader`."""
        fields = self._fields(table, self._id_field(self._layer(table)))
        asked = {"where": address_where(table, query), "outFields": fields, "resultRecordCount": str(ADDRESSES_MAX)}
        return self._features(table, self._ask(table, asked))[0]


class Carto(TableReader):
    """CARTO's SQL interface. It says its time-out as 429 or 400: then the page is halved."""

    def freshness(self) -> str:
        """The newest watermark and the number of rows of each table."""
        said = []
        for table in self.county.tables.values():
            newest = f"max({table.watermark}) AS newest, count(*) AS rows"
            [row] = self._rows_of(f"SELECT {newest} FROM {table.dataset}") or [{}]  # noqa: S608 - of the county's file
            if "rows" not in row:
                raise SourceFailed(UnknownReason.UNREADABLE)
            said.append(f"{table.dataset}={row.get('newest')}/{row['rows']}")
        return " ".join(said)

    def _rows_of(self, query: str) -> list[Row]:
        long = len(query) > 1500
        value = self.server.ask(f"{self.county.url}/api/v2/sql", {"q": query, "format": "json"}, post=long)
        rows = value.get("rows") if isinstance(value, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SourceFailed(UnknownReason.UNREADABLE)
        return rows

    def pages(self, kind: TableKind, since: str | None) -> Iterator[list[Row]]:
        """See `TableReader`."""
        table = self.county.tables[kind]
        limit, last = table.page, None
        columns = ", ".join(dict.fromkeys([table.row_id, *table.names]))
        while True:
            parts = [f"{table.watermark} >= {_quoted(since)}"] if since else []
            if last:
                parts.append(f"({table.watermark}, {table.row_id}) > ({_quoted(last[0])}, {last[1]})")
            where = f" WHERE {' AND '.join(parts)}" if parts else ""
            order = f"{table.watermark}, {table.row_id}"
            query = f"SELECT {columns} FROM {table.dataset}{where} ORDER BY {order} LIMIT {limit}"  # noqa: S608
            try:
                rows = _rows(self._rows_of(query), table)
            except TooMuchAtOnce:
                if limit <= PAGE_LEAST:
                    raise
                limit = max(PAGE_LEAST, limit // 2)
                continue
            if rows:
                yield rows
            if len(rows) < limit:
                return
            last = (mark_of(rows[-1], table) or "", int(rows[-1][table.row_id]))

    def rows_of(self, kind: TableKind, keys: Sequence[str]) -> list[Row]:
        """See `TableReader`."""
        table = self.county.tables[kind]
        found: list[Row] = []
        columns = ", ".join(table.names)
        for start in range(0, len(keys), KEYS_AT_ONCE):
            wanted = ", ".join(map(_quoted, keys[start : start + KEYS_AT_ONCE]))
            where = f"{table.columns['key'].of[0]} IN ({wanted})"
            found += self._rows_of(f"SELECT {columns} FROM {table.dataset} WHERE {where}")  # noqa: S608 - as above
        return found

    def rows_at(self, table: AddressTable, query: AddressQuery) -> list[Row]:
        """See `TableReader`."""
        columns, where = ", ".join(table.names), address_where(table, query)
        return self._rows_of(f"SELECT {columns} FROM {table.dataset} WHERE {where} LIMIT {ADDRESSES_MAX}")  # noqa: S608 - as above
