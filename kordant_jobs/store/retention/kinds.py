"""The place of each kind of data: its table, the column from which its term counts, and the owner of a row.

A kind whose rows are in one table is an entry of `TABLES`; for a table that belongs to no kind, `STAYS` gives the
reason why its rows stay. Both are in `kinds.toml`; a test checks that every table is in one of the two.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

NO_OWNER = "NULL::uuid"


@dataclass(frozen=True, kw_only=True)
class TableKind:
    """One kind in one table, which SQL calls `t`. `clock` and `owner` are expressions of a row; `where` limits the kind
    to a part of the table. `children` are the tables that refer to it, each with its column: their rows are deleted
    first, in the same statement. `drained` are such tables with many rows for each parent: these are deleted in batches
    of their own before the parent."""

    kind: str
    table: str
    clock: str
    where: str = "true"
    owner: str = NO_OWNER
    children: tuple[tuple[str, str], ...] = ()
    drained: tuple[tuple[str, str], ...] = ()


_RAW = tomllib.loads(files(__package__).joinpath("kinds.toml").read_text("utf-8"))


def _table_kind(kind: str, raw: Mapping[str, Any]) -> TableKind:
    owner = raw.get("owner", NO_OWNER)
    children, drained = (tuple(raw.get(name, {}).items()) for name in ("children", "drained"))
    known = {"table": kind, **raw, "owner": _RAW["owners"].get(owner, owner), "children": children, "drained": drained}
    return TableKind(kind=kind, **known)


TABLES: Mapping[str, TableKind] = {kind: _table_kind(kind, raw) for kind, raw in _RAW["kinds"].items()}

TAKEN_ALONG: Mapping[str, tuple[str, ...]] = {table: tuple(kinds) for table, kinds in _RAW["taken_along"].items()}
"""By table, the kinds whose rows are deleted with its rows, through cascading foreign keys over any number of steps. A
test derives this from the tables."""

OWNED = frozenset({kind for kind, one in TABLES.items() if one.owner != NO_OWNER} | {"reports", "ended_subscribers"})
"""Kinds whose rows have an owner."""

STAYS: Mapping[str, str] = {name: group["why"] for group in _RAW["stays"] for name in group["tables"]}
"""The reason why the rows of each other table stay."""
