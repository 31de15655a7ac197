"""The corpus in its place, a local folder or an address that fsspec supports (s3://…), and look-ups in it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import fsspec
import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.adapters.corpus.shards import Items, Shard, opened
from kordant_jobs.adapters.corpus.writing import CorpusWriter, shard_name, write_whole
from kordant_jobs.adapters.dumps.model import BlindBatch
from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.errors import PermanentError, SettingsError, TransientError
from kordant_jobs.settings import Settings, folder_of

SECRETS = pl.Enum([kind.value for kind in (SecretKind.MENTIONED, SecretKind.NONE, SecretKind.HASHED, SecretKind.CLEAR)])
"""The kinds of secret in rising order, for the codes 0 to 3 in the shards."""
SITES_MAX = 20
"""The most sites of one person that are returned."""
FOUND = pl.Schema({"item_id": pl.String(), "line": pl.UInt64(), "occurrences": pl.UInt32(), "secret": SECRETS})


@dataclass(frozen=True, kw_only=True)
class CorpusSize:
    """The size of the corpus, and of unfinished drafts."""

    dumps: int
    records: int
    bytes: int
    drafts: int
    draft_bytes: int


def open_corpus(settings: Settings) -> Corpus:
    """The corpus of the settings. A file:// URL is a folder too: files in it are always whole."""
    return Corpus(
        folder_of(settings.corpus_url) or settings.corpus_url or settings.corpus, work=settings.corpus / ".drafts"
    )


