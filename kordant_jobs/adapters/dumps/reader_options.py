"""An operator's options for reading a dump, stored as one text: its shape, the roles of its columns, the country of its
phone numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from kordant_jobs.adapters.dumps.column_map import ColumnMap
from kordant_jobs.adapters.dumps.model import DumpShape, Role


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """The options; those not given are detected. `region`: ISO 3166."""

    shape: DumpShape | None = None
    columns: ColumnMap | None = None
    region: str | None = None

    def to_text(self) -> str | None:
        """The options as stored in the database: only the shape's name where nothing else is given.

        >>> ReaderOptions(shape=DumpShape.CSV).to_text(), ReaderOptions(region="DE").to_text()
        ('csv', '{"region": "DE"}')
        """
        if self.columns is None and self.region is None:
            return str(self.shape) if self.shape else None
        values: dict[str, object] = {"shape": self.shape, "region": self.region}
        if self.columns is not None:
            values["columns"] = list(self.columns.roles.items())
            values["delimiter"] = self.columns.delimiter
        return json.dumps({name: value for name, value in values.items() if value})

    @classmethod
    def of_text(cls, text: str | None) -> Self:
        """Read options back from the stored text.

        >>> ReaderOptions.of_text('{"region": "DE", "columns": [[1, "email"]]}').columns.roles
        {1: <Role.EMAIL: 'email'>}
        """
        if not text:
            return cls()
        if not text.startswith("{"):
            return cls(shape=DumpShape(text))
        values = json.loads(text)
        roles = {place: Role(role) for place, role in values.get("columns", ())}
        return cls(
            shape=DumpShape(values["shape"]) if "shape" in values else None,
            columns=ColumnMap(roles=roles, delimiter=values.get("delimiter", "")) if roles else None,
            region=values.get("region"),
        )
