"""Reads one registered dump into the corpus, and compares it with the watched items on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.dumps import BlindBatch, Blinder, Dump, ReaderOptions, open_dump
from kordant_jobs.domain.darkwatch.exposures import DumpStatus
from kordant_jobs.engine import Progress
from kordant_jobs.errors import DumpUnreadable, TransientError
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox, file_of
from kordant_jobs.jobs.darkwatch_scan.retro import Watch
from kordant_jobs.store.darkwatch import dumps
from kordant_jobs.store.people.keyring import Keyring

READERS = 4
"""The version of the readers. Increase it when a dump is cut into other blocks or gives other records; ingestions begun
with another version start again."""
ATTEMPTS = 2
"""The number of interrupted readings (killed for time or memory) at one place of a dump before it is quarantined: one
may be the machine's fault."""


@dataclass(frozen=True, kw_only=True)
class ReadingBudget:
    """The CPU seconds that reading a dump may take, by the amount of text read; above it the dump is quarantined. The
    slowest known text takes 2 s a MiB (`bench dumps --worst`), usual text 0.02 s."""

    floor_s: float = 300
    s_per_mib: float = 8

    def allows(self, cpu_s: float, text_bytes: int) -> bool:
        """True when reading this much text may have taken this long.

        >>> ReadingBudget().allows(290, 0), ReadingBudget().allows(400, 10 << 20), ReadingBudget().allows(400, 1 << 30)
        (True, False, True)
        """
        return cpu_s <= self.floor_s + self.s_per_mib * (text_bytes >> 20)


class ReadElsewhere(Exception):
    """Another process is reading the dump."""


