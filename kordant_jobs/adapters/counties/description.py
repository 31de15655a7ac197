"""A county's YAML file: where its records are, which columns mean what, how late it may be. Checked with the line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kordant_jobs.domain.property.codes import CodeTable, Kind, tidy
from kordant_jobs.domain.property.instruments import Event, Form
from kordant_jobs.domain.property.names import Order
from kordant_jobs.domain.property.parcels import ParcelKind
from kordant_jobs.errors import SettingsError


class Driver(StrEnum):
    """How a county is asked."""

    SOCRATA = "socrata"
    SODA3 = "soda3"
    """Socrata's newer interface; needs a token."""
    ARCGIS = "arcgis"
    CARTO = "carto"
    FILES = "files"
    """CSV or fixed width, plain or zipped, in a drop folder."""


class Capability(StrEnum):
    """What a county's records tell. What is not among them is never called clean."""

    DEED = "deed"
    LIEN = "lien"


class TableKind(StrEnum):
    """Which rows a table holds. A county with one table has `instruments` that name parcels and parties themselves."""

    INSTRUMENTS = "instruments"
    LOTS = "lots"
    PARTIES = "parties"
    REFERENCES = "references"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """Where one meaning is: one column, or several joined; `split` divides a cell into several values."""

    of: tuple[str, ...]
    split: str | None = None


Columns = Mapping[str, Column]

MEANINGS: Mapping[TableKind, tuple[frozenset[str], frozenset[str]]] = {
    TableKind.INSTRUMENTS: (
        frozenset({"key", "code"}),
        frozenset({"label", "number", "recorded_on", "executed_on", "amount", "percent", "parcel", "givers", "takers",
                   "refers_to"}),
    ),
    TableKind.LOTS: (frozenset({"key", "parcel"}), frozenset()),
    TableKind.PARTIES: (frozenset({"key", "side", "name"}), frozenset()),
    TableKind.REFERENCES: (frozenset({"key", "refers_to"}), frozenset()),
}  # fmt: skip
"""The meanings that a kind of table must have, and those that it may."""


