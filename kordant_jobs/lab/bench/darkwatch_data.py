"""Dumps for the bench, from a seed: a clean one, and one with capitals, bad bytes and other lines in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kordant_jobs.domain.identifiers.blinding import BlindingKey

SEED = 1
KEY = BlindingKey(key=bytes(range(32)))
HIT_SHARE = 0.002
UPPER_SHARE, BROKEN_SHARE, STRANGE_SHARE = 0.1, 0.01, 0.001
_ROWS = 500_000
_BROKEN = 0xE9  # 'é' in Latin-1, which is no UTF-8
_FIRST = ("ana", "bo", "carla", "dmitri", "eve", "finn", "gus", "hana", "ivo", "june", "kai", "lea", "max", "nia")
_LAST = ("smith", "li", "kov", "reis", "ortiz", "berg", "novak", "o", "tan", "wu")
_DOMAINS = ("mail.example", "post.example", "inbox.test", "web.example", "corp.example", "uni.example", "box.test")


@dataclass(frozen=True, kw_only=True)
class Made:
    """Where the files lie, and how many watched addresses were planted in each at least."""

    clean: Path
    dirty: Path
    watched: Path
    watched_text: Path
    planted: int


def make(folder: Path, *, dump_bytes: int, watched: int) -> Made:
    """Make what is not there yet. Both dumps hold the same addresses, line by line."""
    made = Made(
        clean=folder / "clean.txt",
        dirty=folder / "dirty.txt",
        watched=folder / "watched.npy",
        watched_text=folder / "watched.txt",
        planted=0,
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not made.watched.exists():
        draw = np.random.default_rng(SEED)
        people = _addresses(draw, watched).unique(maintain_order=True)
        made.watched_text.write_text("\n".join(people.to_list()) + "\n")
        _dumps(draw, people, made, dump_bytes)
        indexes = b"".join(KEY.indexes("email", people.to_list()))
        np.save(made.watched, np.frombuffer(indexes, np.uint64).reshape(-1, 2))
    return made


def _addresses(draw: np.random.Generator, count: int) -> pl.Series:
    names = pl.Series([f"{first}{joiner}{last}" for first in _FIRST for joiner in ("", ".", "_") for last in _LAST])
    numbers = pl.Series(draw.integers(0, 10**8, count)).cast(pl.String)
    domains = pl.Series(_DOMAINS)
    return (
        names.gather(draw.integers(0, len(names), count))
        + numbers
        + "@"
        + domains.gather(draw.integers(0, len(domains), count))
    )


def _dumps(draw: np.random.Generator, people: pl.Series, made: Made, dump_bytes: int) -> None:
    done = 0
    with made.clean.open("wb") as clean, made.dirty.open("wb") as dirty:
        while done < dump_bytes:
            rows = min(_ROWS, dump_bytes // 30)
            hit = np.flatnonzero(draw.random(rows) < HIT_SHARE)
            addresses = _addresses(draw, rows).scatter(hit, people.gather(draw.integers(0, len(people), len(hit))))
            passwords = pl.Series(draw.integers(10**5, 10**7, rows)).cast(pl.String)
            done += clean.write(_text(addresses, passwords))
            upper = pl.Series(draw.random(rows) < UPPER_SHARE)
            spelled = addresses.to_frame("a").select(
                pl.when(upper).then(pl.col("a").str.to_uppercase()).otherwise(pl.col("a"))
            )
            dirty.write(_damaged(draw, _text(spelled.to_series(), passwords)))


def _text(addresses: pl.Series, passwords: pl.Series) -> bytes:
    return ("\n".join((addresses + ":" + passwords).to_list()) + "\n").encode()


def _damaged(draw: np.random.Generator, text: bytes) -> bytes:
    """The last byte of some lines made one that is not UTF-8, and in some the delimiter doubled in the password."""
    content: Any = np.frombuffer(text, np.uint8).copy()
    ends = np.flatnonzero(content == ord("\n"))
    content[ends[draw.random(len(ends)) < BROKEN_SHARE] - 1] = _BROKEN
    content[ends[draw.random(len(ends)) < STRANGE_SHARE] - 2] = ord('"')
    return bytes(content.tobytes())
