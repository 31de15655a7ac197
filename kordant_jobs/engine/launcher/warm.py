"""The warm process: `python -m <app> warm`.

It imports the definitions once, runs a job that does nothing through every step of a run, closes its connections, and
forks children that wait with open connections. It never has a second thread or a connection when it forks.

When the code changes, it checks that the new code can be imported, and becomes the new code by exec; running runs
continue, since they stay its children. A second process stands by, and serves at once when the first one is killed.
SIGTERM drains: runs may end within the grace time, then they get SIGTERM, and at last SIGKILL; a second SIGTERM ends
the grace time early.
"""

import faulthandler
import fcntl
import gc
import importlib
import os
import selectors
import signal
import time
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from dagster import DagsterInstance

from kordant_jobs import tracing
from kordant_jobs.engine import dagster_private, tree
from kordant_jobs.engine.launcher.front import Front
from kordant_jobs.engine.launcher.handover import Reload, resume, take_over
from kordant_jobs.engine.launcher.pool import Child, Journal, Pool
from kordant_jobs.engine.launcher.protocol import listen, socket_path
from kordant_jobs.engine.launcher.run import Run
from kordant_jobs.engine.requests import Cause
from kordant_jobs.engine.runs import RETURNING
from kordant_jobs.engine.system import EngineSettings, System
from kordant_jobs.errors import SetupError
from kordant_jobs.postgres import database

LAST_WORDS_S = 3.0
"""Seconds between SIGTERM and SIGKILL to a run when the process ends, for the run to record that it was stopped."""
CODE_POLL_S = 3.0
"""Seconds between two checks of the code; one costs 2 ms of CPU for 200 files."""


class _Woken(Exception):
    """A signal came while this process waited for the lock."""


def prepare(system: System) -> DagsterInstance:
    """Import and warm up everything. Returns an instance without an open connection.

    Raises:
        SetupError: Dagster is another one, the storage is not Postgres, or something keeps a thread or a connection.
    """
    before = sockets()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else NumPy starts threads when it is imported
    dagster_private.check_dagster()
    home = dagster_private.dagster_home()
    dagster_private.make_tables(home)
    dagster_private.load_definitions(system.definitions)
    for row in system.rows.values():
        for module in row.preload:
            importlib.import_module(module)
    tracing.preload()
    instance = dagster_private.open_instance(home)
    dagster_private.warm_up_run(instance)
    for engine in engines(instance, system.settings()):
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
        engine.dispose()
    check_threads()
    check_connections(before)
    gc.collect()
    gc.freeze()  # what is here now stays, and is shared: no child's collector touches it
    return instance


def engines(instance: DagsterInstance, settings: EngineSettings) -> list[sa.Engine]:
    """The engines that a run finds connected: Dagster's storage, and our own database when it is set."""
    url = settings.database_url
    own = [database.shared_engine(url)] if url else []
    return [dagster_private.pool_of(instance), *own]


HARMLESS_THREADS = frozenset({"jemalloc_bg_thd", "polars-ooc-clea"})
"""Threads that Polars starts at import: its allocator's, which the allocator itself restores after a fork, and one that
removes spill files, which a child does not need."""


def check_threads() -> None:
    """Refuse to fork while there is a second thread: the child would inherit its locks but not the thread.

    Raises:
        SetupError: there is one.
    """
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    threads = [name for name in names if name not in HARMLESS_THREADS]
    if len(threads) > 1:
        raise SetupError(
            f"{len(threads)} threads run after the definitions were imported, and a fork would break them: "
            "start threads inside ops, not at import (OPENBLAS_NUM_THREADS=1 for numpy's), "
            "or set KORDANT_LAUNCHER=stock"
        )


