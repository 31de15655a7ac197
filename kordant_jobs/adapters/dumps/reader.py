"""An open breach dump: its detected layout, and its records batch by batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import polars as pl

from kordant_jobs.adapters.dumps.archives import Compression, Document, documents, reason_of, sniff
from kordant_jobs.adapters.dumps.blind import Blinder
from kordant_jobs.adapters.dumps.column_map import ColumnMap
from kordant_jobs.adapters.dumps.folds import folds_of, unfolded
from kordant_jobs.adapters.dumps.ledger import Ledger
from kordant_jobs.adapters.dumps.limits import LimitExceeded, Meter
from kordant_jobs.adapters.dumps.model import BlindBatch, Column, DumpBatch, DumpLimits, DumpShape, Layout, Role
from kordant_jobs.adapters.dumps.reading import Reading, read_window
from kordant_jobs.adapters.dumps.structure.lines import LineReader
from kordant_jobs.adapters.dumps.structure.segments import Reader, Structure
from kordant_jobs.adapters.dumps.structure.sql import SqlReader
from kordant_jobs.adapters.dumps.sweep import addresses, numbers
from kordant_jobs.adapters.dumps.text import Block, blocks, encoding_of, head_of, looks_binary, utf8_reader
from kordant_jobs.adapters.dumps.unpack import reading
from kordant_jobs.adapters.dumps.window import Window
from kordant_jobs.errors import DumpUnreadable

Batch = TypeVar("Batch", Reading, BlindBatch)

_BINARY = "The dump is binary, not text. Check that it is the right file."
_BINARY_START = 4096
_CARRIED_MAX = 8 << 20
"""The most bytes of an incomplete record; after that it is read as it is."""


def open_dump(
    path: Path,
    *,
    limits: DumpLimits,
    phone_region: str,
    shape: DumpShape | None = None,
    columns: ColumnMap | None = None,
) -> Dump:
    """Open a dump and detect its layout; use it in a `with`. `shape` and `columns` give what cannot be detected.

    Raises:
        DumpUnreadable: not a dump, damaged, or over a limit. Damage further in is raised by `batches`.
    """
    dump = Dump(path, limits=limits, phone_region=phone_region, shape=shape, columns=columns)
    try:
        dump._look()
    except BaseException:
        dump.close()
        raise
    return dump


class Dump:
    """One open dump. An archive may hold several texts, each with its own shapes; the properties show the first one."""

    def __init__(
        self,
        path: Path,
        *,
        limits: DumpLimits,
        phone_region: str,
        shape: DumpShape | None,
        columns: ColumnMap | None,
    ) -> None:
        self._given, self._region, self._limits, self._map = shape, phone_region, limits, columns
        self._stack = ExitStack()
        with reading():
            self._file = self._stack.enter_context(path.open("rb"))
            self._meter = Meter(limits=limits, packed_total=path.stat().st_size)
        self.shape = DumpShape.TEXT
        self.compression = Compression.NONE
        self.encoding = "utf-8"
        self.ledger = Ledger()
        self._columns: tuple[Column, ...] = ()
        self._sql: SqlReader | None = None
        self._first: Document
        self._begun: Structure
        self._refused: DumpUnreadable | None = None
        self._documents: Iterator[Document] = iter(())

    @property
    def columns(self) -> tuple[Column, ...]:
        """The role detected for each column. For SQL it is known after the first batch."""
        return self._columns or (self._sql.columns if self._sql else ())

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far."""
        return min(self._meter.packed, self._meter.packed_total)

    @property
    def bytes_total(self) -> int:
        """The size of the file."""
        return self._meter.packed_total

    @property
    def text_bytes(self) -> int:
        """Bytes of text unpacked so far."""
        return self._meter.unpacked

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        close = getattr(self._documents, "close", None)
        if close is not None:
            close()
        self._stack.close()

    def batches(self) -> Iterator[DumpBatch]:
        """The records, once, in blocks of about `block_bytes` of text.

        Raises:
            DumpUnreadable: at the point of damage or of a limit; discard what came before.
        """
        for found in self._readings():
            yield found.batch()

    def blinded(self, blinder: Blinder, *, skip: int = 0) -> Iterator[BlindBatch]:
        """The batches with blind indexes in place of identifiers; several times as fast for combo lists. The first
        `skip` batches are skipped: a file always gives the same batches, so a caller that has the records of some can
        continue after them. (They are read in any case, for the ledger and because they affect how later lines are
        read.)

        Raises:
            DumpUnreadable: as `batches`.
        """
        yield from islice(self._blinded(blinder), skip, None)

    def _readings(self) -> Iterator[Reading]:
        lines = 0
        for document in self._texts():
            structure = self._begun
            cut = blocks(utf8_reader(document, encoding_of(document.head)), self._limits, first=lines)
            first = lines + 1
            for found in self._guarded(document, self._windows(cut, structure, document.member)):
                lines += found.lines
                yield found
            self._add_log(document, first, lines)

    def _blinded(self, blinder: Blinder) -> Iterator[BlindBatch]:
        lines = 0
        for document in self._texts():
            cut = blocks(utf8_reader(document, encoding_of(document.head)), self._limits, first=lines)
            if self._given in (None, DumpShape.COMBO) and _is_combo(self._begun.first):
                structure = Structure(phone_region=self._region, given=self._given, layout=self._combo())
                batches = self._plain_combos(cut, blinder, structure, document.member)
            else:
                structure = self._begun
                batches = map(blinder.blinded, self._windows(cut, structure, document.member))
            first = lines + 1
            for batch in self._guarded(document, batches):
                lines += batch.lines
                yield batch
            self._add_log(document, first, lines)

    def _add_log(self, document: Document, first: int, last: int) -> None:
        if document.logged_on is not None:
            self.ledger.add_log(first, last, document.logged_on)

    def _texts(self) -> Iterator[Document]:
        document: Document | None = self._first
        while document is not None:
            yield document
            document = self._next_text()

    def _guarded(self, document: Document, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Damage within a member of an archive ends only that member."""
        try:
            yield from batches
        except LimitExceeded:
            raise
        except DumpUnreadable as error:
            if not document.member:
                raise
            self.ledger.skip(document.member, reason_of(error))

    def _windows(self, cut: Iterator[Block], structure: Structure, member: int) -> Iterator[Reading]:
        """The readings window by window; an incomplete record at the end of one is read with the next window."""
        held: Block | None = None
        for block in cut:
            if held is not None:
                held = yield from self._window(held, block, structure, member)
            else:
                held = block
        if held is not None:
            yield self._read(
                Window.of(held.data, first=held.first, starts_inside=held.starts_inside), structure, member
            )

    def _window(self, held: Block, block: Block, structure: Structure, member: int) -> Generator[Reading, None, Block]:
        window = Window.of(held.data, first=held.first, final=False, starts_inside=held.starts_inside)
        found = self._read(window, structure, member)
        left = window.stop - found.end
        if left > _CARRIED_MAX:
            rest = Window.of(window.slice(found.end, window.stop), first=held.first + found.ended_lines)
            yield found
            yield self._read(rest, structure, member)
            return block
        yield found
        if not left:
            return block
        return Block(data=window.slice(found.end, window.stop) + block.data, first=held.first + found.ended_lines)

    def _read(self, window: Window, structure: Structure, member: int) -> Reading:
        found = read_window(window, structure, self.ledger, member=member, phone_region=self._region)
        if isinstance(structure.first, SqlReader):
            self._sql = self._sql or structure.first
        return found

    def _plain_combos(
        self, cut: Iterator[Block], blinder: Blinder, structure: Structure, member: int
    ) -> Iterator[BlindBatch]:
        """Blocks of a combo list, one for each core; from the first block that is not plain enough, the general way."""
        workers = pl.thread_pool_size()
        general = partial(self._as_combo, member=member)
        with ThreadPoolExecutor(workers, thread_name_prefix="dump") as pool:  # the kernels let go of the GIL
            ahead: deque[tuple[Block, Future[tuple[BlindBatch, Ledger] | None]]] = deque()

            def taken() -> Iterator[BlindBatch]:
                block, future = ahead.popleft()
                found = future.result()
                if found is None:
                    window = Window.of(block.data, first=block.first, starts_inside=block.starts_inside)
                    yield blinder.blinded(self._read(window, structure, member))
                    return
                self.ledger.add_all(found[1])
                yield found[0]

            for block in cut:
                ahead.append((block, pool.submit(blinder.plain_combo, block, general, member=member)))
                if len(ahead) > workers:
                    yield from taken()
            while ahead:
                yield from taken()

    def _as_combo(self, window: Window, ledger: Ledger, *, member: int) -> Reading:
        structure = Structure(phone_region=self._region, layout=self._combo(), stays=True)
        return read_window(window, structure, ledger, member=member, phone_region=self._region)

    def _combo(self) -> Layout:
        columns = (Column(name="", role=Role.EMAIL), Column(name="", role=Role.PASSWORD))
        return Layout(shape=DumpShape.COMBO, delimiter=":", columns=columns, phone_region=self._region)

    def _look(self) -> None:
        with reading():
            start = self._file.read(512)
            self._file.seek(0)
        if not start:
            raise DumpUnreadable("The dump is empty. Check that it was copied to its end.")
        self.compression = sniff(start)
        self._documents = documents(self._file, self.compression, self._meter, self._skip)
        found = self._next_text()
        if found is None:
            raise self._refused or DumpUnreadable("The dump holds no text. Check that it is the right file.")
        self._first = found
        self.encoding = encoding_of(found.head)
        chosen = self._begun.first
        self.shape = DumpShape(chosen.name) if chosen is not None else DumpShape.TEXT
        if isinstance(chosen, LineReader):
            self._columns = chosen.layout.columns

    def _skip(self, member: int, reason: str) -> None:
        self.ledger.skip(member, reason)
        self._refused = self._refused or DumpUnreadable(f"The archive holds nothing that can be read: {reason}.")

    def _next_text(self) -> Document | None:
        """The next text; members without text are skipped."""
        for document in self._documents:
            if looks_binary(document.head[:_BINARY_START]):
                if not document.member:
                    raise DumpUnreadable(_BINARY)
                self._skip(document.member, "binary, not text")
                continue
            if not document.head and not document.member:
                raise DumpUnreadable("The dump is empty. Check that it was copied to its end.")
            self._begin(document)
            return document
        return None

    def _begin(self, document: Document) -> None:
        """Choose the reader for the beginning of a text. A file with neither a shape nor anything to sweep is refused
        with DumpUnreadable."""
        self._begun = structure = Structure(phone_region=self._region, given=self._given, columns=self._map)
        window = _window_of(document)
        if not structure.begin(window) and not document.member and self._given is not DumpShape.TEXT:
            swept = self._given is None and (
                len(addresses(window, window.stop).starts) or len(numbers(window, window.stop).starts)
            )
            if not swept:
                raise DumpUnreadable(structure.refusal(window))


def _window_of(document: Document) -> Window:
    """The beginning of a document, in whole lines where possible."""
    text = head_of(document, encoding_of(document.head))
    for fold in folds_of(text):
        text = unfolded(text, fold)
    return Window.of(text)


def _is_combo(reader: Reader | None) -> bool:
    return isinstance(reader, LineReader) and reader.layout.is_usual_combo
