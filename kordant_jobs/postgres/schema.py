"""The base of every table: the schema's name, names of constraints, and common columns."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, MetaData, Table, Text, Uuid, func, text
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

SCHEMA = "kordant"
DAGSTER_SCHEMA = "dagster"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)


def table(name: str, *parts: SchemaItem, comment: str | None = None) -> Table:
    """A table of ours."""
    return Table(name, metadata, *parts, comment=comment)


def one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    """The constraint that a column has a member of a closed set."""
    allowed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


def choice(name: str, values: type[StrEnum], *, nullable: bool = False, **more: Any) -> Column[Any]:
    """A column for a member of a closed set, with the constraint for it."""
    return Column(name, Text, one_of(name, values), nullable=nullable, **more)


def moment(name: str, *, nullable: bool = False, default_now: bool = False) -> Column[Any]:
    """A `timestamp with time zone` column; with `default_now` it is filled with now()."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=func.now() if default_now else None)


def belongs_to(name: str, table: str, key: str = "id", *, nullable: bool = False, **more: Any) -> Column[Any]:
    """A foreign key whose row is deleted with the referenced row."""
    kind: TypeEngine[Any] = Text() if key == "name" else Uuid()
    return Column(name, kind, ForeignKey(f"{SCHEMA}.{table}.{key}", ondelete="CASCADE"), nullable=nullable, **more)


def trace() -> Column[Any]:
    """The column of the trace that a row belongs to: by default the one that `kordant.traceparent` names in its
    transaction."""
    default = text("kordant.traceparent()")
    return Column(
        "traceparent", Text, server_default=default, comment="the W3C context of the trace that it is part of"
    )
