"""Socrata, ArcGIS and CARTO over rows in memory, as real HTTP servers. The queries they understand are those that the
drivers make; anything else is an error of the kind that the real one gives.

Traps: nulls left out and numbers as strings (Socrata), rows in any order unless one is asked for, 202 before 200, an
error in a 200 (ArcGIS), a layer without pagination, fewer rows a page than asked, 429 that means a time-out (CARTO).
"""

import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer

Row = dict[str, Any]


@dataclass
class Traps:
    """Faults that the server adds to its answers. `after_page` is called after each page, so that rows can move."""

    processing_first: int = 0
    page_most: int = 50_000
    slow_above: int | None = None
    """CARTO: a page larger than this is a time-out."""
    no_pagination: bool = False
    errors_first: int = 0
    after_page: Callable[[], None] | None = None
    seed: int = 1


@dataclass
class Tables:
    """Rows by dataset; each has `row_id` and a watermark column. `edited` is what the source says of its freshness."""

    rows: dict[str, list[Row]]
    mark: str
    row_id: str
    edited: int = 1
    types: dict[str, type] = field(default_factory=dict)


class FakeCounty(FakeServer, ABC):
    """The base of the three servers: a query is a filter, an order and a limit."""

    def __init__(self, tables: Tables, traps: Traps | None = None) -> None:
        super().__init__()
        self.tables = tables
        self.traps = traps or Traps()
        self._rng = random.Random(self.traps.seed)  # noqa: S311 - an order of rows
        self._held = 0

    def answer(self, asked: Asked) -> Answer:
        """The answer, after what the traps hold back."""
        parts = urlsplit(asked.path)
        query = dict(parse_qsl(parts.query))
        body: Any = {}
        if asked.body:
            text = asked.body.decode()
            body = json.loads(text) if text.startswith("{") else dict(parse_qsl(text))
        if self._held < self.traps.processing_first:
            self._held += 1
            return Answer.of(202, {})
        if self._held < self.traps.errors_first:
            self._held += 1
            return Answer.of(500, {"message": "internal error"})
        return self.reply(parts.path, {**query, **body})

    @abstractmethod
    def reply(self, path: str, query: dict[str, Any]) -> Answer:
        """The answer of this kind of server."""

    def select(self, dataset: str, where: str, *, order: str, limit: int) -> list[Row]:
        """The rows, shuffled unless an order was asked for. Nulls come last."""
        rows = [row for row in self.tables.rows[dataset] if self._fits(row, where)]
        self._rng.shuffle(rows)
        for part in reversed(order.split(", ") if order else ()):
            column, _, direction = part.partition(" ")
            rows.sort(key=partial(_place, column=column), reverse=direction == "DESC")
        found = rows[: min(limit, self.traps.page_most)]
        if self.traps.after_page:
            self.traps.after_page()
        return found

    def lacks(self, dataset: str, columns: str) -> str | None:
        """A column that was asked for and that no row has ever had."""
        known = {name for row in self.tables.rows[dataset] for name in row}
        return next((one for one in columns.split(",") if known and one.strip() not in known), None)

    def _fits(self, row: Row, where: str) -> bool:
        return all(self._holds(row, part) for part in _parts(where))

    def _holds(self, row: Row, part: str) -> bool:
        part = part.strip()
        if part in {"", "1=1"}:
            return True
        if part.startswith("(") and " OR " in part:
            return any(self._fits(row, one) for one in re.split(r" OR ", _inside(part)))
        if part.startswith("("):
            return self._fits(row, _inside(part))
        if there := re.fullmatch(r"(\S+) IS NOT NULL", part):
            return row.get(there[1]) is not None
        if like := re.fullmatch(r"upper\((\S+)\) LIKE '(.*)'", part):
            pattern = ".*".join(map(re.escape, like[2].split("%")))
            return re.fullmatch(pattern, str(row.get(like[1]) or "").upper()) is not None
        if among := re.fullmatch(r"(\S+) ?(?:in|IN) ?\((.*)\)", part):
            return str(row.get(among[1])) in re.findall(r"'([^']*)'", among[2])
        if compared := re.fullmatch(r"(\S+) (>=|<=|>|=) (?:TIMESTAMP )?'?(.*?)'?", part):
            return _compared(row.get(compared[1]), compared[2], compared[3])
        raise ValueError(part)


def _parts(where: str) -> Iterable[str]:
    """The parts between ANDs that stand in no bracket."""
    depth, start = 0, 0
    for at, sign in enumerate(where):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and where.startswith(" AND ", at):
            yield where[start:at]
            start = at + 5
    yield where[start:]


def _place(row: Row, column: str) -> tuple[bool, Any]:
    value = row.get(column)
    return value is None, value if isinstance(value, int | float) else str(value)


def _inside(part: str) -> str:
    return part[1:-1] if part.endswith(")") else part


def _compared(value: Any, sign: str, other: str) -> bool:
    if value is None:
        return False
    left: Any = value if isinstance(value, int) else str(value)
    right: Any = _number(other) if isinstance(value, int) else other
    return bool({">=": left >= right, "<=": left <= right, ">": left > right, "=": left == right}[sign])


def _number(text: str) -> int:
    if text.isdecimal():
        return int(text)
    from datetime import UTC, datetime

    return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp() * 1000)


