"""Bulk transfer between Polars frames and Postgres, by COPY. It knows no table of ours."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, cast

import polars as pl
from sqlalchemy import Connection
from sqlalchemy.sql import ClauseElement


def read_frame(connection: Connection, query: ClauseElement, schema: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of `query` as a frame. `schema` gives the columns and their Polars types, in the query's order. Binary
    columns arrive as bytes, times as UTC microseconds. The dialect writes bound values into the statement, since COPY
    accepts no parameters."""
    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    raw = cast(Any, connection.connection.driver_connection)
    buffer = io.BytesIO()
    with raw.cursor() as cursor:
        cursor.execute("SET LOCAL timezone TO 'UTC'; SET LOCAL bytea_output TO 'hex'")
        cursor.copy_expert(f"COPY ({compiled}) TO STDOUT WITH (FORMAT csv)", buffer)
    buffer.seek(0)
    text_columns = dict.fromkeys(schema, pl.String)
    if not buffer.getbuffer().nbytes:
        return pl.DataFrame(schema=dict(schema))
    frame = pl.read_csv(buffer, has_header=False, new_columns=list(schema), schema=text_columns)
    return frame.select([_from_text(name, kind) for name, kind in schema.items()])


def _from_text(name: str, kind: Any) -> pl.Expr:
    column = pl.col(name)
    if kind == pl.Binary:
        return column.str.strip_prefix("\\x").str.decode("hex")
    if isinstance(kind, pl.Datetime):
        return column.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit="us", strict=True).dt.convert_time_zone(
            "UTC"
        )
    if kind == pl.Boolean:
        return column == "t"
    if kind == pl.Date:
        return column.str.to_date("%Y-%m-%d")
    return column.cast(kind)


def write_frame(connection: Connection, frame: pl.DataFrame, table: str, columns: Sequence[str] | None = None) -> None:
    """Append a frame to `table` (schema-qualified), in the caller's transaction. Binary goes as bytea."""
    names = list(columns or frame.columns)
    if frame.is_empty():
        return
    ready = frame.select(
        [
            pl.concat_str(pl.lit("\\x"), pl.col(name).bin.encode("hex")).alias(name)
            if frame.schema[name] == pl.Binary
            else pl.col(name)
            for name in names
        ]
    )
    buffer = io.BytesIO()
    ready.write_csv(buffer, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S%.6f%:z")
    buffer.seek(0)
    raw = cast(Any, connection.connection.driver_connection)
    with raw.cursor() as cursor:
        cursor.copy_expert(f"COPY {table} ({', '.join(names)}) FROM STDIN WITH (FORMAT csv)", buffer)