class TableDescription(_Strict):
    """One dataset: its id at the source, its watermark, its columns by meaning."""

    dataset: str = Field(description="4x4 id, layer path, SQL table, or a pattern of file names")
    watermark: str | None = Field(None, description="column that says when a row was loaded or changed")
    row_id: str | None = Field(None, description="column that tells the rows of one document apart; left out: its own")
    page: Annotated[int, Field(ge=1, le=50_000)] = 50_000
    columns: dict[str, Column]

    @model_validator(mode="before")
    @classmethod
    def _short_columns(cls, given: Any) -> Any:
        """A column may be written as its name, or as a list of names."""
        if isinstance(given, dict) and isinstance(given.get("columns"), dict):
            columns = {
                meaning: {"of": [one]} if isinstance(one, str) else {"of": one} if isinstance(one, list) else one
                for meaning, one in given["columns"].items()
            }
            return {**given, "columns": columns}
        return given

    @property
    def key(self) -> str:
        """The column that orders the rows of documents."""
        return self.columns["key"].of[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is asked for."""
        found = [name for column in self.columns.values() for name in column.of]
        return tuple(dict.fromkeys([*found, *([self.watermark] if self.watermark else [])]))


class AddressTable(TableDescription):
    """Which address belongs to which parcel: columns `parcel` and `address`; where `address` has two columns, the first
    is the house number alone."""

    @model_validator(mode="after")
    def _check_columns(self) -> AddressTable:
        if set(self.columns) != {"parcel", "address"}:
            raise ValueError("addresses: it needs the columns `parcel` and `address`, and no other")
        return self


class OwnerRoll(TableDescription):
    """The county's owner roll: a row a parcel (with a column `year`: and year, of which the newest counts), with its
    owners, where its tax bills go, and perhaps its own address."""

    refresh_days: int = Field(7, ge=1, description="how often each watched parcel is asked for")
    whole: bool = Field(False, description="its parcels cannot be asked for one by one: all of it is read")

    @model_validator(mode="after")
    def _check_columns(self) -> OwnerRoll:
        needed, more = {"parcel"}, {"owners", "mailing", "year", "address"}
        if needed - set(self.columns) or set(self.columns) - needed - more:
            raise ValueError("owner_roll: it needs the column `parcel`; it may have owners, mailing, year and address")
        if not {"owners", "mailing"} & set(self.columns):
            raise ValueError("owner_roll: it has neither `owners` nor `mailing`; name the columns of one of them")
        return self

    @property
    def key(self) -> str:
        """The column that orders its rows."""
        return self.columns["parcel"].of[0]


class FixedWidth(_Strict):
    """A column of a fixed-width file: from (counted from 1) and to, both included."""

    name: str
    first: int = Field(ge=1)
    last: int = Field(ge=1)


class CodeDescription(_Strict):
    """What a document type does, as a county's table says it."""

    event: Event
    form: Form = Form.PLAIN
    swapped: bool = False


class County(_Strict):
    """One county, as its file describes it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")
    name: str
    driver: Driver
    url: str = ""
    parcel: ParcelKind
    name_order: Order = Order.EITHER
    people: int = Field(100_000, ge=100, description="how many people may be meant by a name alone")
    latency_days: int = Field(ge=1, description="how old the newest record may be before the source counts as stale")
    capabilities: tuple[Capability, ...]
    recorder_url: str = Field("", description="a page of the recorder's; {key} and {number} are filled in")
    date_formats: tuple[str, ...] = ()
    codes: str | dict[str, CodeDescription] = Field(default_factory=dict, description="a table beside, or the table")
    tables: dict[TableKind, TableDescription]
    addresses: AddressTable | None = Field(None, description="which address belongs to which parcel")
    owner_roll: OwnerRoll | None = Field(None, description="who owns each parcel, and where its tax bills go")
    fixed_width: tuple[FixedWidth, ...] = ()
    delimiter: str = ","
    encoding: str = "utf-8"
    version: str = "1"

    @model_validator(mode="after")
    def _check_tables(self) -> County:
        if TableKind.INSTRUMENTS not in self.tables:
            raise ValueError("tables: it has no `instruments`; add the table that holds one row a document")
        for kind, table in self.tables.items():
            needed, more = MEANINGS[kind]
            if lacking := needed - set(table.columns):
                raise ValueError(f"tables.{kind}.columns: {', '.join(sorted(lacking))} missing; name their columns")
            if unknown := set(table.columns) - needed - more:
                allowed = ", ".join(sorted(needed | more))
                raise ValueError(f"tables.{kind}.columns: {', '.join(sorted(unknown))} means nothing; use {allowed}")
        if "parcel" not in self.tables[TableKind.INSTRUMENTS].columns and TableKind.LOTS not in self.tables:
            raise ValueError("tables: nothing says the parcel; add a table `lots`, or a column `parcel`")
        if self.driver is not Driver.FILES and not self.url.startswith(("https://", "http://127.0.0.1")):
            raise ValueError("url: it should be https:// and the server's address")
        return self

    @property
    def reads_roll_whole(self) -> bool:
        """Whether its owner roll is read whole: it comes as a file, or no single column is the parcel number."""
        roll = self.owner_roll
        return roll is not None and (roll.whole or self.driver is Driver.FILES or len(roll.columns["parcel"].of) > 1)

    @cached_property
    def code_table(self) -> CodeTable:
        """What its document types do.

        Raises:
            SettingsError: there is no such table.
        """
        given = self.codes if isinstance(self.codes, dict) else _code_file(self.codes)
        return {tidy(code): Kind(event=k.event, form=k.form, swapped=k.swapped) for code, k in given.items()}


def _code_file(name: str) -> dict[str, CodeDescription]:
    path = files("kordant_jobs.adapters.counties") / "codes" / f"{name}.yaml"
    if not path.is_file():
        raise SettingsError(f"there is no code table {name!r}: write it into the county's file under `codes:`.")
    found: dict[str, CodeDescription] = {}
    for event, forms in yaml.safe_load(path.read_text("utf-8")).items():
        for form, codes in forms.items():
            swapped = form == "swapped"
            one = CodeDescription(event=Event(event), form=Form.PLAIN if swapped else Form(form), swapped=swapped)
            found |= {str(code): one for code in codes}
    return found


def read_county(text: str, where: str) -> County:
    """The county that a YAML text describes.

    Raises:
        SettingsError: the text names the line and what to write there.
    """
    try:
        node = yaml.compose(text)
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        raise SettingsError(f"{line}: it is not YAML ({getattr(error, 'problem', 'unreadable')}).") from None
    if not isinstance(given, dict):
        raise SettingsError(f"{where}:1: it should be a mapping that begins with `id:`.")
    try:
        county = County.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(one) for one in first["loc"] if one != "function-after")
        said = str(first["msg"]).removeprefix("Value error, ")
        number = _line_of(node, list(first["loc"]) or said.partition(":")[0].split("."))
        raise SettingsError(f"{where}:{number}: {place + ': ' if place else ''}{said}.") from None
    county.code_table  # noqa: B018 - a table that is missing is said now
    return county


def _line_of(node: Any, path: list[Any]) -> int:
    """The line, from 1, of the deepest part of `path` that the text has."""
    line = 1
    for part in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((key, value) for key, value in pairs if key.value == str(part)), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def shipped() -> dict[str, County]:
    """The counties that come with the package, by id."""
    folder = files("kordant_jobs.adapters.counties") / "files"
    found = [read_county(one.read_text("utf-8"), one.name) for one in folder.iterdir() if one.name.endswith(".yaml")]
    return {one.id: one for one in sorted(found, key=lambda county: county.id)}


def read_file(path: Path) -> County:
    """As `read_county`, from a file.

    Raises:
        SettingsError: it cannot be read, or describes no county.
    """
    try:
        return read_county(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}).") from None
