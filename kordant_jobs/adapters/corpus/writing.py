"""Writes a dump to the corpus: runs on the local disk, then shards in the place of the corpus.

Records are gathered into runs of some millions. A run is written and flushed to the disk, and counts once its line is
in the journal; so after a crash, the next writer of the same dump continues after the last one. Shards are made from
all runs, each once; `meta.json` is written last and makes the dump part of the corpus.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.adapters.corpus.shards import SHARD_RECORDS, Cut, cut_of, made
from kordant_jobs.adapters.dumps.model import BlindBatch
from kordant_jobs.errors import DumpUnreadable

RUN_RECORDS = 2 << 20
"""The records of a run. A run takes 24 bytes for each, twice while it is sorted."""
_JOURNAL, _ORIGIN, _SITES = "journal", "origin.json", ".sites.parquet"

Words = npt.NDArray[np.uint64]
Put = Callable[[str, Sequence[npt.NDArray[Any]]], None]
"""Writes arrays, one after the other, under a name in the dump's folder of the corpus: completely or not at all."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of a dump, up to the block read last."""

    blocks: int = 0
    lines: int = 0
    records: int = 0
    bad_lines: Mapping[str, int] = field(default_factory=dict)

    def with_batch(self, batch: BlindBatch) -> Facts:
        """The facts after one more block."""
        bad = dict(self.bad_lines)
        for reason, count in batch.bad_lines.items():
            bad[reason] = bad.get(reason, 0) + count
        return Facts(
            blocks=self.blocks + 1,
            lines=self.lines + batch.lines,
            records=self.records + len(batch.line),
            bad_lines=bad,
        )


class CorpusWriter:
    """Receives one dump's blocks; they are in the corpus when the `with` block ends without an error. `done` has the
    facts that an earlier writer reached: continue after its blocks. After `DumpUnreadable` nothing is kept."""

    def __init__(
        self,
        draft: Path,
        put: Put,
        *,
        origin: str,
        run_records: int = RUN_RECORDS,
        shard_records: int = SHARD_RECORDS,
    ) -> None:
        """`origin` identifies the file, the key and the way of reading: a draft with another one is dropped."""
        self._draft, self._put = draft, put
        self._run_records, self._shard_records = run_records, shard_records
        self._runs: list[tuple[str, list[int]]] = []
        self.done = Facts()
        self._so_far = Facts()
        self._waiting: list[BlindBatch] = []
        self._records = 0
        self._facts: Mapping[str, Any] = {}
        self._resume(origin)

    def __enter__(self) -> CorpusWriter:
        return self

    def ends_run(self, batch: BlindBatch) -> bool:
        """True when this block fills a run, so that a later writer would continue after it."""
        return self._records + len(batch.line) >= self._run_records

    def add(self, batch: BlindBatch) -> None:
        """Append the next block."""
        self._waiting.append(batch)
        self._records += len(batch.line)
        self._so_far = self._so_far.with_batch(batch)
        if self._records >= self._run_records:
            self._write_run()

    @property
    def so_far(self) -> Facts:
        """The facts of all blocks added so far, by this writer and earlier ones."""
        return self._so_far

    def set_facts(self, **facts: Any) -> None:
        """Set further facts for `meta.json`."""
        self._facts = facts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if issubclass(kind, DumpUnreadable):
                shutil.rmtree(self._draft, ignore_errors=True)
            return
        self._write_run()
        cut = cut_of(self._so_far.records, self._shard_records)
        for shard in range(cut.shards):
            self._write_shard(shard, cut)
        for name, _ in self._runs:
            if (file := self._draft / f"{name}{_SITES}").is_file():
                self._put(f"{name}{_SITES}", [np.fromfile(file, np.uint8)])
        meta = {**asdict(self._so_far), "shard_bits": cut.shard_bits, **self._facts}
        self._put("meta.json", [np.frombuffer(json.dumps(meta, default=dict).encode(), np.uint8)])
        shutil.rmtree(self._draft, ignore_errors=True)

    def _resume(self, origin: str) -> None:
        file = self._draft / _ORIGIN
        if not file.is_file() or file.read_text() != origin:
            shutil.rmtree(self._draft, ignore_errors=True)
            self._draft.mkdir(mode=0o700, parents=True)
            write_whole(file, [np.frombuffer(origin.encode(), np.uint8)])
        journal = self._draft / _JOURNAL
        for line in journal.read_bytes().splitlines(keepends=True) if journal.is_file() else []:
            if not line.endswith(b"\n"):
                break  # the writer died within it
            entry = json.loads(line)
            self._runs.append((entry["run"], entry["bounds"]))
            self.done = Facts(**entry["so_far"])
        if journal.is_file():
            whole = journal.read_bytes()
            write_whole(journal, [np.frombuffer(whole[: whole.rfind(b"\n") + 1], np.uint8)])
        self._so_far = self.done

    def _write_run(self) -> None:
        from kordant_jobs.adapters.kernels.runs import PARTS, split

        if not self._waiting:
            return
        index = np.concatenate([batch.index for batch in self._waiting])
        line = np.concatenate([batch.line for batch in self._waiting])
        secret = np.concatenate([batch.secret for batch in self._waiting])
        sites = [batch.sites for batch in self._waiting if len(batch.sites)]
        self._waiting, self._records = [], 0
        low, high, place = (np.empty(len(line), np.uint64) for _ in range(3))
        bounds = np.empty(PARTS + 1, np.int64)
        split(index, line, secret, low, high, place, bounds)
        name = f"run-{len(self._runs):06d}"
        write_whole(self._draft / name, [low, high, place])
        self._write_sites(name, index, line, sites)
        entry = {"run": name, "bounds": bounds.tolist(), "so_far": asdict(self._so_far)}
        with (self._draft / _JOURNAL).open("ab") as journal:
            journal.write(json.dumps(entry, default=dict).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._runs.append((name, bounds.tolist()))

    def _write_sites(self, run: str, index: Words, line: Words, sites: Sequence[pl.DataFrame]) -> None:
        """Write the sites of a run's records, by blind index, where the dump has sites."""
        if not sites:
            return
        who = pl.DataFrame({"line": line, "low": index[:, 0], "high": index[:, 1]})
        packed = io.BytesIO()
        pl.concat(sites).join(who, on="line").select("low", "high", "site").unique().sort("low").write_parquet(packed)
        write_whole(self._draft / f"{run}{_SITES}", [np.frombuffer(packed.getbuffer(), np.uint8)])

    def _write_shard(self, shard: int, cut: Cut) -> None:
        first, end = (one << (8 - cut.shard_bits) for one in (shard, shard + 1))
        spans = [(name, bounds[-1], bounds[first], bounds[end]) for name, bounds in self._runs]
        columns = np.empty((3, sum(stop - start for _, _, start, stop in spans)), np.uint64)
        at = 0
        for name, size, start, stop in spans:
            with (self._draft / name).open("rb") as run:
                for number, column in enumerate(columns):
                    run.seek(8 * (number * size + start))
                    run.readinto(column[at : at + stop - start].data)
            at += stop - start
        low, high, place = columns
        self._put(shard_name(shard), made(low, high, place, cut))


def shard_name(shard: int) -> str:
    """The file name of a shard."""
    return f"shard-{shard:03d}"


def write_whole(path: Path, arrays: Sequence[npt.NDArray[Any]]) -> None:
    """Write arrays to a file that is flushed to the disk and then renamed."""
    half = path.with_name(f".{path.name}.part")
    with half.open("wb") as file:
        for array in arrays:
            array.tofile(file)
        file.flush()
        os.fsync(file.fileno())
    half.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
