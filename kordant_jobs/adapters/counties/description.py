"""A county's YAML file: its server, its tables and the meaning of their columns, its latency. Errors name the line."""

from __future__ import annotations

import codecs
import difflib
import hashlib
import re
import string
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from kordant_jobs.domain.property.instruments import CodeTable, Event, Form, Kind, tidy
from kordant_jobs.domain.property.names import Order
from kordant_jobs.domain.property.parcels import ParcelKind, normalise_parcel
from kordant_jobs.errors import SettingsError


class Driver(StrEnum):
    """The driver that reads a county."""

    SOCRATA = "socrata"
    SODA3 = "soda3"
    """Socrata's newer interface; needs a token."""
    ARCGIS = "arcgis"
    CARTO = "carto"
    FILES = "files"
    """CSV or fixed width, plain or zipped, in a drop folder."""


class Capability(StrEnum):
    """The kinds of facts that a county's records hold. A kind that is not listed is never reported as clean."""

    DEED = "deed"
    LIEN = "lien"


class TableKind(StrEnum):
    """The kind of rows that a table holds. A county with one table has `instruments` that name parcels and parties
    themselves."""

    INSTRUMENTS = "instruments"
    LOTS = "lots"
    PARTIES = "parties"
    REFERENCES = "references"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """The source of one meaning: one column, or several joined. `split` divides a cell into several values."""

    of: tuple[str, ...]
    split: str | None = Field(None, min_length=1)


Columns = Mapping[str, Column]

MEANINGS: Mapping[TableKind, tuple[frozenset[str], frozenset[str]]] = {
    TableKind.INSTRUMENTS: (
        frozenset({"key", "code"}),
        frozenset({"label", "number", "recorded_on", "executed_on", "amount", "percent", "parcel", "address", "givers",
                   "takers", "refers_to"}),
    ),
    TableKind.LOTS: (frozenset({"key", "parcel"}), frozenset()),
    TableKind.PARTIES: (frozenset({"key", "side", "name"}), frozenset()),
    TableKind.REFERENCES: (frozenset({"key", "refers_to"}), frozenset()),
}  # fmt: skip
"""By kind of table: the meanings that it must have, and those that it may have."""


