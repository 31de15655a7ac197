"""A map of columns given by an operator: the role of each column, and the delimiter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from kordant_jobs.adapters.dumps.model import Column, DumpShape, Layout, Role
from kordant_jobs.errors import SettingsError

COLUMNS_MAX = 4_096


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """Roles by the column's place (from 1) or its header, and the delimiter where it should not be detected."""

    roles: Mapping[int | str, Role]
    delimiter: str = ""

    @classmethod
    def of_yaml(cls, text: str) -> ColumnMap:
        """The map in a YAML text: `delimiter: ";"` and `columns: {1: email, Kennwort: password}`.

        Raises:
            SettingsError: it is no such map.
        """
        try:
            found = yaml.safe_load(text)
            columns = {key if isinstance(key, int) else str(key): Role(role) for key, role in found["columns"].items()}
            delimiter = str(found.get("delimiter", ""))
        except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise SettingsError(
                f"the map of columns cannot be read ({type(error).__name__}). It has `columns:` with a place (from 1) "
                f"or a header each, and a role: {', '.join(Role)}."
            ) from None
        places = [key for key in columns if isinstance(key, int)]
        if not columns or len(delimiter) > 1 or any(not 1 <= place <= COLUMNS_MAX for place in places):
            raise SettingsError("the map of columns needs columns from 1 on, and a delimiter of one character.")
        return cls(roles=columns, delimiter=delimiter)

    def layout(self, first_line: str, *, guessed: str, phone_region: str) -> Layout:
        """The layout of lines, the first of which may be the header; `guessed` is the delimiter used when the map has
        none."""
        delimiter = self.delimiter or guessed
        names = [name.strip().strip("\"'") for name in first_line.split(delimiter)]
        by_name = any(isinstance(key, str) for key in self.roles)
        width = max([len(names), *(key for key in self.roles if isinstance(key, int))])
        columns = []
        for place in range(1, width + 1):
            name = names[place - 1] if by_name and place <= len(names) else ""
            columns.append(Column(name=name, role=self.roles.get(place) or self.roles.get(name) or Role.OTHER))
        shape = DumpShape.CSV if by_name else DumpShape.DELIMITED
        header = first_line.strip() if by_name else ""
        return Layout(
            shape=shape,
            delimiter=delimiter,
            columns=tuple(columns),
            quote='"',
            header=header,
            phone_region=phone_region,
        )