def sockets() -> set[int]:
    """The descriptors of this process that are sockets."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(descriptor.readlink()).startswith("socket:"):
                found.add(int(descriptor.name))
    return found


def check_connections(before: set[int]) -> None:
    """Refuse to fork with a connection opened since `before`: two processes would share it.

    Raises:
        SetupError: there is one.
    """
    if opened := sockets() - before:
        raise SetupError(
            f"descriptor {min(opened)} is a connection opened while the definitions were imported: "
            "open connections inside ops or resources, or set KORDANT_LAUNCHER=stock"
        )


class Warm:
    """The main loop of the warm process."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.settings = system.settings()
        self._stops = 0
        self._waits = False
        self._stop_at: float | None = None
        self._has_stopped_runs = False
        self._reload = Reload(system)
        self._code_at = 0.0
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Serve until a signal stops it. Returns the exit code."""
        state = resume()
        tree.adopt_orphans()
        self._catch_signals()
        instance = prepare(self.system)
        self.turn = state.turn or self._wait_for_turn()
        if self.turn is None:
            return 0
        selector = selectors.DefaultSelector()
        selector.register(self._wake_read, selectors.EVENT_READ, self._wake_read)
        self.front = Front(selector, state.server or listen(socket_path(self.settings.state_dir)), state.ends, self)
        journal = Journal(self.settings.state_dir / "warm")
        self.pool = Pool(
            instance=instance,
            engines=engines(instance, self.settings),
            selector=selector,
            journal=journal,
            publish=self.front.publish,
            close_in_child=self._close_in_child,
            wanted_idle=self.settings.warm_children,
            most_running=self.settings.warm_running,
        )
        take_over(state, self.pool)
        self._end_what_was_left(journal)
        print(f"warm process {os.getpid()} is ready", flush=True)  # noqa: T201 - its log
        while not self._finished():
            self._once(selector)
        return 0

    @property
    def stopping(self) -> bool:
        """True when no new run is accepted."""
        return self._stops > 0

    @property
    def code(self) -> str:
        """The fingerprint of the code that runs start with."""
        return self._reload.loaded

    def _once(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(self._sleeps_s()):
            if key.data == self._wake_read:
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            elif isinstance(key.data, Child):
                if key.data.pid in self.pool.children:
                    self.pool.read(key.data)
            else:
                self.front.serve(key.fileobj)  # type: ignore[arg-type]  # a socket here: the pipe is above
        self.pool.reap()
        self._drain()
        self.pool.step()
        self._check_code()

    def _sleeps_s(self) -> float:
        due = self.pool.sleeps_s()
        longest = 0.1 if self.stopping or self._reload.probing else CODE_POLL_S
        return longest if due is None else min(due, longest)

    # Start and end

    def _wait_for_turn(self) -> int | None:
        """Stand by, with everything imported, until no other process serves this state folder. Returns the descriptor
        of the lock, which is released however the process ends; None when a stop signal came first."""
        lock = self.settings.state_dir / "warm.lock"
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        turn = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return turn
        print(f"warm process {os.getpid()} stands by", flush=True)  # noqa: T201 - its log
        try:
            while not self.stopping:
                with suppress(_Woken):
                    self._waits = True
                    signal.setitimer(signal.ITIMER_REAL, CODE_POLL_S)
                    fcntl.flock(turn, fcntl.LOCK_EX)  # wakes at once when the other one ends, however it ends
                    self._waits = False
                    return turn
                self._reload.restart_if_changed()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return None

    def _catch_signals(self) -> None:
        faulthandler.enable()
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGALRM, self._woken)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._has_stop_signal)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _has_stop_signal(self, number: int, frame: object) -> None:
        self._stops += 1
        self._woken(number, frame)

    def _woken(self, number: int, frame: object) -> None:
        if self._waits:
            self._waits = False
            raise _Woken

    def _close_in_child(self) -> None:
        signal.set_wakeup_fd(-1)
        for descriptor in (self._wake_read, self._wake_write, self.turn):
            if descriptor is not None:
                os.close(descriptor)  # closed, not unlocked: the turn stays the parent's
        self.front.close_in_child()

    def _end_what_was_left(self, journal: Journal) -> None:
        """Fail the runs of a warm process that was killed, after ending their remaining processes."""
        ours = {child.run.run_id for child in self.pool.children.values() if child.run}
        ours |= {run.run_id for run in (*self.pool.fails, *self.pool.backlog)}
        for entry in journal.left():
            if entry.run_id in ours:
                continue
            if entry.pid and tree.start_ticks(entry.pid) in {None, entry.start}:
                for pid in tree.session(entry.pid):
                    tree.kill_tree(pid)
            died = "the warm process it belonged to was killed, or the machine went down"
            self.pool.fails.append(Run(run_id=entry.run_id, stop_cause=Cause.LOST, died=died))

    def _drain(self) -> None:
        if not self.stopping:
            return
        now = time.monotonic()
        pool = self.pool
        if self._stop_at is None:
            self._stop_at = now + self.settings.warm_grace_s
            pool.stopping = True
            for run in list(pool.backlog):
                pool.stop(run, RETURNING, 0)
        if (now >= self._stop_at or self._stops > 1) and not self._has_stopped_runs:
            self._has_stopped_runs = True
            for child in list(pool.children.values()):
                if child.run:
                    pool.stop(child.run, RETURNING, LAST_WORDS_S)

    def _finished(self) -> bool:
        if not self.stopping or self._stop_at is None or self.pool.busy:
            return False
        self.pool.end_idle()
        self.front.close()
        return True

    # New code

    def _check_code(self) -> None:
        now = time.monotonic()
        if self.stopping or now < self._code_at:
            return
        self._code_at = now + (0.1 if self._reload.probing else CODE_POLL_S)
        worn_out = self.pool.started >= self.settings.warm_runs
        if self._reload.due(worn_out=worn_out, others=self.pool.others):
            print("new code, or many runs: starting again; what runs goes on", flush=True)  # noqa: T201 - its log
            self._reload.become_new(self.front, self.pool, self.turn)
