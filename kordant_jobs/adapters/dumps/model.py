"""The values that reading a dump produces. No value but canonical identifiers leaves this package."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.domain.identifiers import IdentifierKind


class DumpShape(StrEnum):
    """The layout of the text of a dump."""

    COMBO = "combo"  # identifier, delimiter, secret; whatever follows the first delimiter is the secret
    DELIMITED = "delimited"  # several columns, no header
    CSV = "csv"  # several columns under a header, any delimiter
    JSON_LINES = "json_lines"  # JSON at any depth: a value a line, one array, a wrapper around records
    SQL_INSERT = "sql_insert"  # INSERT and REPLACE of any dialect, COPY
    SITE_LOGIN = "site_login"  # site, login, password: what stealers' logs are sold as
    LABELS = "labels"  # 'Login: …' lines: stealers' logs, vCard, LDIF, YAML, headers of mails
    XML = "xml"  # elements and attributes whose names say what they hold
    PHP = "php"  # arrays, serialised or as source
    PLAIN = "plain"  # one identifier a line
    TEXT = "text"  # no shape that is known: only swept


class SecretKind(StrEnum):
    """The kind of password beside an identifier. The password itself is never kept."""

    MENTIONED = "mentioned"  # it stands in the text; what lay beside it is not known
    NONE = "none"
    CLEAR = "clear"
    HASHED = "hashed"


class Role(StrEnum):
    """The meaning of one column of a dump."""

    EMAIL = "email"
    PHONE = "phone"
    USERNAME = "username"
    LOGIN = "login"  # an e-mail, a phone number or a username, line by line
    DOMAIN = "domain"
    NATIONAL_ID = "national_id"
    IBAN = "iban"
    CARD = "card"
    NAME = "name"  # a whole name; with BORN beside it a person
    FIRST_NAME = "first_name"
    LAST_NAME = "last_name"
    BORN = "born"
    PASSWORD = "password"  # noqa: S105 - a role's name
    HASH = "hash"
    SITE = "site"  # where a stolen login is for
    OTHER = "other"


USUAL = (":", ";", ",", "|", "\t", " ")
"""The most common separators between a login and a password."""
IDENTIFYING = frozenset(
    (Role.EMAIL, Role.PHONE, Role.USERNAME, Role.LOGIN, Role.DOMAIN, Role.NATIONAL_ID, Role.IBAN, Role.CARD)
)
"""Roles of columns that identify a person by themselves."""
SECRET = frozenset((Role.PASSWORD, Role.HASH))

KIND = pl.Enum([kind.value for kind in IdentifierKind])
SECRET_CODES = tuple(
    kind.value for kind in (SecretKind.MENTIONED, SecretKind.NONE, SecretKind.HASHED, SecretKind.CLEAR)
)
"""The kinds of secret in rising order; a code is a place in it."""
SECRET_KIND = pl.Enum(list(SECRET_CODES))
RECORDS = pl.Schema([("line", pl.UInt64()), ("kind", KIND), ("identifier", pl.String()), ("secret", SECRET_KIND)])


def identifies(roles: Iterable[Role | None]) -> bool:
    """True when columns of these roles identify a person: one identifying column, or a name beside a birth date.

    >>> identifies([Role.NAME, Role.OTHER]), identifies([Role.NAME, Role.BORN])
    (False, True)
    """
    held = set(roles)
    return bool(held & IDENTIFYING) or (Role.BORN in held and bool(held & {Role.NAME, Role.FIRST_NAME}))


class BadLine(StrEnum):
    """The reason why a line was rejected."""

    TOO_LONG = "too_long"
    NO_IDENTIFIER = "no_identifier"
    UNDECODABLE = "undecodable"
    BAD_JSON = "bad_json"
    BAD_SQL = "bad_sql"
    WRONG_COLUMNS = "wrong_columns"


@dataclass(frozen=True, kw_only=True)
class DumpLimits:
    """The limits of a dump, in bytes of unpacked text; `max_ratio` is unpacked to packed."""

    max_bytes: int
    max_ratio: int
    max_line_bytes: int = 1 << 20
    block_bytes: int = 8 << 20  # 32 MiB takes twice the memory (210 against 455 MB) and is no faster


@dataclass(frozen=True, kw_only=True)
class DumpBatch:
    """One block of a dump. `records` has the schema `RECORDS`; `line` is numbered from 1 through the unpacked text.
    `bad_lines` counts by reason; for SQL it counts tuples, while `lines` still counts physical lines."""

    records: pl.DataFrame
    lines: int
    bad_lines: Mapping[str, int]


SITES = {"line": pl.UInt64, "site": pl.String}


@dataclass(frozen=True, kw_only=True)
class BlindBatch:
    """One block of a dump, blinded. `line` is numbered from 1; `index` has two little-endian words for each record;
    `secret` is one of SECRET_CODES. Records have no order; `lines` and `bad_lines` as in `DumpBatch`."""

    line: npt.NDArray[np.uint64]
    index: npt.NDArray[np.uint64]
    secret: npt.NDArray[np.uint8]
    lines: int
    bad_lines: Mapping[str, int]
    sites: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SITES))
    """The sites where the person of a line logged in: `line`, `site` (a host)."""


def empty_batch(lines: int) -> BlindBatch:
    """A block without records that counts these lines."""
    nothing = np.empty((0, 2), np.uint64)
    return BlindBatch(
        line=np.empty(0, np.uint64), index=nothing, secret=np.empty(0, np.uint8), lines=lines, bad_lines={}
    )


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column with the role detected for it; `name` is '' where there is no header."""

    name: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All that is known about the text of a dump before its lines are read."""

    shape: DumpShape
    delimiter: str = ""
    columns: tuple[Column, ...] = ()
    quote: str = ""  # what a cell may stand in
    header: str = ""  # the header line itself, to recognise it when it comes again
    phone_region: str = "US"

    @property
    def is_usual_combo(self) -> bool:
        """True when its lines begin with an address, followed by any of `USUAL`: the layout that the compiled loops
        read."""
        return self.shape is DumpShape.COMBO and self.columns[0].role is Role.EMAIL and self.delimiter in USUAL
