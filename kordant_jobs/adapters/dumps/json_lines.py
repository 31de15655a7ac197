"""One JSON object a line; the wanted keys at the top or one level below."""

from __future__ import annotations

import json

import polars as pl

from kordant_jobs.adapters.dumps.model import BadLine, Layout, Role

_LEAF_LINES = 512  # a run of lines this short that holds a broken one is tried line by line


def json_lines(layout: Layout, lines: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """`line`, `text` and the wanted columns '0', '1', …; lines that are no JSON object are bad."""
    text = pl.col("text").str.strip_chars(" \t\r,\ufeff")
    lines = lines.with_columns(text).filter(~text.is_in(["", "[", "]"]))
    objects = lines.filter(pl.col("text").str.starts_with("{") & pl.col("text").str.ends_with("}"))
    wanted = [(str(at), column.name) for at, column in enumerate(layout.columns) if column.role is not Role.OTHER]
    decoded = _decoded(objects, _struct([name for _, name in wanted]))
    values = decoded.select("line", "text", *(_get(name).alias(at) for at, name in wanted))
    bad = lines.height - values.height
    return values, {BadLine.BAD_JSON.value: bad} if bad else {}


def _struct(names: list[str]) -> pl.Struct:
    fields: dict[str, pl.DataType] = {}
    for name in names:
        top, dot, below = name.partition("\x1f")
        if not dot:
            fields.setdefault(top, pl.String())
        else:
            nested = fields.get(top)
            inner = list(nested.fields) if isinstance(nested, pl.Struct) else []
            fields[top] = pl.Struct([*inner, pl.Field(below, pl.String())])
    return pl.Struct(fields)


def _get(name: str) -> pl.Expr:
    value = pl.col("object")
    for key in name.split("\x1f"):
        value = value.struct.field(key)
    return value


def _decoded(lines: pl.DataFrame, shape: pl.Struct) -> pl.DataFrame:
    try:
        return lines.with_columns(object=pl.col("text").str.json_decode(shape))
    except pl.exceptions.PolarsError:
        pass
    if lines.height <= _LEAF_LINES:
        return _one_by_one(lines, shape)
    half = lines.height // 2
    return pl.concat([_decoded(lines[:half], shape), _decoded(lines[half:], shape)])


def _one_by_one(lines: pl.DataFrame, shape: pl.Struct) -> pl.DataFrame:
    sound = lines.filter(pl.Series([_is_object(text) for text in lines["text"]], dtype=pl.Boolean))
    try:
        return sound.with_columns(object=pl.col("text").str.json_decode(shape))
    except pl.exceptions.PolarsError:
        if sound.height <= 1:
            return sound.clear().with_columns(object=pl.lit(None, shape))
        half = sound.height // 2
        return pl.concat([_one_by_one(sound[:half], shape), _one_by_one(sound[half:], shape)])


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
