"""SQL dumps: the tuples of INSERT statements, many MB of them on one line if need be.

Column names come from the statement, else from the table's CREATE, else the first tuples are looked at.
A string
with a raw line break in it is not followed (mysqldump escapes them): both its lines count as damaged. Other
statements are passed over.
"""

from __future__ import annotations

import re

import polars as pl

from kordant_jobs.adapters.dumps.columns import named_columns, unnamed_columns
from kordant_jobs.adapters.dumps.model import BadLine, Column, Role, identifies

_STRING = r"'(?:[^'\\]|\\.|'')*'"
_TUPLE = rf"\((?:[^'()]|{_STRING})*\)"
_FIELD = rf"[NEne]?{_STRING}|[^\s,'()]+"
_NAME = r"""[`"\[\]\w.$]+"""
_HEAD = rf"(?is)^\s*((?:INSERT|REPLACE)\s+(?:(?:IGNORE|DELAYED|LOW_PRIORITY|OR\s+\w+)\s+)*(?:INTO\s+)?{_NAME}\s*(?:\([^)']*\)\s*)?VALUES?)\s*(?:\(|$)"  # noqa: E501
_PARTS = re.compile(rf"(?is)INTO\s+({_NAME})\s*(?:\(([^)']*)\))?\s*VALUES?$")
_CREATE = re.compile(rf"(?is)CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})\s*\((.*?)\n?\)[^)\n]*;")
_CREATED_COLUMN = re.compile(r"""(?m)^\s*[`"\[]?(\w+)[`"\]]?\s+\w""")
_NO_COLUMN = frozenset(("PRIMARY", "KEY", "UNIQUE", "CONSTRAINT", "INDEX", "FULLTEXT", "FOREIGN", "CHECK", "SPATIAL"))
_SAMPLE_TUPLES = 500
STATEMENT = re.compile(rf"(?im)^\s*(?:INSERT|REPLACE)\s[^\n]*?INTO\s+{_NAME}")


class SqlReader:
    """Follows the statements of one document from block to block."""

    def __init__(self, *, phone_region: str) -> None:
        self._region = phone_region
        self._created: dict[str, tuple[str, ...]] = {}
        self._columns: dict[str, tuple[Column, ...]] = {}
        self._head: str | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the first table that holds identifiers."""
        layouts = self._columns.values()
        return next((columns for columns in layouts if identifies(c.role for c in columns)), ())

    def read(
        self, lines: pl.DataFrame, data: bytes
    ) -> tuple[list[tuple[pl.DataFrame, tuple[Column, ...]]], dict[str, int]]:
        """One frame (`line`, `text`, columns '0', '1', …) a statement head, with its columns; and the
        bad tuples."""
        self._remember_tables(data)
        text = pl.col("text")
        heads = lines.with_columns(head=text.str.extract(_HEAD, 1))
        heads = heads.with_columns(own=pl.col("head").is_not_null())
        heads = heads.filter(pl.col("own") | text.str.contains(r"^\s*\("))
        if heads.is_empty():
            return [], {}
        heads = heads.with_columns(pl.col("head").forward_fill().fill_null(pl.lit(self._head, pl.String)))
        self._head = heads["head"][-1]
        stripped = text.str.strip_chars_start().str.strip_prefix(pl.col("head"))
        heads = heads.drop_nulls("head").with_columns(text=pl.when("own").then(stripped).otherwise(text))
        tuples = heads.with_columns(tuples=text.str.extract_all(_TUPLE))
        bad = _damaged(tuples)
        found = []
        for (head,), group in tuples.group_by("head", maintain_order=True):
            rows = group.select("line", text=pl.col("tuples")).explode("text", empty_as_null=False)
            rows = rows.with_columns(fields=pl.col("text").str.extract_all(_FIELD))
            columns = self._columns_of(str(head), rows)
            if identifies(column.role for column in columns):
                kept = rows.filter(pl.col("fields").list.len() == len(columns))
                bad += rows.height - kept.height
                found.append((_values(kept, columns), columns))
        return found, {BadLine.BAD_SQL.value: bad} if bad else {}

    def _remember_tables(self, data: bytes) -> None:
        if b"CREATE TABLE" not in data and b"create table" not in data:
            return
        for match in _CREATE.finditer(data.decode("utf-8", "replace")):
            names = _CREATED_COLUMN.findall(match[2].replace(", `", ",\n`"))
            self._created[_plain(match[1])] = tuple(name for name in names if name.upper() not in _NO_COLUMN)

    def _columns_of(self, head: str, rows: pl.DataFrame) -> tuple[Column, ...]:
        if head not in self._columns:
            sample = [[_value(field) for field in fields] for fields in rows["fields"].head(_SAMPLE_TUPLES).to_list()]
            parts = _PARTS.search(head)
            listed = parts[2] if parts else None
            names = tuple(_plain(name) for name in listed.split(",")) if listed else None
            names = names or (self._created.get(_plain(parts[1])) if parts else None)
            width = max(map(len, sample), default=0)
            if names and (listed or len(names) == width):
                self._columns[head] = named_columns(names, sample, self._region)
            else:
                self._columns[head] = unnamed_columns(sample, width, self._region)
        return self._columns[head]


def _plain(name: str) -> str:
    return name.strip().rsplit(".", 1)[-1].strip('`"[] ')


def _value(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field[1:-1].replace("''", "'")) if field.startswith("'") else field


def _damaged(lines: pl.DataFrame) -> int:
    """How many lines hold more than commas, a semicolon and space besides their tuples."""
    text, tuples = pl.col("text"), pl.col("tuples")
    rest = text.str.len_bytes() - tuples.list.join("").str.len_bytes()
    unsure = lines.filter((rest > tuples.list.len()) | (tuples.list.len() == 0))
    left = text.str.replace_all(_TUPLE, "").str.replace_all(r"[\s,;]+", "")
    left = left.str.replace(r"(?i)^(?:ON(?:DUPLICATE|CONFLICT)|RETURNING|/\*|--).*$", "")
    return int(unsure.select((left != "").sum()).item())


def _values(rows: pl.DataFrame, columns: tuple[Column, ...]) -> pl.DataFrame:
    wanted = [at for at, column in enumerate(columns) if column.role is not Role.OTHER]
    return rows.select("line", "text", *(_unescaped(pl.col("fields").list.get(at)).alias(str(at)) for at in wanted))


def _unescaped(field: pl.Expr) -> pl.Expr:
    inner = field.str.replace(r"^[NEne]?'", "").str.strip_suffix("'")
    plain = inner.str.replace_all("''", "'", literal=True).str.replace_all(r"\\([^0nrtbZ])", "${1}")
    value = pl.when(inner.str.contains(r"[\\']")).then(plain).otherwise(inner)
    return pl.when(field.str.to_uppercase().is_in(["NULL", "DEFAULT"])).then(None).otherwise(value)
