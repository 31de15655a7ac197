"""What the operator says of a dump that cannot be seen from it, as one text: its shape, a map of its columns, the
country of its phone numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from kordant_jobs.adapters.dumps.column_map import ColumnMap
from kordant_jobs.adapters.dumps.model import DumpShape, Role


@dataclass(frozen=True, kw_only=True)
class Told:
    """Nothing, or any of the three. `region`: ISO 3166."""

    shape: DumpShape | None = None
    columns: ColumnMap | None = None
    region: str | None = None

    def to_text(self) -> str | None:
        """For the database: the shape's name where nothing else is told.

        >>> Told(shape=DumpShape.CSV).to_text(), Told(region="DE").to_text(), Told().to_text()
        ('csv', '{"region": "DE"}', None)
        """
        if self.columns is None and self.region is None:
            return str(self.shape) if self.shape else None
        told: dict[str, object] = {"shape": self.shape, "region": self.region}
        if self.columns is not None:
            told["columns"] = list(self.columns.roles.items())
            told["delimiter"] = self.columns.delimiter
        return json.dumps({name: value for name, value in told.items() if value})

    @classmethod
    def of_text(cls, text: str | None) -> Self:
        """As it was stored.

        >>> Told.of_text('{"region": "DE", "columns": [[1, "email"]]}').columns.roles
        {1: <Role.EMAIL: 'email'>}
        """
        if not text:
            return cls()
        if not text.startswith("{"):
            return cls(shape=DumpShape(text))
        told = json.loads(text)
        roles = {place: Role(role) for place, role in told.get("columns", ())}
        return cls(
            shape=DumpShape(told["shape"]) if "shape" in told else None,
            columns=ColumnMap(roles=roles, delimiter=told.get("delimiter", "")) if roles else None,
            region=told.get("region"),
        )