class FakeSocrata(FakeCounty):
    """`/resource/<id>.json`, `/api/views/<id>.json`, and SODA3's `/api/v3/views/<id>/query.json`."""

    def reply(self, path: str, query: dict[str, Any]) -> Answer:
        """Rows, or an error body."""
        if view := re.fullmatch(r"/api/views/(\S{9})\.json", path):
            if view[1] not in self.tables.rows:
                return Answer.of(404, {"code": "dataset.missing", "error": True, "message": "no such dataset"})
            return Answer.of(200, {"id": view[1], "rowsUpdatedAt": self.tables.edited, "columns": []})
        if newer := re.fullmatch(r"/api/v3/views/(\S{9})/query\.json", path):
            text = r"SELECT (.*?)(?: WHERE (.*))? ORDER BY (.*) LIMIT (\d+)"
            said = re.fullmatch(text, str(query.get("query")))
            if said is None:
                return Answer.of(400, {"code": "query.compiler.malformed", "error": True, "message": "malformed"})
            return self._rows(newer[1], said[1], said[2] or "", said[3], int(said[4]))
        plain = re.fullmatch(r"/resource/(\S{9})\.json", path)
        if plain is None or plain[1] not in self.tables.rows:
            return Answer.of(404, {"code": "dataset.missing", "error": True, "message": "no such dataset"})
        limit = int(query.get("$limit", 1000))
        return self._rows(plain[1], query["$select"], query.get("$where", ""), query.get("$order", ""), limit)

    def _rows(self, dataset: str, columns: str, where: str, order: str, limit: int) -> Answer:
        if column := self.lacks(dataset, columns):
            return Answer.of(400, {"code": "query.soql.no-such-column", "error": True, "message": column})
        rows = self.select(dataset, where, order=order, limit=limit)
        return Answer.of(200, [{name: str(value) for name, value in row.items() if value is not None} for row in rows])


class FakeArcgis(FakeCounty):
    """`/<layer>?f=json` and `/<layer>/query`."""

    def reply(self, path: str, query: dict[str, Any]) -> Answer:
        """A layer or features; every error has status 200."""
        layer = path.strip("/").removesuffix("/query")
        if layer not in self.tables.rows:
            return Answer.of(200, {"error": {"code": 400, "message": "Invalid URL", "details": []}})
        if not path.endswith("/query"):
            fields = [{"name": self.tables.row_id, "type": "esriFieldTypeOID"}]
            able = {"supportsPagination": not self.traps.no_pagination}
            said = {
                "fields": fields,
                "maxRecordCount": min(2000, self.traps.page_most),
                "objectIdField": self.tables.row_id,
            }
            editing = {"editingInfo": {"lastEditDate": self.tables.edited}}
            return Answer.of(200, {**said, "advancedQueryCapabilities": able, **editing})
        if "resultRecordCount" in query and self.traps.no_pagination:
            return Answer.of(200, {"error": {"code": 400, "message": "Pagination is not supported.", "details": []}})
        return self._features(layer, query)

    def _features(self, layer: str, query: dict[str, Any]) -> Answer:
        if ids := query.get("objectIds"):
            wanted = set(map(int, ids.split(",")))
            rows = [row for row in self.tables.rows[layer] if row[self.tables.row_id] in wanted]
            return Answer.of(200, {"features": [{"attributes": row} for row in rows]})
        where = query["where"]
        if query.get("returnIdsOnly"):
            ids = [row[self.tables.row_id] for row in self.tables.rows[layer] if self._fits(row, where)]
            return Answer.of(200, {"objectIdFieldName": self.tables.row_id, "objectIds": ids or None})
        if query.get("returnCountOnly"):
            return Answer.of(200, {"count": len(self.tables.rows[layer])})
        if self.lacks(layer, query["outFields"]):
            return Answer.of(200, {"error": {"code": 400, "message": "'outFields' parameter is invalid"}})
        most = min(2000, int(query.get("resultRecordCount", 2000)))
        rows = self.select(layer, where, order=query.get("orderByFields", "").replace(",  ", ", "), limit=most)
        all_of = sum(self._fits(row, where) for row in self.tables.rows[layer])
        more = {"exceededTransferLimit": True} if all_of > len(rows) else {}
        return Answer.of(200, {"features": [{"attributes": row} for row in rows], **more})


class FakeCarto(FakeCounty):
    """`/api/v2/sql?q=`."""

    def reply(self, path: str, query: dict[str, Any]) -> Answer:
        """Rows, an error of its parser, or 429 for a page that takes too long."""
        text = str(query.get("q"))
        if path != "/api/v2/sql":
            return Answer.of(404, {"error": ["not found"]})
        if newest := re.fullmatch(r"SELECT max\((\S+)\) AS newest, count\(\*\) AS rows FROM (\S+)", text):
            marks = [str(row[newest[1]]) for row in self.tables.rows[newest[2]]]
            return Answer.of(200, {"rows": [{"newest": max(marks, default=None), "rows": len(marks)}], "total_rows": 1})
        said = re.fullmatch(r"SELECT (.*?) FROM (\S+)(?: WHERE (.*?))?(?: ORDER BY (.*?))?(?: LIMIT (\d+))?", text)
        if said is None or said[2] not in self.tables.rows:
            return Answer.of(400, {"error": ["syntax error at or near"], "hint": ""})
        if column := self.lacks(said[2], said[1]):
            return Answer.of(400, {"error": [f'column "{column}" does not exist'], "hint": ""})
        limit = int(said[5] or 10**9)
        if self.traps.slow_above is not None and limit > self.traps.slow_above:
            return Answer.of(429, {"error": ["You are over platform's limits: SQL query timeout error."]})
        rows = self.select(said[2], said[3] or "", order=said[4] or "", limit=limit)
        return Answer.of(200, {"rows": rows, "time": 0.01, "fields": {}, "total_rows": len(rows)})
