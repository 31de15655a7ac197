"""The corpus: ingested dumps as Parquet, keyed by blind index. Nothing in it is readable without the master key.

One folder a dump, one file a block of it. A dump is there whole or not at all: it is written beside its place and
renamed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from uuid import UUID

import polars as pl

from kordant_jobs.domain.exposures import SecretKind

SECRETS = pl.Enum([kind.value for kind in (SecretKind.NONE, SecretKind.HASHED, SecretKind.CLEAR)])
"""In rising order, so that the strongest of several is the last."""

RECORDS: dict[str, pl.DataType] = {"line": pl.UInt64(), "blind_index": pl.Binary(), "secret": SECRETS}


class CorpusWriter:
    """Takes one dump's records; they are in the corpus when the `with` block ends without an error."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._draft = place.with_name(f".draft-{place.name}-{os.getpid()}")
        self._parts = 0

    def __enter__(self) -> CorpusWriter:
        self._remove_drafts()
        self._draft.mkdir(mode=0o700, parents=True)
        return self

    def add(self, records: pl.DataFrame) -> None:
        """Append records with the columns of `RECORDS`; equal ones of one line count once."""
        records.select(*RECORDS).unique().write_parquet(
            self._draft / f"part-{self._parts:06d}.parquet", compression="zstd", statistics=False
        )
        self._parts += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            shutil.rmtree(self._draft, ignore_errors=True)
            return
        if self._place.exists():
            shutil.rmtree(self._place)
        self._draft.rename(self._place)

    def _remove_drafts(self) -> None:
        for draft in self._place.parent.glob(f".draft-{self._place.name}-*"):
            shutil.rmtree(draft, ignore_errors=True)


class Corpus:
    """The corpus in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, dump_id: UUID) -> CorpusWriter:
        """Write a dump, in place of what may be there. One writer a dump at a time: the caller holds its lock."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return CorpusWriter(self._folder / str(dump_id))

    def has(self, dump_id: UUID) -> bool:
        """Whether the dump is there, whole."""
        return (self._folder / str(dump_id)).is_dir()

    def find(self, dump_id: UUID, items: pl.DataFrame) -> pl.DataFrame:
        """Which items a dump names. `items` has `item_id` and `blind_index`.

        Returns a row an item found: item_id, line (the first that names it), occurrences (lines that do), secret
        (the strongest that stood beside it). Memory: the items and one block, not the dump.
        """
        hits = []
        for part in sorted((self._folder / str(dump_id)).glob("part-*.parquet")):
            hits.append(pl.read_parquet(part).join(items, on="blind_index", how="inner").drop("blind_index"))
        found = pl.concat(hits) if hits else pl.DataFrame(schema={**RECORDS, "item_id": pl.String()})
        return (
            found.group_by("item_id")
            .agg(pl.col("line").min(), pl.col("line").n_unique().alias("occurrences"), pl.col("secret").max())
            .sort("item_id")
        )
