"""Renderer processes: as many pages at once as there are cores. `service.py` chooses the pages and stores the PDFs."""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Self, cast

from kordant_jobs.errors import TransientError
from kordant_jobs.jobs.reports_generate import worker
from kordant_jobs.jobs.reports_generate.layout import Pdf, ReportPage

IN_PROCESS_MAX = 8
"""The most pages that are made in this process: a renderer process takes about 1.3 CPU s to start, a page 0.15."""

QUEUED = 2
"""Pages prepared ahead for each renderer process, so that none waits for the database or the storage."""

COMMAND = (sys.executable, "-m", worker.__name__)
_ROOT = Path(__file__).parents[3]


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Renderers:
    """Makes pages into PDFs. A context manager: at its exit, however it happens, all renderer processes end. They are
    started when first needed and then kept; `processes` is their number, by default one for each core."""

    def __init__(self, processes: int | None = None, command: Sequence[str] = COMMAND) -> None:
        self._renderers = [_Renderer(command) for _ in range(processes or cores())]
        self._idle: SimpleQueue[_Renderer] = SimpleQueue()
        for one in self._renderers:
            self._idle.put(one)
        self._threads = ThreadPoolExecutor(len(self._renderers), thread_name_prefix="renderer")
        self._started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._renderers:
            one.close()
        self._threads.shutdown(cancel_futures=True)
        for one in self._renderers:
            one.close()  # a thread may have been about to start one

    def make(self, pages: Iterable[ReportPage | None], count: int) -> Iterator[Pdf | None]:
        """The PDF of each of the `count` pages, in their order. None for a page that is None or fails, also one that
        crashes its renderer process.

        Raises:
            SetupError: the machine lacks what PDFs need.
            TransientError: a renderer process could not be started.
        """
        if count <= IN_PROCESS_MAX and not self._started:
            return (None if page is None else _result_of(worker.answer(page)) for page in pages)
        self._started = True
        return self._made_by_processes(pages)

    def _made_by_processes(self, pages: Iterable[ReportPage | None]) -> Iterator[Pdf | None]:
        ahead = iter(pages)
        waiting = deque(self._threads.submit(self._ask, page) for page in islice(ahead, self._window))
        while waiting:
            made = _result_of(waiting.popleft().result())
            waiting.extend(self._threads.submit(self._ask, page) for page in islice(ahead, 1))
            yield made

    @property
    def _window(self) -> int:
        return len(self._renderers) * (1 + QUEUED)

    def _ask(self, page: ReportPage | None) -> worker.Answer:
        if page is None:
            return None
        one = self._idle.get()
        try:
            return one.ask(page)
        finally:
            self._idle.put(one)


def _result_of(answer: worker.Answer) -> Pdf | None:
    if isinstance(answer, Exception):
        raise answer
    return answer


class _Renderer:
    """One renderer process. The first page starts it, and the next page after a crash starts it again."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def ask(self, page: ReportPage) -> worker.Answer:
        """The PDF of a page; None when the page crashes the process.

        Raises:
            TransientError: the process could not be started.
        """
        if self._closed:
            return None
        process = self._process or self._start()
        try:
            _put(process, page)
            return _get(process)
        except _GONE:
            self._end()
            return None

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT)
        self._process = process
        try:
            _get(process)  # that it is there
        except _GONE:
            self._end()
            raise TransientError(
                f"A renderer process ended while it started (exit code {process.returncode}). "
                "The run's output says why; too little memory is the usual reason."
            ) from None
        return process

    def close(self) -> None:
        """End the process at once, and wait until it has ended. It is not started again."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was not sent yet
                if pipe is not None:
                    pipe.close()


_GONE = (EOFError, OSError, ValueError, pickle.UnpicklingError)
"""Exceptions that the pipes of an ended process raise."""


def _put(process: subprocess.Popen[bytes], page: ReportPage) -> None:
    pipe = cast(IO[bytes], process.stdin)
    pickle.dump(page, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _get(process: subprocess.Popen[bytes]) -> worker.Answer:
    answer: worker.Answer = pickle.load(cast(IO[bytes], process.stdout))  # noqa: S301 - from our child
    return answer