@dataclass(frozen=True, kw_only=True)
class Ingestion:
    """The resources of an ingestion."""

    db: Engine
    keyring: Keyring
    box: DropBox
    corpus: Corpus
    progress: Progress
    wait: bool = True
    """True: wait while another process reads the dump."""
    budget: ReadingBudget = ReadingBudget()

    def ingest(self, dump: dumps.DumpRow, watch: Watch | None = None) -> dumps.Ingested | None:
        """Read one registered dump into the corpus, or quarantine it. None when another process has done so.

        `watch` gets every block, and alerts the subscribers found in it before the block counts as read. So every
        subscriber found before an interruption is alerted, since the next run skips those records.

        Raises:
            DumpUnreadable: it was quarantined, for this reason; alerts of what `watch` found up to there were written.
            ReadElsewhere: another process reads it just now.
            TransientError: the place of its file does not answer, or is not this machine's.
        """
        with dumps.ingesting(self.db, dump.id, wait=self.wait) as ours:
            if not ours:
                raise ReadElsewhere
            with self.db.connect() as connection:
                [dump] = dumps.load(connection, [dump.id])  # its file may have been moved since it was planned
            if dump.status is not DumpStatus.REGISTERED:
                return None
            what = _ingested_before(self.corpus, dump)
            try:
                file = file_of(dump, self.box, self.keyring)
                if what is None:
                    with self.box.place.fetch(file) as content:
                        what = self._read_within_bounds(dump, content, watch)
            except DumpUnreadable as error:
                if what is None:
                    with self.db.begin() as connection:
                        dumps.quarantine(connection, dump.id, str(error))
                    raise
                file = None
            with self.db.begin() as connection:
                dumps.mark_ingested(connection, dump.id, what)
            if file is not None and not self.box.keep_files and what.problem is None:
                self.box.place.remove(file)
            return what

    def _read_within_bounds(self, dump: dumps.DumpRow, file: Path, watch: Watch | None) -> dumps.Ingested:
        """Read a dump, unless reading it was interrupted too often.

        Raises:
            DumpUnreadable: for this reason.
        """
        with self.db.begin() as connection:
            begun = dumps.begin(connection, dump.id)
        if begun > ATTEMPTS:
            raise DumpUnreadable(
                f"Reading it was broken off {ATTEMPTS} times at one place, by its time or memory or with the "
                "machine. Inspect it with `kordant-jobs dumps explain`, then retry it."
            )
        return self._read(dump, file, watch)

    def _read(self, dump: dumps.DumpRow, file: Path, watch: Watch | None) -> dumps.Ingested:
        options = ReaderOptions.of_text(dump.told_shape)
        region = options.region or self.box.phone_region
        began = time.process_time()
        with _own_faults():
            opened = open_dump(
                file, limits=self.box.limits, phone_region=region, shape=options.shape, columns=options.columns
            )
        with opened as source, self.corpus.write(dump.id, origin=self._origin(dump)) as writer:
            read = 0
            for batch in _up_to_damage(self._batches(source, writer.done.blocks, began), watch):
                is_kept = writer.ends_run(batch)
                if watch is not None:
                    watch.check(batch, before_it_counts=is_kept)
                writer.add(batch)
                if is_kept:
                    with self.db.begin() as connection:
                        dumps.reset_attempts(connection, dump.id)
                self.progress.advance(source.bytes_read - read, f"ingesting dump {dump.id}")
                read = source.bytes_read
            layout = {"shape": str(source.shape), "compression": str(source.compression), "encoding": source.encoding}
            problem = source.ledger.problem()
            if not writer.so_far.records and problem is None:
                problem = "no person was found in it"
            ledger = source.ledger.to_json()
            writer.set_facts(**layout, ledger=ledger, problem=problem)
            found = writer.so_far
            return dumps.Ingested(
                shape=layout["shape"],
                compression=layout["compression"],
                encoding=layout["encoding"],
                ledger=ledger,
                problem=problem,
                lines=found.lines,
                records=found.records,
                bad_lines=dict(sorted(found.bad_lines.items())),
            )

    def _batches(self, source: Dump, skip: int, began: float) -> Iterator[BlindBatch]:
        """The blocks, while the budget lasts.

        Raises:
            DumpUnreadable: the dump cannot be read, made a reader fail, or takes too long.
        """
        with _own_faults():
            for batch in source.blinded(self._blinder(), skip=skip):
                yield batch
                used = time.process_time() - began
                if not self.budget.allows(used, source.text_bytes):
                    raise DumpUnreadable(
                        f"Reading it takes too long: {used:,.0f} s for {source.text_bytes >> 20:,} MB of text. "
                        "`kordant-jobs dumps explain` shows what it looks like."
                    )

    def _blinder(self) -> Blinder:
        return Blinder(self.keyring.blinding)

    def _origin(self, dump: dumps.DumpRow) -> str:
        """The facts that must stay equal for an interrupted ingestion to continue: the file, how it is cut and read,
        and the key."""
        limits = self.box.limits
        file = (dump.file_key.hex(), dump.file_size, dump.file_mtime_ns)
        how = (READERS, dump.told_shape, self.box.phone_region, limits.block_bytes, limits.max_line_bytes)
        return json.dumps([*file, *how, self.keyring.master_key_id])


@contextmanager
def _own_faults() -> Iterator[None]:
    """Any error of a reader is the dump's fault, not the scan's, unless the file can't be read just now.

    Raises:
        DumpUnreadable: in place of any other exception, whose text may quote the dump.
        TransientError: the disk, the mount or this machine failed.
    """
    try:
        yield
    except (GeneratorExit, DumpUnreadable, TransientError):
        raise
    except Exception as error:  # noqa: BLE001 - a dump is from outside: whatever it makes a reader raise is its fault
        raise DumpUnreadable(
            f"A reader failed ({type(error).__name__}). `kordant-jobs dumps explain` shows where."
        ) from None


def _up_to_damage(batches: Iterator[BlindBatch], watch: Watch | None) -> Iterator[BlindBatch]:
    """The blocks. At their end, and before damage is raised, `watch` writes the alerts of the items found."""
    try:
        yield from batches
    except DumpUnreadable:
        if watch is not None:
            watch.write_alerts()
        raise
    if watch is not None:
        watch.write_alerts()


def _ingested_before(corpus: Corpus, dump: dumps.DumpRow) -> dumps.Ingested | None:
    """The result of ingesting the dump in a run that was killed before it could report it."""
    facts = corpus.facts(dump.id)
    if facts is None:
        return None
    return dumps.Ingested(**{name.name: facts[name.name] for name in fields(dumps.Ingested) if name.name in facts})
