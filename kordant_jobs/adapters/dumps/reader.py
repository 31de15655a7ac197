"""A breach dump opened: what it was taken for, and its records batch by batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import polars as pl

from kordant_jobs.adapters.dumps import delimited
from kordant_jobs.adapters.dumps.archives import HEAD_BYTES, Compression, Document, Meter, documents, sniff
from kordant_jobs.adapters.dumps.blind import Blinder
from kordant_jobs.adapters.dumps.detect import layout_of
from kordant_jobs.adapters.dumps.json_lines import json_lines
from kordant_jobs.adapters.dumps.model import (
    RECORDS,
    BadLine,
    BlindBatch,
    Column,
    DumpBatch,
    DumpLimits,
    DumpShape,
    Layout,
    Role,
    nobody,
)
from kordant_jobs.adapters.dumps.records import merged, reasons, records_of
from kordant_jobs.adapters.dumps.sql import SqlReader
from kordant_jobs.adapters.dumps.text import Block, blocks, encoding_of, lines_in, lines_of, looks_binary, utf8_reader
from kordant_jobs.adapters.dumps.unpack import reading
from kordant_jobs.errors import DumpUnreadable

Batch = TypeVar("Batch", DumpBatch, BlindBatch)

_BINARY = "The dump is binary, not text. Check that it is the right file."
_BINARY_START = 4096


def open_dump(path: Path, *, limits: DumpLimits, phone_region: str, shape: DumpShape | None = None) -> Dump:
    """Open a dump and find out what it is; use it in a `with`.

    Raises:
        DumpUnreadable: not a dump, damaged, or over a limit. Damage further in is raised by `batches`.
    """
    dump = Dump(path, limits=limits, phone_region=phone_region, shape=shape)
    try:
        dump._look()
    except BaseException:
        dump.close()
        raise
    return dump


class Dump:
    """One open dump. A zip may hold several texts, each with a layout of its own; the first one is shown."""

    def __init__(self, path: Path, *, limits: DumpLimits, phone_region: str, shape: DumpShape | None) -> None:
        self._told, self._region, self._limits = shape, phone_region, limits
        self._stack = ExitStack()
        with reading():
            self._file = self._stack.enter_context(path.open("rb"))
            self._meter = Meter(limits=limits, packed_total=path.stat().st_size)
        self._layout: Layout
        self._first: Document
        self.compression = Compression.NONE
        self.encoding = "utf-8"
        self._sql_columns: tuple[Column, ...] = ()
        self._refused: DumpUnreadable | None = None
        self._documents: Iterator[Document] = iter(())

    @property
    def shape(self) -> DumpShape:
        """How the text is laid out."""
        return self._layout.shape

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each column was taken for. For SQL known once the first batch was read."""
        columns = self._sql_columns or self._layout.columns
        return tuple(Column(name=column.name.replace("\x1f", "."), role=column.role) for column in columns)

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far."""
        return min(self._meter.packed, self._meter.packed_total)

    @property
    def bytes_total(self) -> int:
        """The size of the file."""
        return self._meter.packed_total

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._stack.close()

    def batches(self) -> Iterator[DumpBatch]:
        """The records, once, in blocks of about `block_bytes` of text.

        Raises:
            DumpUnreadable: at the point of damage or of a limit; discard what came before.
        """
        yield from self._all(repeat(self._batch), lambda batch: batch)

    def blinded(self, blinder: Blinder, *, skip: int = 0) -> Iterator[BlindBatch]:
        """As `batches`, with blind indexes in place of identifiers, and several times as fast for combo lists.

        The first `skip` blocks are passed over: a file is always cut into the same ones, so that whoever has the
        records of some may go on behind them. (SQL is read nevertheless, for what it says of later lines.)

        Raises:
            DumpUnreadable: as `batches`.
        """

        def blind(layout: Layout, block: Block) -> BlindBatch:
            return blinder.block(layout, block, partial(self._batch, layout))

        def pass_over(_: Layout, block: Block) -> BlindBatch:
            return nobody(lines_in(block))

        readers = chain(repeat(pass_over, skip), repeat(blind))
        yield from islice(self._all(readers, blinder.records), skip, None)

    def _all(
        self, readers: Iterator[Callable[[Layout, Block], Batch]], of_sql: Callable[[DumpBatch], Batch]
    ) -> Iterator[Batch]:
        """Every block by the next of `readers`; in SQL by `of_sql`."""
        lines = 0
        document: Document | None = self._first
        layout, encoding = self._layout, self.encoding
        while document is not None:
            is_sql = layout.shape is DumpShape.SQL_INSERT
            cut = blocks(utf8_reader(document, encoding), self._limits, first=lines, cut_inside=is_sql)
            for batch in self._of_sql(cut, readers, of_sql) if is_sql else self._ahead(layout, cut, readers):
                lines += batch.lines
                yield batch
            found = self._next_text()
            document, layout, encoding = found or (None, layout, encoding)

    def _of_sql(
        self, cut: Iterator[Block], readers: Iterator[object], of_sql: Callable[[DumpBatch], Batch]
    ) -> Iterator[Batch]:
        sql = SqlReader(phone_region=self._region)
        for block in cut:
            next(readers)
            yield of_sql(self._sql_batch(sql, block))

    def _ahead(
        self, layout: Layout, cut: Iterator[Block], readers: Iterator[Callable[[Layout, Block], Batch]]
    ) -> Iterator[Batch]:
        workers = pl.thread_pool_size()
        with ThreadPoolExecutor(workers, thread_name_prefix="dump") as pool:  # Polars lets go of the GIL
            ahead: deque[Future[Batch]] = deque()
            for block in cut:
                ahead.append(pool.submit(next(readers), layout, block))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _batch(self, layout: Layout, block: Block) -> DumpBatch:
        lines, total, too_long = lines_of(block, self._limits.max_line_bytes)
        bad: dict[str, int] = {}
        roles: dict[str, Role] = {
            str(at): column.role for at, column in enumerate(layout.columns) if column.role is not Role.OTHER
        }
        match layout.shape:
            case DumpShape.COMBO:
                values, roles = (
                    delimited.combo(layout, lines),
                    {"id": layout.columns[0].role, "secret": Role.PASSWORD},
                )
            case DumpShape.PLAIN:
                values, roles = delimited.plain(lines), {"id": layout.columns[0].role}
            case DumpShape.JSON_LINES:
                values, bad = json_lines(layout, lines)
            case _:
                values, bad = delimited.columns(layout, lines)
        records, missing = records_of(values, roles, phone_region=self._region)
        if layout.shape is DumpShape.COMBO and not missing.is_empty() and layout.columns[0].role is not Role.PHONE:
            again, missing = records_of(delimited.unwrapped(missing), roles, phone_region=self._region)
            records = pl.concat([records, again])
        bad_lines = merged([bad, reasons(missing), {BadLine.TOO_LONG.value: too_long}])
        return DumpBatch(records=records, lines=total, bad_lines=bad_lines)

    def _sql_batch(self, sql: SqlReader, block: Block) -> DumpBatch:
        lines, total, _ = lines_of(block, len(block.data))
        groups, bad = sql.read(lines, block.data)
        self._sql_columns = self._sql_columns or sql.columns
        parts, counts = [pl.DataFrame(schema=RECORDS)], [bad, {BadLine.TOO_LONG.value: block.lost}]
        for values, columns in groups:
            roles = {str(at): column.role for at, column in enumerate(columns) if column.role is not Role.OTHER}
            records, missing = records_of(values, roles, phone_region=self._region)
            parts.append(records)
            counts.append(reasons(missing))
        return DumpBatch(records=pl.concat(parts), lines=total, bad_lines=merged(counts))

    def _look(self) -> None:
        with reading():
            start = self._file.read(512)
            self._file.seek(0)
        if not start:
            raise DumpUnreadable("The dump is empty. Check that it was copied to its end.")
        self.compression = sniff(start)
        self._documents = documents(self._file, self.compression, self._meter)
        found = self._next_text()
        if found is None:
            raise self._refused or DumpUnreadable("The dump holds no text. Check that it is the right file.")
        self._first, self._layout, self.encoding = found

    def _next_text(self) -> tuple[Document, Layout, str] | None:
        """The next text in which there are identifiers; others (a read-me in a zip) are passed over."""
        for document in self._documents:
            encoding = encoding_of(document.head)
            try:
                if self._told and looks_binary(document.head[:_BINARY_START]):
                    raise DumpUnreadable(_BINARY)
                layout = layout_of(_sample(document.head, encoding), shape=self._told, phone_region=self._region)
            except DumpUnreadable as error:
                self._refused = self._refused or (DumpUnreadable(_BINARY) if looks_binary(document.head) else error)
                continue
            return document, layout, encoding
        return None


def _sample(head: bytes, encoding: str) -> str:
    """The start of a text, whole lines where there are any, with a carriage return alone as a line end."""
    text = head.decode(encoding, "replace").lstrip("\ufeff")
    if len(head) >= HEAD_BYTES and "\n" in text:
        text = text[: text.rindex("\n")]
    return text
