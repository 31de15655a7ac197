"""The demo's ten files: what each looks like and how it writes a row. `dump_rows.py` decides which people are in the
rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from kordant_jobs.lab.world.dump_rows import SecretShares
from kordant_jobs.lab.world.population import Kind

Packing = Literal["none", "gzip", "zstd", "xz", "zip"]
Junk = Callable[[np.random.Generator], str]

TUPLES_A_LINE = 12_000
"""Of an extended insert: about 1.5 MB on one line, more than the 1 MiB that a line of text may have."""

_OVERLONG = "overlong " * 150_000
"""1.35 MB: longer than the 1 MiB that a reader need take for a line."""

_GARBAGE = bytes({*range(1, 32), *range(0x7F, 0x100)} - {*b"\t\n\x0b\x0c\r\x1a\x1b\x1c\x1d\x1e\x1f", 0x85})


@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """One file. `share` of all lines and `exposures` of what is planted go into it; `head` are its first lines.

    `text` gives the text of a row from the columns of `Rows.values`. `junk` makes lines in which no one can be found,
    `overlong` is one of them. `tuples_a_line` is 0 for files that have a row a line.
    """

    name: str
    breach_name: str
    day: int
    shape: str
    compression: Packing
    encoding: Literal["utf-8", "utf-8-sig", "latin-1"]
    share: float
    exposures: float
    kinds: tuple[Kind, ...]
    secrets: SecretShares
    text: Callable[[], pl.Expr]
    junk: tuple[Junk, ...]
    head: tuple[str, ...] = ()
    bad_in_head: int = 0
    overlong: str = ""
    crlf: bool = False
    broken_bytes: bool = False
    blank: int = 0
    tuples_a_line: int = 0

    @property
    def notes(self) -> bool:
        """True if its lines hold the notes, in which others are mentioned."""
        return "note" in self.text().meta.root_names()

    def laid_out(self, texts: Sequence[str]) -> tuple[list[str], Callable[[int], int]]:
        """The lines behind the head, and on which of them (from 0) a row stands.

        In SQL the first nine tenths go into extended inserts, the others have a statement each.
        """
        if not self.tuples_a_line:
            return list(texts), lambda row: row
        size, insert = self.tuples_a_line, f"INSERT INTO `{_TABLE}` VALUES "  # noqa: S608 (a file's text, never run)
        bulk = len(texts) * 9 // 10
        long = [f"{insert}{','.join(texts[at : min(at + size, bulk)])};" for at in range(0, bulk, size)]
        single = [f"{insert}{text};" for text in texts[bulk:]]
        return [*long, *single], lambda row: row // size if row < bulk else len(long) + row - bulk


def _said(text: str) -> Junk:
    return lambda _: text


def _garbage(rng: np.random.Generator) -> str:
    """Bytes of a file that got in between: control characters and broken UTF-8, carried as surrogates."""
    drawn = rng.choice(np.frombuffer(_GARBAGE, np.uint8), size=int(rng.integers(8, 60)))
    return (b"\x01\xff" + drawn.tobytes()).decode("ascii", "surrogateescape")


_LOST = _said("row lost in transfer")
_LINE = _said("==========")
_LINES = (_garbage, _LOST, _LINE, _said("no address here at all"), _said("user at example dot com"))


def _joined(*columns: str, by: str) -> Callable[[], pl.Expr]:
    return lambda: pl.concat_str(*columns, separator=by)


def _quoted(column: str) -> pl.Expr:
    """The value in quotes, with its quotes doubled (RFC 4180)."""
    return pl.lit('"') + pl.col(column).str.replace_all('"', '""', literal=True) + pl.lit('"')


def _csv() -> pl.Expr:
    name = _quoted("name").str.replace(" ", ", ", literal=True)
    return pl.concat_str("number", "date", "phone", name, _quoted("note"), "email", "secret", separator=",")


def _json(column: str) -> pl.Expr:
    escaped = pl.col(column).str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    return pl.when(pl.col(column) == "").then(pl.lit("null")).otherwise(pl.lit('"') + escaped + pl.lit('"'))


def _json_lines() -> pl.Expr:
    return pl.concat_str(
        *(pl.lit('{"id":'), "number", pl.lit(',"username":'), _json("username")),
        *(pl.lit(',"contact":{"email":'), _json("email"), pl.lit(',"phone":'), _json("phone")),
        *(pl.lit('},"bio":'), _json("note"), pl.lit(',"password":'), _json("secret")),
        *(pl.lit(',"joined":"'), "date", pl.lit('"}')),
    )


def _sql(column: str) -> pl.Expr:
    escaped = pl.col(column).str.replace_all("\\", "\\\\", literal=True).str.replace_all("'", "\\'", literal=True)
    return pl.when(pl.col(column) == "").then(pl.lit("NULL")).otherwise(pl.lit("'") + escaped + pl.lit("'"))


def _sql_tuple() -> pl.Expr:
    fields = (pl.col("number").cast(pl.String), *map(_sql, ("username", "email", "phone", "secret", "name", "date")))
    return pl.lit("(") + pl.concat_str(*fields, separator=",") + pl.lit(")")


def _comma_or_semicolon() -> pl.Expr:
    delimiter = pl.when(pl.col("number") % 10 == 0).then(pl.lit(";")).otherwise(pl.lit(","))
    return pl.concat_str("email", delimiter, "secret")


def _login() -> pl.Expr:
    return pl.concat_str("username", pl.lit(":"), "secret")


_TABLE = "members"
_SQL_HEAD = (
    "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)",
    "/*!40101 SET NAMES utf8mb4 */;",
    f"DROP TABLE IF EXISTS `{_TABLE}`;",
    f"CREATE TABLE `{_TABLE}` (",
    "  `id` int NOT NULL AUTO_INCREMENT,",
    "  `login` varchar(64) DEFAULT NULL,",
    "  `email` varchar(254) DEFAULT NULL,",
    "  `mobile` varchar(32) DEFAULT NULL,",
    "  `passwd` varchar(128) DEFAULT NULL,",
    "  `full_name` varchar(128) DEFAULT NULL,",
    "  `joined` date DEFAULT NULL,",
    "  PRIMARY KEY (`id`)",
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;",
    f"LOCK TABLES `{_TABLE}` WRITE;",
)

FILES: tuple[FileSpec, ...] = (
    FileSpec(
        name="CrumbleCloud.txt",
        breach_name="CrumbleCloud",
        day=0,
        shape="combo",
        compression="none",
        encoding="utf-8",
        share=0.30,
        exposures=0.20,
        kinds=("email",),
        secrets=SecretShares(clear=0.9, hashed=0.07, awkward=True),
        text=_joined("email", "secret", by=":"),
        head=("### combo list, 2024, do not resell ###",),
        bad_in_head=1,
        junk=_LINES,
        overlong=_OVERLONG,
        broken_bytes=True,
    ),
    FileSpec(
        name="PixelPantry.csv.gz",
        breach_name="PixelPantry",
        day=0,
        shape="csv",
        compression="gzip",
        encoding="utf-8-sig",
        share=0.15,
        exposures=0.16,
        kinds=("email", "phone"),
        secrets=SecretShares(hashed=0.95),
        text=_csv,
        head=("customer_id,created_at,Mobile Phone,Full Name,comment,E-Mail,password_hash",),
        junk=(_garbage, _LOST, _said("17,2019-04-01"), _said('18,2019-04-01,,"Gone, Gone","",,'), _LINE),
        crlf=True,
    ),
    FileSpec(
        name="GameGrotto.jsonl.zst",
        breach_name="GameGrotto",
        day=1,
        shape="json_lines",
        compression="zstd",
        encoding="utf-8",
        share=0.14,
        exposures=0.16,
        kinds=("email", "phone", "username"),
        secrets=SecretShares(clear=0.5, hashed=0.3, awkward=True),
        text=_json_lines,
        junk=(
            _garbage,
            _said('{"id":19,"username":"torn'),
            _said('{"id":20,"username":null,"contact":{"email":null,"phone":null},"bio":"nobody"}'),
            _said('{"id":21,"username" "x"}'),
            _LOST,
        ),
        overlong='{"id":22,"bio":"' + _OVERLONG,
    ),
    FileSpec(
        name="TalkTavern.sql.gz",
        breach_name="TalkTavern",
        day=1,
        shape="sql_insert",
        compression="gzip",
        encoding="utf-8",
        share=0.12,
        exposures=0.14,
        kinds=("email", "phone", "username"),
        secrets=SecretShares(clear=0.2, hashed=0.7, awkward=True),
        text=_sql_tuple,
        head=_SQL_HEAD,
        junk=(
            _said("(23,NULL,NULL,NULL,'x','Nobody','2019-04-01')"),
            _said("(24,'torn')"),
            _said("(25,'',NULL,'',NULL,'O\\'Nobody (gone), \\'),(\\'',NULL)"),
        ),
        tuples_a_line=TUPLES_A_LINE,
    ),
    FileSpec(
        name="LojaLegal.txt",
        breach_name="LojaLegal",
        day=0,
        shape="delimited",
        compression="none",
        encoding="latin-1",
        share=0.08,
        exposures=0.08,
        kinds=("email",),
        secrets=SecretShares(clear=0.8, hashed=0.1),
        text=_joined("email", "secret", "name", "date", by=";"),
        junk=(_garbage, _LOST, _said(";;;"), _said(";lost;Nobody Nowhere;2019-04-01"), _said("x;y")),
        crlf=True,
    ),
    FileSpec(
        name="ParcelPigeon.txt.gz",
        breach_name="ParcelPigeon",
        day=2,
        shape="delimited",
        compression="gzip",
        encoding="utf-8",
        share=0.07,
        exposures=0.08,
        kinds=("phone",),
        secrets=SecretShares(),
        text=_joined("phone", "name", "date", by="|"),
        junk=(_garbage, _LOST, _said("||"), _said("none|Nobody Nowhere|2019-04-01"), _said("12|34")),
        broken_bytes=True,
    ),
    FileSpec(
        name="HeartHarbor.tsv.zst",
        breach_name="HeartHarbor",
        day=0,
        shape="csv",
        compression="zstd",
        encoding="utf-8",
        share=0.05,
        exposures=0.06,
        kinds=("email", "username"),
        secrets=SecretShares(clear=0.3, hashed=0.6),
        text=_joined("username", "email", "secret", by="\t"),
        head=("username\temail\tpassword",),
        junk=(_garbage, _LOST, _said("\t-\t"), _said("only one field"), _said("a b\tnone\tx")),
    ),
    FileSpec(
        name="FableFinance.zip",
        breach_name="FableFinance",
        day=2,
        shape="combo",
        compression="zip",
        encoding="utf-8",
        share=0.04,
        exposures=0.04,
        kinds=("email",),
        secrets=SecretShares(clear=0.9, awkward=True),
        text=_comma_or_semicolon,
        junk=_LINES,
    ),
    FileSpec(
        name="SpamSpire.txt.xz",
        breach_name="SpamSpire",
        day=1,
        shape="plain",
        compression="xz",
        encoding="utf-8",
        share=0.03,
        exposures=0.04,
        kinds=("email",),
        secrets=SecretShares(),
        text=_joined("email", by=""),
        junk=_LINES,
        blank=5,
    ),
    FileSpec(
        name="found-on-a-forum.txt",
        breach_name="",
        day=2,
        shape="combo",
        compression="none",
        encoding="utf-8",
        share=0.02,
        exposures=0.04,
        kinds=("username",),
        secrets=SecretShares(clear=0.9),
        text=_login,
        junk=(_garbage, _LOST, _LINE, _said("a:shorter"), _said("two words:secret")),
    ),
)
