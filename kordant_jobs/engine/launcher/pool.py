"""The children of the warm process: forked ahead, given one run each, watched, ended, replaced.

A run is in one place at a time: in `backlog` (accepted, no child yet), in a child's `run`, in `fails` (its child died
without a report, and another child must write its end); after that its end is published. A journal on disk has
the running runs, for the next process after a crash.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dagster import DagsterInstance
from sqlalchemy import Engine

from kordant_jobs.engine import tree
from kordant_jobs.engine.launcher.child import live
from kordant_jobs.engine.launcher.protocol import encode
from kordant_jobs.engine.launcher.run import CAUSE_TAG, Run, in_words
from kordant_jobs.engine.requests import Cause
from kordant_jobs.engine.runs import CANCELED, FENCED, RunEnd

LIMIT_POLL_S = 0.25
REFILL_DELAY_S = 0.15
"""A replacement is forked this long after a child got work, so that it does not compete with the run's first steps."""
RETRY_DELAY_S = 1.0
"""Seconds between attempts while the database is unavailable."""


@dataclass
class Child:
    """A forked process: connecting until `ready`, then idle until it has a `run` or writes the end of another process's
    run."""

    pid: int
    start: int
    control: socket.socket
    ready: bool = False
    run: Run | None = None
    failing: Run | None = None
    buffer: bytes = b""

    @property
    def idle(self) -> bool:
        """True while it waits for an order."""
        return self.ready and self.run is None and self.failing is None


