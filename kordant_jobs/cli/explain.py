"""`kordant-jobs dumps explain`: how a file is understood, with every value masked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import phonenumbers

from kordant_jobs.adapters.dumps import Column, ColumnMap, DumpLimits, DumpShape, Ledger, ReaderOptions, Role, open_dump
from kordant_jobs.domain.identifiers import IdentifierKind, mask
from kordant_jobs.errors import DumpUnreadable, SettingsError

LIMITS = DumpLimits(max_bytes=1 << 40, max_ratio=200)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The result of reading a file without keeping it. `records`: line, kind, masked identifier, kind of secret."""

    shape: str
    compression: str
    encoding: str
    columns: tuple[Column, ...]
    lines: int
    bad_lines: dict[str, int]
    damage: str | None
    ledger: Ledger
    records: list[tuple[int, str, str, str]]

    def facts(self) -> dict[str, Any]:
        """Everything except the records and the ledger."""
        columns = ", ".join(f"{column.name or place}: {column.role}" for place, column in enumerate(self.columns))
        return {
            "shape": self.shape,
            "compression": self.compression,
            "encoding": self.encoding,
            "columns": columns or None,
            "lines": self.lines,
            "bad_lines": self.bad_lines,
            "would_be": f"partial: {problem}" if (problem := self.ledger.problem()) else "ingested",
            "damage": self.damage,
        }

    def to_json(self) -> dict[str, Any]:
        """The whole result as JSON values."""
        return {**self.facts(), "ledger": self.ledger.to_json(), "records": self.records}


def explain(file: Path, *, shape: DumpShape | None, columns: ColumnMap | None, lines: int, region: str) -> Explained:
    """Read a file as a scan does, and keep the first `lines` records.

    Raises:
        SettingsError: it cannot be read at all.
    """
    records, total, bad, damage = list[tuple[int, str, str, str]](), 0, dict[str, int](), None
    try:
        dump = open_dump(file, limits=LIMITS, phone_region=region, shape=shape, columns=columns)
    except DumpUnreadable as error:
        raise SettingsError(f"it cannot be read. {error}") from None
    with dump:
        try:
            for batch in dump.batches():
                total += batch.lines
                for reason, count in batch.bad_lines.items():
                    bad[reason] = bad.get(reason, 0) + count
                for line, kind, who, secret in batch.records.head(max(0, lines - len(records))).iter_rows():
                    records.append((line, kind, mask(IdentifierKind(kind), who), secret))
        except DumpUnreadable as error:
            damage = str(error)
        return Explained(
            shape=str(dump.shape),
            compression=str(dump.compression),
            encoding=dump.encoding,
            columns=tuple(Column(name=_name(column.name), role=column.role) for column in dump.columns),
            lines=total,
            bad_lines=bad,
            damage=damage,
            ledger=dump.ledger,
            records=records,
        )


def _name(text: str) -> str:
    """A column's header, hidden if it looks like personal data."""
    return "…" if "@" in text or sum(one.isdigit() for one in text) > 4 else text[:40]


def reader_options(shape: str | None, columns: Path | None, region: str | None) -> ReaderOptions:
    """The options for reading a dump, from the command line.

    Raises:
        SettingsError: there is no such shape or country, or the map of columns is not valid.
    """
    country = region.upper() if region else None
    if country is not None and country not in phonenumbers.SUPPORTED_REGIONS:
        raise SettingsError(f"--region {region}: there is no such country; give two letters of ISO 3166, as DE or BR.")
    mapped = ColumnMap.of_yaml(columns.read_text()) if columns else None
    return ReaderOptions(shape=shape_named(shape), columns=mapped, region=country)


def shape_named(name: str | None) -> DumpShape | None:
    """The shape with this name.

    Raises:
        SettingsError: there is none.
    """
    if name is None:
        return None
    if name not in set(DumpShape):
        raise SettingsError(f"--shape {name}: there is no such shape; choose one of {', '.join(DumpShape)}.")
    return DumpShape(name)


ROLES = ", ".join(Role)
"""The roles for a map of columns."""