class TableDescription(_Strict):
    """One dataset: its id at the source, its watermark, its columns by meaning."""

    dataset: str = Field(description="4x4 id, layer path, SQL table, or a pattern of file names")
    watermark: str | None = Field(None, description="column that says when a row was loaded or changed")
    overlap_days: int | None = Field(
        None,
        ge=0,
        description="so many days before the watermark are read again: rows that are loaded late have an older mark. "
        "Left out: the county's latency where the watermark is the day of recording, else 0",
    )
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
        """The column that the rows of documents are ordered by."""
        return self.columns["key"].of[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is requested."""
        found = [name for column in self.columns.values() for name in column.of]
        return tuple(dict.fromkeys([*found, *([self.watermark] if self.watermark else [])]))


class AddressTable(TableDescription):
    """The addresses of parcels: columns `parcel` and `address`; where `address` has two columns, the first is the house
    number alone."""

    @model_validator(mode="after")
    def _check_columns(self) -> AddressTable:
        if set(self.columns) != {"parcel", "address"}:
            raise ValueError("addresses: it needs the columns `parcel` and `address`, and no other")
        return self


class OwnerRoll(TableDescription):
    """The county's owner roll: one row for each parcel with its owners, the address of its tax bills, and perhaps its
    own address. With a column `year` there is one row for each parcel and year; the newest year counts."""

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
        """The column that its rows are ordered by."""
        return self.columns["parcel"].of[0]


class FixedWidth(_Strict):
    """A column of a fixed-width file: its first and last character, both included, counted from 1."""

    name: str
    first: int = Field(ge=1)
    last: int = Field(ge=1)

    @model_validator(mode="after")
    def _check_order(self) -> FixedWidth:
        if self.first > self.last:
            raise ValueError(f"{self.name} begins at {self.first} and ends at {self.last}: `first` comes first")
        return self


class CodeDescription(_Strict):
    """The effect of a document type, as a county's table gives it."""

    event: Event
    form: Form = Form.PLAIN
    swapped: bool = False


Codes = Annotated[
    Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$"), Tag("name")]
    | Annotated[dict[str, CodeDescription], Tag("table")],
    Discriminator(lambda given: "table" if isinstance(given, dict) else "name"),
]
REREAD_INTERVAL_DAYS = 7
"""The default days after which everything is read again, to find rows loaded or corrected behind a watermark that is a
recording day."""
_FORMAT_LETTERS = frozenset("aAbBdjmyY%")
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class County(_Strict):
    """One county, as its file describes it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")
    name: str
    driver: Driver
    url: str = ""
    parcel: ParcelKind
    parcel_pattern: str = Field("", description="regular expression that whole numbers fit, without signs in between")
    name_order: Order = Order.EITHER
    people: int = Field(100_000, ge=100, description="how many people may be meant by a name alone")
    latency_days: int = Field(ge=1, description="how old the newest record may be before the source counts as stale")
    reread_days: int | None = Field(
        None,
        ge=1,
        description="all is read again so often. Left out: 7 where a watermark is a day of recording, else never",
    )
    capabilities: tuple[Capability, ...] = Field(min_length=1)
    recorder_url: str = Field("", description="a page of the recorder's; {key} and {number} are filled in")
    date_formats: tuple[str, ...] = ()
    codes: Codes = Field(default_factory=dict, description="the name of a table that is shipped, or the table")
    tables: dict[TableKind, TableDescription]
    addresses: AddressTable | None = Field(None, description="which address belongs to which parcel")
    owner_roll: OwnerRoll | None = Field(None, description="who owns each parcel, and where its tax bills go")
    fixed_width: tuple[FixedWidth, ...] = ()
    delimiter: str = ","
    encoding: str = "utf-8"
    version: str = Field("1", description="another one reads everything again, as any change of what is read does")

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, given: str) -> str:
        try:
            b"".decode(codecs.lookup(given).name)  # some are known, and decode no bytes to text
        except LookupError:
            raise ValueError(f"{given!r} is no encoding; use utf-8, utf-16, latin-1 or cp1252") from None
        return given

    @field_validator("delimiter")
    @classmethod
    def _check_delimiter(cls, given: str) -> str:
        if len(given) != 1 or given in '"\r\n ':
            raise ValueError('it should be one character, such as "," or ";" or "\\t"')
        return given

    @field_validator("date_formats")
    @classmethod
    def _check_date_formats(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for form in given:
            if not set(re.findall(r"%(.?)", form)) or set(re.findall(r"%(.?)", form)) - _FORMAT_LETTERS:
                raise ValueError(f"{form!r} is no format of a day; write it with %d, %m, %b, %B, %y, %Y or %j")
        return given

    @field_validator("parcel_pattern")
    @classmethod
    def _check_pattern(cls, given: str) -> str:
        try:
            re.compile(given)
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error})") from None
        return given

    @field_validator("recorder_url")
    @classmethod
    def _check_recorder_url(cls, given: str) -> str:
        if given and not given.startswith("https://"):
            raise ValueError("it should begin with https://")
        try:
            fields = {name for _, name, _, _ in string.Formatter().parse(given) if name is not None}
        except ValueError:
            fields = {given}
        if fields - {"key", "number"}:
            raise ValueError("only {key} and {number} are filled in")
        return given

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
        if self.driver is not Driver.FILES and not _is_address(self.url):
            raise ValueError("url: it should be https:// and the server's address")
        if self.fixed_width:
            known = {one.name for one in self.fixed_width}
            for kind, table in self.tables.items():
                if absent := sorted(set(table.names) - known):
                    raise ValueError(f"tables.{kind}.columns: {', '.join(absent)} not among the names of `fixed_width`")
        return self

    def overlap_days(self, kind: TableKind) -> int:
        """The days before its watermark from which a table is read again."""
        table = self.tables[kind]
        if table.overlap_days is not None:
            return table.overlap_days
        recorded = table.columns.get("recorded_on")
        is_day_of_recording = table.watermark is not None and recorded is not None and table.watermark in recorded.of
        return self.latency_days if is_day_of_recording else 0

    @property
    def full_read_interval_days(self) -> int | None:
        """The days after which the whole county is read again; None: never."""
        if self.reread_days is not None or self.driver is Driver.FILES:
            return self.reread_days
        return REREAD_INTERVAL_DAYS if any(map(self.overlap_days, self.tables)) else None

    def parcel_number(self, raw: str) -> str | None:
        """The canonical number of a parcel that this county may have; None when `raw` is not one."""
        found = normalise_parcel(self.parcel, raw)
        return found if found and (not self.parcel_pattern or re.fullmatch(self.parcel_pattern, found)) else None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all settings that decide how the rows are understood. When it changes, everything is read again."""
        beside = {"name", "people", "latency_days", "reread_days", "capabilities", "recorder_url", "addresses"}
        said = f"{self.model_dump_json(exclude=beside)} {sorted(self.code_table.items())}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def matches_addresses(self) -> bool:
        """True when a document without a parcel number is matched by its street address, as the owner roll has it."""
        in_documents = "address" in self.tables[TableKind.INSTRUMENTS].columns
        return in_documents and self.owner_roll is not None and "address" in self.owner_roll.columns

    @property
    def reads_roll_whole(self) -> bool:
        """True when its owner roll is read whole: it comes as a file, or no single column is the parcel number."""
        roll = self.owner_roll
        return roll is not None and (roll.whole or self.driver is Driver.FILES or len(roll.columns["parcel"].of) > 1)

    @cached_property
    def code_table(self) -> CodeTable:
        """The effects of the county's document types.

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


def _is_address(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL))


def read_county(text: str, where: str) -> County:
    """The county that a YAML text describes. Every value is read as text (a code `NO` is not a boolean).

    Raises:
        SettingsError: the text names the line and what to write there.
    """
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        if twice := _twice(node):
            raise SettingsError(f"{where}:{twice.start_mark.line + 1}: {twice.value} stands there twice; keep one.")
        given = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and mappings only
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        raise SettingsError(f"{line}: it is not YAML ({getattr(error, 'problem', 'unreadable')}).") from None
    if not isinstance(given, dict):
        raise SettingsError(f"{where}:1: it should be a mapping that begins with `id:`.")
    try:
        county = County.model_validate(given)
    except ValidationError as error:
        first = min(
            error.errors(), key=lambda one: one["type"] != "extra_forbidden"
        )  # `latency_day:` first, not what it lacks
        path = [one for one in first["loc"] if one not in {"function-after", "name", "table"} or first["loc"] == (one,)]
        said = str(first["msg"]).removeprefix("Value error, ")
        number = _line_of(node, path or said.partition(":")[0].split("."))
        place = ".".join(map(str, path))
        raise SettingsError(f"{where}:{number}: {place + ': ' if place else ''}{_meant(first, said)}.") from None
    county.code_table  # noqa: B018 - a table that is missing is said now
    return county


def _meant(error: ErrorDetails, said: str) -> str:
    """The text of a validation error; for an unknown name, with the closest known one."""
    if error["type"] != "extra_forbidden":
        return said
    near = difflib.get_close_matches(str(error["loc"][-1]), {*County.model_fields, *TableDescription.model_fields}, 1)
    return f"this name means nothing{f'; did you mean `{near[0]}`?' if near else '; delete it'}"


def _twice(node: Any, done: set[int] | None = None) -> Any:
    """The first key, at any depth, that occurs twice in its mapping; None: there is none."""
    done = set() if done is None else done
    if id(node) in done:  # an alias
        return None
    done.add(id(node))
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    names = [key.value for key, _ in pairs]
    again = (key for at, (key, _) in enumerate(pairs) if key.value in names[:at])
    below = [value for _, value in pairs] or (node.value if isinstance(node, yaml.SequenceNode) else [])
    return next(again, None) or next(filter(None, (_twice(one, done) for one in below)), None)


def _line_of(node: Any, path: list[Any]) -> int:
    """The line, from 1, of the deepest part of `path` that exists in the text."""
    line = 1
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            continue
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
    """Like `read_county`, but from a file.

    Raises:
        SettingsError: it cannot be read, or describes no county.
    """
    try:
        return read_county(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}).") from None
