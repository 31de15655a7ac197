"""The demo's breach dumps as files: shapes, encodings and packings as they occur, and where what was planted.

What the rows say is `dump_rows.py`'s, how each file writes them `dump_shapes.py`'s.
"""

import gzip
import io
import lzma
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import UUID

import numpy as np
import zstandard

from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.errors import SettingsError
from kordant_jobs.lab.world.dump_rows import EXPOSURES_PER_SUBSCRIBER, Hit, RowMaker, Rows, make_secrets
from kordant_jobs.lab.world.dump_shapes import FILES, FileSpec, Packing
from kordant_jobs.lab.world.population import Population

BAD_SHARE = 0.01
BROKEN_BYTES_SHARE = 0.005
"""So many lines of a file with broken bytes end in bytes that are no UTF-8. Whom they name can be read."""

_ZIP_DATE = (2024, 1, 1, 0, 0, 0)  # fixed, as gzip's is, so that the same seed gives the same bytes


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A watched item that stands in a dump. An identifier that two items share is planted for both.

    `line` counts from 1 through the unpacked text (a zip's members end to end) and is the first that names it, the
    byte order mark being no line. `breach_name` is '' where no catalogued breach is known. `secret` is the same in
    every row of the file that names the item.
    """

    item_id: UUID
    dump: str
    breach_name: str
    line: int
    secret: SecretKind


@dataclass(frozen=True, kw_only=True)
class DumpFile:
    """One written dump. It becomes known `day` days before the demo's now (0, 1 or 2).

    `lines` counts what the generator made: header, banner, blank, bad and good lines alike; in SQL each tuple, as
    `bad_lines` does, and nothing else. `text_lines` counts line ends in the unpacked text. `shape`, `compression`
    are named as the reader names them; an `encoding` of 'latin-1' it may call cp1252.
    """

    name: str
    breach_name: str
    day: int
    shape: str
    compression: str
    encoding: str
    lines: int
    text_lines: int
    bad_lines: int


@dataclass(frozen=True, kw_only=True)
class DumpSet:
    """All dumps of a demo and the truth about them. One entry in `planted` for each (item, dump).

    `mentioned` are pairs of an item and a dump in whose notes it stands, by its form alone; some are planted as well.
    `near_misses` are written in the dumps and belong to no one. `passwords` is every secret in the files, in clear
    and hashed, before CSV, JSON or SQL escapes it; a reader must leave none of them anywhere.
    """

    files: tuple[DumpFile, ...]
    planted: tuple[Planted, ...]
    mentioned: frozenset[tuple[UUID, str]]
    near_misses: tuple[str, ...]
    passwords: frozenset[str]


def write_dumps(population: Population, folder: Path, *, seed: int, lines: int = 1_000_000) -> DumpSet:
    """Write the dumps into `folder` (made if missing). Same population, seed, lines and libraries: the same bytes.

    Raises:
        SettingsError: too few lines to hide that many subscribers' exposures in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    exposures = len(population.subscribers) * EXPOSURES_PER_SUBSCRIBER
    least = max(2_000, round(exposures * 20))
    if lines < least:
        raise SettingsError(
            f"{lines} lines are too few for {len(population.subscribers)} subscribers: ask for {least} or more."
        )
    owners: dict[str, list[UUID]] = {}
    for item in population.items:
        owners.setdefault(f"{item.kind} {item.canonical}", []).append(item.id)
    maker = RowMaker(population, make_secrets(seed), seed=seed)
    files: list[DumpFile] = []
    planted: list[Planted] = []
    near: list[str] = []
    passwords: set[str] = set()
    mentioned: set[tuple[UUID, str]] = set()
    for place, spec in reversed(list(enumerate(FILES))):
        # The first file is written last and takes what is left, so that there are `lines` lines in all: those of SQL,
        # which hold many tuples each, are known once they are written.
        count = int(lines * spec.share) if place else lines - sum(file.text_lines for file in files)
        rng = np.random.Generator(np.random.PCG64([seed, 3, place]))
        file, hits, mentions, rows = _write_file(spec, folder, count, maker, rng)
        files.insert(0, file)
        near += rows.near_misses
        passwords |= rows.secrets_used
        for one in mentions:
            mentioned |= {(item_id, spec.name) for item_id in owners[f"{one.kind} {one.canonical}"]}
        for hit, line in _first_lines(hits).values():
            planted += [
                Planted(item_id=item_id, dump=spec.name, breach_name=spec.breach_name, line=line, secret=hit.secret)
                for item_id in owners[f"{hit.kind} {hit.canonical}"]
            ]
    return DumpSet(
        files=tuple(files),
        planted=tuple(planted),
        mentioned=frozenset(mentioned),
        near_misses=tuple(near),
        passwords=frozenset(passwords),
    )


def _first_lines(hits: Sequence[tuple[Hit, int]]) -> dict[tuple[str, str], tuple[Hit, int]]:
    first: dict[tuple[str, str], tuple[Hit, int]] = {}
    for hit, line in sorted(hits, key=lambda pair: pair[1]):
        first.setdefault((hit.kind, hit.canonical), (hit, line))
    return first


def _write_file(
    spec: FileSpec, folder: Path, count: int, maker: RowMaker, rng: np.random.Generator
) -> tuple[DumpFile, list[tuple[Hit, int]], tuple[Hit, ...], Rows]:
    """Make, write out and pack one file. Hits come back with their lines, and those that its notes mention."""
    fixed = 0 if spec.tuples_a_line else len(spec.head)
    rows = maker.rows(
        count - fixed,
        kinds=spec.kinds,
        share=spec.exposures,
        secrets=spec.secrets,
        latin=spec.encoding == "latin-1",
        bad=max(len(spec.junk), round(count * BAD_SHARE)),
        blank=spec.blank,
    )
    texts: list[str] = rows.values.select(spec.text()).to_series().to_list()
    for turn, row in enumerate(rows.bad):
        texts[row] = spec.junk[turn % len(spec.junk)](rng) if turn else spec.overlong or spec.junk[0](rng)
    for row in rows.blank:
        texts[row] = ""
    if spec.broken_bytes:
        drawn = rng.choice(len(texts), size=len(texts) // 10, replace=False)
        whole = (row for row in drawn if texts[row].isascii())  # other letters in the line would be misread with it
        for row in islice(whole, max(1, int(len(texts) * BROKEN_BYTES_SHARE))):
            texts[row] += "\udce9\udc80"  # Latin-1's é and half a character: bytes E9 80
    lines, line_of = spec.laid_out(texts)
    end = "\r\n" if spec.crlf else "\n"
    text = end.join([*spec.head, *lines, ""])
    codec = "utf-8" if spec.encoding == "utf-8-sig" else spec.encoding
    start = b"\xef\xbb\xbf" if spec.encoding == "utf-8-sig" else b""
    data = start + text.encode(codec, "surrogateescape")
    (folder / spec.name).write_bytes(packed(data, spec.compression))
    file = DumpFile(
        name=spec.name,
        breach_name=spec.breach_name,
        day=spec.day,
        shape=spec.shape,
        compression=spec.compression,
        encoding=spec.encoding,
        lines=count,
        text_lines=len(spec.head) + len(lines),
        bad_lines=len(rows.bad) + spec.bad_in_head,
    )
    hits = [(hit, len(spec.head) + line_of(hit.row) + 1) for hit in rows.hits]
    mentions = rows.mentions if spec.notes else ()
    return file, hits, mentions, rows


def packed(data: bytes, compression: Packing) -> bytes:
    """The bytes of a file so compressed, the same for the same library versions. A zip gets two members, cut at a line.

    >>> packed(b"a@example.com", "none")
    b'a@example.com'
    """
    match compression:
        case "gzip":
            return gzip.compress(data, 3, mtime=0)
        case "zstd":
            return zstandard.ZstdCompressor(level=3, threads=0).compress(data)
        case "xz":
            return lzma.compress(data, preset=0)
        case "zip":
            cut = data.index(b"\n", len(data) // 2) + 1
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
                for name, part in (("list/part-1.txt", data[:cut]), ("list/part-2.txt", data[cut:])):
                    archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), part, zipfile.ZIP_DEFLATED, 3)
            return file.getvalue()
    return data