@dataclass
class Pool:
    """All children of one warm process. Single-threaded: everything happens in the caller's loop."""

    instance: DagsterInstance
    engines: Sequence[Engine]
    """The engines that a child connects before it gets a run, Dagster's storage first. None is connected in this
    process."""
    selector: selectors.BaseSelector
    journal: Journal
    publish: Callable[[RunEnd], None]
    close_in_child: Callable[[], None]
    wanted_idle: int
    most_running: int
    children: dict[int, Child] = field(default_factory=dict)
    backlog: deque[Run] = field(default_factory=deque)
    fails: deque[Run] = field(default_factory=deque)
    others: dict[int, int | None] = field(default_factory=dict)
    """Our processes that are neither children of this pool nor orphans, with their exit codes once reaped."""
    started: int = 0
    stopping: bool = False
    _refill_at: float = 0.0
    _fail_at: float = 0.0
    _limits_at: float = 0.0

    def find(self, run_id: str) -> Run | None:
        """The run with this id, until its end is published."""
        places = [*self.backlog, *self.fails]
        places += [run for child in self.children.values() for run in (child.run, child.failing) if run]
        return next((run for run in places if run.run_id == run_id), None)

    @property
    def busy(self) -> int:
        """The number of runs that have not ended."""
        held = sum(1 for child in self.children.values() if child.run or child.failing)
        return held + len(self.backlog) + len(self.fails)

    # Work

    def accept(self, run: Run) -> None:
        """Accept a run; the next `step` gives it to a child. It is in the journal before the caller gets an answer, so
        that a crash in between does not lose it."""
        self.journal.add(Entry(run_id=run.run_id, pid=0, start=0))
        self.backlog.append(run)

    def step(self) -> None:
        """Do what is due: give runs to children, fork, enforce limits. Call it after every wake-up."""
        now = time.monotonic()
        self._give_fails(now)
        self._give_runs(now)
        self._refill(now)
        self._enforce(now)

    def sleeps_s(self) -> float | None:
        """Seconds until something is due; None: not before an event."""
        now = time.monotonic()
        due = []
        if any(child.run and (child.run.limits or child.run.kill_at) for child in self.children.values()):
            due.append(self._limits_at)
        if self._missing():
            due.append(self._refill_at)
        if self.fails:
            due.append(self._fail_at)
        return max(0.0, min(due) - now) if due else None

    def stop(self, run: Run, cause: str, grace_s: float) -> None:
        """Ask a run to end with SIGTERM; it is killed after the grace time. A run without a child ends at once."""
        run.stop_cause = run.stop_cause or cause
        if run in self.backlog:
            self.backlog.remove(run)
            run.died = "it was stopped before it began"
            self.fails.append(run)
            return
        for child in self.children.values():
            if child.run is run:
                run.kill_at = time.monotonic() + grace_s
                self._limits_at = 0.0
                tree.signal_to(child.pid, signal.SIGTERM)

    def end_idle(self) -> None:
        """End the idle children."""
        for child in self.children.values():
            if child.run is None and child.failing is None:
                tree.signal_to(child.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Reap dead processes, and publish, or have another child write, the ends of their runs. Processes that they
        started are killed."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.others:
                self.others[pid] = os.waitstatus_to_exitcode(status)
            elif child := self.children.pop(pid, None):
                self.read(child)
                self._kill_orphans()
                self.selector.unregister(child.control)
                child.control.close()
                self._ended(child, status, used)

    # Children's words

    def read(self, child: Child) -> None:
        """Read what a child reported."""
        with suppress(BlockingIOError, ConnectionError):
            while data := child.control.recv(65536):
                child.buffer += data
        *lines, child.buffer = child.buffer.split(b"\n")
        for line in lines:
            self._heard(child, json.loads(line))

    def _heard(self, child: Child, said: dict[str, object]) -> None:
        if "ready" in said:
            child.ready = True
        elif child.failing and "failed" in said:
            run, child.failing = child.failing, None
            self._publish(run, final_status=str(said["status"]))
        elif child.failing:
            sys.stderr.write(f"the end of run {child.failing.run_id} could not be written ({said.get('error')})\n")
            self._fail_later(child)
        elif child.run:
            child.run.report = said

    def _ended(self, child: Child, status: int, used: resource.struct_rusage) -> None:
        if child.failing:
            self._fail_later(child)
        run = child.run
        if run is None:
            if not child.ready:
                self._refill_at = time.monotonic() + RETRY_DELAY_S  # it could not connect
            return
        run.cpu_s = used.ru_utime + used.ru_stime
        run.peak_memory_mb = max(run.peak_memory_mb, used.ru_maxrss / 1024)
        if run.report is not None:
            self._publish(run)
            return
        code = os.waitstatus_to_exitcode(status)
        run.died = in_words(code)
        if code == FENCED:
            run.stop_cause = run.stop_cause or Cause.LOST
        self.fails.append(run)

    def _fail_later(self, child: Child) -> None:
        if child.failing:
            self.fails.append(child.failing)
            child.failing = None
            self._fail_at = time.monotonic() + RETRY_DELAY_S

    def _publish(self, run: Run, final_status: str | None = None) -> None:
        self.publish(run.end(final_status=final_status))
        self.journal.remove(run.run_id)

    def _kill_orphans(self) -> None:
        """Kill the processes that a job left behind and that became our children, with their descendants."""
        for _ in range(100):
            strange = [pid for pid in tree.children(os.getpid()) if pid not in self.children and pid not in self.others]
            living = [pid for pid in strange if tree.start_ticks(pid) is not None]
            if not living:
                return
            for pid in living:
                tree.kill_tree(pid)

    # What is due

    def _give_fails(self, now: float) -> None:
        while self.fails and now >= self._fail_at and (child := self._idle_child()):
            run = child.failing = self.fails.popleft()
            cause = run.end().cause
            tags = {CAUSE_TAG: cause} if cause else {}
            self._send(child, {"fail": run.run_id, "message": run.message(), "tags": tags})

    def _give_runs(self, now: float) -> None:
        running = sum(1 for child in self.children.values() if child.run)
        while self.backlog and running < self.most_running and (child := self._idle_child()):
            run = child.run = self.backlog.popleft()
            run.started_at = now
            self.journal.add(Entry(run_id=run.run_id, pid=child.pid, start=child.start))
            self._send(child, {"run_id": run.run_id})
            running += 1
            self.started += 1
            self._refill_at = max(self._refill_at, now + REFILL_DELAY_S)

    def _idle_child(self) -> Child | None:
        return next((child for child in self.children.values() if child.idle), None)

    def _send(self, child: Child, order: dict[str, object]) -> None:
        with suppress(OSError):  # a child that is gone is reaped, and its run ended then
            child.control.sendall(encode(order))

    def _missing(self) -> int:
        """The number of children to fork: the wanted idle ones, and those that the backlog needs."""
        free = sum(1 for child in self.children.values() if child.run is None and child.failing is None)
        if self.stopping:
            return 1 - free if self.fails else 0
        running = len(self.children) - free
        usable = min(len(self.backlog), max(0, self.most_running - running))
        return max(self.wanted_idle, usable + min(1, len(self.fails))) - free

    def _refill(self, now: float) -> None:
        hungry = (self.backlog or self.fails) and self._idle_child() is None
        if self._missing() > 0 and (now >= self._refill_at or (hungry and not self._waits_for_database(now))):
            self._fork()

    def _waits_for_database(self, now: float) -> bool:
        return self._refill_at - now > REFILL_DELAY_S

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.close_in_child()
            ours.close()
            for child in self.children.values():
                child.control.close()
            live(parent, theirs, self.instance, self.engines)
        theirs.close()
        self.adopt(Child(pid=pid, start=tree.start_ticks(pid) or 0, control=ours))

    def adopt(self, child: Child) -> None:
        """Add a child of this process to the pool."""
        child.control.setblocking(False)
        self.children[child.pid] = child
        self.selector.register(child.control, selectors.EVENT_READ, child)

    def _enforce(self, now: float) -> None:
        if now < self._limits_at:
            return
        self._limits_at = now + LIMIT_POLL_S
        for child in self.children.values():
            run = child.run
            if run is None or run.report is not None:
                continue
            if run.limits:
                used = tree.use(child.pid, exact_above_mb=run.limits.get(Cause.MEMORY, float("inf")))
                run.peak_memory_mb = max(run.peak_memory_mb, used.memory_mb)
                over = run.over(now=now, cpu_s=used.cpu_s, memory_mb=used.memory_mb)
                if over and run.stop_cause in {None, CANCELED}:
                    run.stop_cause = over
                    tree.kill_tree(child.pid)
            if run.kill_at and now >= run.kill_at:
                tree.kill_tree(child.pid)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run that was accepted. `pid` and `start` (clock ticks) identify the process that runs it; 0 when there is
    none."""

    run_id: str
    pid: int
    start: int


class Journal:
    """The journal of one warm process. An entry is written before a run is accepted and before a child gets it, and
    removed once its end is known."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def add(self, entry: Entry) -> None:
        """Record a run, and which process has it."""
        path = self._folder / entry.run_id
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(entry)), encoding="utf-8")
        fresh.rename(path)

    def remove(self, run_id: str) -> None:
        """Remove a run whose end is in Dagster's storage."""
        (self._folder / run_id).unlink(missing_ok=True)

    def left(self) -> Iterator[Entry]:
        """The entries that the previous process left. A file that cannot be read is removed."""
        for path in sorted(self._folder.iterdir()):
            with suppress(OSError, ValueError, TypeError):
                yield Entry(**json.loads(path.read_text(encoding="utf-8")))
                continue
            path.unlink(missing_ok=True)
