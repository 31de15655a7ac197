"""`kordant-jobs false-identifiers [FOLDER]`: reads text without people and counts what is taken for an identifier.

The text is what installed packages bring along: documentation, code, style sheets, data; and, as base64, some of their
binaries. A phone number, a card or any other kind that the sweep finds in it is wrong. Two kinds are counted apart:
e-mail addresses are those of authors and projects; user names come of files that are lists of words, as lists of user
names are.
"""

from __future__ import annotations

import base64
import hashlib
import io
import site
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from kordant_jobs.adapters.dumps import DumpLimits, open_dump
from kordant_jobs.cli.output import err, out, print_table
from kordant_jobs.domain.identifiers import IdentifierKind, mask

LIMITS = DumpLimits(max_bytes=1 << 40, max_ratio=200)
WRONG_PER_MB = 1.0
"""The goal: fewer wrong identifiers of the sweep's kinds a megabyte."""
APART = (IdentifierKind.EMAIL, IdentifierKind.USERNAME)
_TEXTS = frozenset(
    f".{ending}" for ending in ("py", "pyi", "rst", "md", "txt", "css", "js", "json", "html", "xml", "svg", "c", "h",
    "hpp", "toml", "cfg", "ini", "yaml", "csv")
)  # fmt: skip
_BINARIES = frozenset((".so", ".pyc", ".png", ".woff2"))
_BINARY_SHARE, _FILE_MAX = 20, 4 << 20
"""One binary in so many is written as base64; larger files are left out, since one would outweigh all others."""


def packed(folder: Path, archive: Path, megabytes: int) -> int:
    """Pack texts of a folder into a tar, in an order that mixes packages; the number of bytes of text."""
    files = [path for path in folder.rglob("*") if path.suffix in _TEXTS or path.suffix in _BINARIES]
    files.sort(key=lambda path: hashlib.blake2b(str(path).encode(), digest_size=8).digest())
    size = binaries = 0
    with tarfile.open(archive, "w") as tar:
        for path in files:
            if size >= megabytes << 20 or not path.is_file() or path.stat().st_size > _FILE_MAX:
                continue
            data = path.read_bytes()
            if path.suffix in _BINARIES:
                binaries += 1
                if binaries % _BINARY_SHARE:
                    continue
                data = base64.encodebytes(data)
            member = tarfile.TarInfo(f"{size}{path.suffix}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            size += len(data)
    return size


def found_in(archive: Path, region: str) -> pl.DataFrame:
    """The records of an archive, each (line, kind, identifier) once."""
    with open_dump(archive, limits=LIMITS, phone_region=region) as dump:
        return pl.concat([batch.records for batch in dump.batches()])


def count_false_identifiers(
    folder: Annotated[Path | None, typer.Argument(help="Texts without people; else the installed packages.")] = None,
    megabytes: Annotated[int, typer.Option(min=1, help="The most text to read.")] = 200,
    region: Annotated[str, typer.Option(help="The country of numbers without a country code.")] = "US",
    show: Annotated[bool, typer.Option("--show", help="List what was found, masked, with its line.")] = False,
) -> None:
    """Read text without people and count what is taken for an identifier. Exit code 1 at one a megabyte or more, e-mail
    addresses and user names apart."""
    with tempfile.TemporaryDirectory(prefix="kordant-texts-") as place, err.status("reading …"):
        archive = Path(place) / "texts.tar"
        size = packed(folder or Path(site.getsitepackages()[0]), archive, megabytes) / 1e6
        records = found_in(archive, region)
    wrong = records.filter(~pl.col("kind").is_in([str(one) for one in APART]))
    counts = Counter(records["kind"].to_list())
    print_table(
        ["kind", "found", "a MB"], [(kind, count, f"{count / size:.3f}") for kind, count in counts.most_common()]
    )
    if show:
        listed = wrong.group_by("kind", "identifier").agg(pl.len(), pl.col("line").min()).sort("kind", "len")
        rows = [(line, kind, mask(IdentifierKind(kind), who), count) for kind, who, count, line in listed.iter_rows()]
        print_table(["first line", "kind", "identifier", "lines"], rows)
    rate = wrong.height / size if size else 0.0
    out.print(
        f"{rate:.3f} wrong identifiers of the sweep a MB in {size:.0f} MB (goal: below {WRONG_PER_MB:g})",
        highlight=False,
    )
    raise SystemExit(0 if rate < WRONG_PER_MB else 1)