class Corpus:
    """The corpus in one place. `work` is a local folder for dumps being written; by default it is beside a local
    corpus."""

    def __init__(self, place: Path | str, *, work: Path | None = None) -> None:
        """Raises SettingsError when the address needs a library that is not installed."""
        self._remote = "://" in str(place)
        if self._remote and work is None:
            raise SettingsError("a corpus that is no local folder needs a local folder to work in.")
        try:
            self._files, self._root = fsspec.core.url_to_fs(str(place))
        except (ImportError, ValueError) as error:
            raise SettingsError(f"KORDANT_CORPUS_URL cannot be used: {error}. For s3:// install `s3fs`.") from None
        self._work = work or Path(place) / ".drafts"

    def write(self, dump_id: UUID, *, origin: str, **options: int) -> CorpusWriter:
        """A writer for a dump; it continues an interrupted one. There is one writer for each dump at a time: the caller
        holds the dump's lock."""

        def put(name: str, arrays: Sequence[npt.NDArray[Any]]) -> None:
            self._put(f"{self._root}/{dump_id}", name, arrays)

        return CorpusWriter(self._work / str(dump_id), put, origin=origin, **options)

    def _put(self, folder: str, name: str, arrays: Sequence[npt.NDArray[Any]]) -> None:
        try:
            if self._remote:
                self._files.makedirs(folder, exist_ok=True)
                self._files.pipe_file(f"{folder}/{name}", b"".join(array.tobytes() for array in arrays))
                return
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(Path(folder) / name, arrays)
        except OSError as error:
            raise TransientError(
                f"the corpus cannot be written ({type(error).__name__}). Free space or fix its folder; ingestion goes "
                "on where it stopped."
            ) from None

    def facts(self, dump_id: UUID) -> dict[str, Any] | None:
        """The facts of a dump that is complete in the corpus; None when it is not."""
        try:
            found: dict[str, Any] = json.loads(self._files.cat_file(f"{self._root}/{dump_id}/meta.json"))
        except FileNotFoundError:
            return None
        return found

    def has(self, dump_id: UUID) -> bool:
        """True when the complete dump is in the corpus."""
        return self.facts(dump_id) is not None

    def adopt(self, dump_id: UUID) -> None:
        """Convert a dump that an earlier version stored as Parquet (line, blind_index, secret), if there is one. The
        caller holds the dump's lock. Safe to repeat."""
        parts = sorted((Path(self._root) / str(dump_id)).glob("part-*.parquet")) if not self._remote else []
        if not parts or self.has(dump_id):
            return
        with self.write(dump_id, origin="parquet") as writer:
            for part in parts[writer.done.blocks :]:
                frame = pl.read_parquet(part)
                index = np.frombuffer(b"".join(frame["blind_index"].to_list()), np.uint64).reshape(-1, 2)
                secret = frame["secret"].cast(pl.String).cast(SECRETS).to_physical().cast(pl.UInt8).to_numpy()
                line = frame["line"].to_numpy()
                writer.add(BlindBatch(line=line, index=index, secret=secret, lines=0, bad_lines={}))
        for part in parts:
            part.unlink()

    def dumps(self) -> list[UUID]:
        """The complete dumps in the corpus."""
        paths = self._files.glob(f"{self._root}/*/meta.json")
        return sorted(UUID(path.rsplit("/", 2)[1]) for path in paths)

    def size(self) -> CorpusSize:
        """Measure the corpus."""
        found = self.dumps()
        drafts = [path for path in self._work.glob("*") if path.is_dir()] if self._work.is_dir() else []
        return CorpusSize(
            dumps=len(found),
            records=sum((self.facts(dump_id) or {}).get("records", 0) for dump_id in found),
            bytes=sum(self._files.du(f"{self._root}/{dump_id}") for dump_id in found),
            drafts=len(drafts),
            draft_bytes=sum(file.stat().st_size for draft in drafts for file in draft.iterdir()),
        )

    def find(self, dump_id: UUID, items: Items, *, share: tuple[int, int] = (0, 1)) -> pl.DataFrame:
        """The items that a dump names: item_id, line (the first with the item), occurrences (lines with it), secret
        (the strongest beside it), sorted by item_id. `share` (k, n) reads only every n-th shard, from the k-th on.

        Raises:
            PermanentError: the dump is not in the corpus, or damaged.
        """
        facts = self.facts(dump_id)
        if facts is None:
            raise PermanentError(f"dump {dump_id} is not in the corpus. See `kordant-jobs corpus status`.")
        shards = range(share[0], 1 << facts["shard_bits"], share[1])
        with ThreadPoolExecutor(max(1, pl.thread_pool_size()), thread_name_prefix="corpus") as pool:
            parts = list(pool.map(lambda shard: self._find(dump_id, shard, facts["shard_bits"], items), shards))
        return pl.concat([pl.DataFrame(schema=FOUND), *parts]).sort("item_id")

    def sites(self, dump_id: UUID, items: Items) -> pl.DataFrame:
        """The sites where items logged in, for a dump of stealer logs: item_id, sites (at most `SITES_MAX` hosts,
        sorted). Items without sites are left out."""
        wanted = pl.DataFrame({"item_id": items.ids, "low": items.index[:, 0], "high": items.index[:, 1]})
        parts = [pl.DataFrame(schema={"item_id": items.ids.dtype, "site": pl.String})]
        for name in sorted(self._files.glob(f"{self._root}/{dump_id}/*.sites.parquet")):
            logins = pl.read_parquet(io.BytesIO(self._files.cat_file(name)))
            parts.append(logins.join(wanted, on=["low", "high"]).select("item_id", "site"))
        sites = pl.col("site").unique().sort().head(SITES_MAX)
        return pl.concat(parts).group_by("item_id").agg(sites.alias("sites"))

    def _find(self, dump_id: UUID, number: int, shard_bits: int, items: Items) -> pl.DataFrame:
        from kordant_jobs.adapters.kernels.runs import look_up

        mine = items.of_shard(number, shard_bits)
        index = items.index[mine]
        if not len(index):
            return pl.DataFrame(schema=FOUND)
        shard = self._open(dump_id, number)
        lines, occurrences = np.empty(len(index), np.uint64), np.empty(len(index), np.uint32)
        secrets = np.empty(len(index), np.uint8)
        columns = (shard.directory, shard.key, shard.more, shard.place)
        there = look_up(
            index, shard.shard_bits, shard.bucket_bits, shard.secret_bits, *columns, lines, occurrences, secrets
        )
        if not there:
            return pl.DataFrame(schema=FOUND)
        rows = np.flatnonzero(occurrences)
        return pl.DataFrame(
            {
                "item_id": items.ids.slice(mine.start, len(index)).gather(rows),
                "line": lines[rows],
                "occurrences": occurrences[rows],
                "secret": pl.Series(SECRETS.categories.gather(secrets[rows]), dtype=SECRETS),
            },
            schema=FOUND,
        )

    def _open(self, dump_id: UUID, number: int) -> Shard:
        name = f"{self._root}/{dump_id}/{shard_name(number)}"
        try:
            if self._remote:
                return opened(np.frombuffer(self._files.cat_file(name), np.uint8))
            return opened(np.memmap(name, np.uint8, "r"))
        except FileNotFoundError:
            raise PermanentError(f"a shard of dump {dump_id} is missing. Ingest the dump again.") from None

    def remove(self, dump_id: UUID) -> None:
        """Remove a dump, and its unfinished draft."""
        shutil.rmtree(self._work / str(dump_id), ignore_errors=True)
        if self._files.exists(f"{self._root}/{dump_id}"):
            self._files.rm(f"{self._root}/{dump_id}", recursive=True)
