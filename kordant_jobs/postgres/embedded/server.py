"""Starts, shares and stops the embedded server. The other modules of the package have the single steps."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.parse import quote

from kordant_jobs.errors import DatabaseUnavailable, SetupError
from kordant_jobs.postgres.embedded import guard
from kordant_jobs.postgres.embedded.account import Account, server_account, server_environment
from kordant_jobs.postgres.embedded.binaries import Binaries, usable_binaries
from kordant_jobs.postgres.embedded.cluster import (
    clear_remains,
    durable_settings,
    ensure_cluster,
    last_log_line,
    server_command,
)
from kordant_jobs.postgres.embedded.folders import Folders, find_folders, give, make_folders, outside_base_file
from kordant_jobs.postgres.embedded.locks import (
    count_shared,
    exclusive,
    held_by_process,
    hold_shared,
    open_lock,
    try_exclusive,
)
from kordant_jobs.postgres.embedded.process import Postmaster, answers, find_postmaster, kill_strays, stop_postmaster

DEFAULT_SETTINGS: Mapping[str, str] = MappingProxyType({"max_connections": "200", "wal_recycle": "off"})
"""Log segments are deleted, not recycled and overwritten later, so that their content is gone (`people.scrub`)."""
LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
# Recovery after a crash replays at most max_wal_size (1 GB): seconds; five minutes on a very slow disk.
READY_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """The known facts of a state folder's server, read without a lock. None: there is none, or it is unknown."""

    running: bool
    pid: int | None
    data_dir: Path | None
    socket_dir: Path | None
    clients: int | None  # open clients in all processes; None where the kernel doesn't list locks


class EmbeddedPostgres:
    """A Postgres server of our own in a state folder, shared by all its client processes. The first client starts it
    and the last one stops it; when that one was killed, the guard stops it within a second.

    A forked child of a client counts as a client while it lives; one after an exec does not. An object is one client,
    for one thread at a time. Server settings (postgresql.conf) are those of the process that started it; a setting that
    would open a port or log a value is overridden.
    """

    def __init__(self, state_dir: Path, *, settings: Mapping[str, str] = DEFAULT_SETTINGS) -> None:
        self._state = Path(state_dir).resolve()
        self._settings = {**DEFAULT_SETTINGS, **settings}
        self._client: int | None = None
        self._socket: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def start(self) -> None:
        """Start the server or attach to it, as a client until `release`. Called again, it ensures that the server runs.

        Raises:
            SetupError: no programs, no usable folder or user, a full disk, a setting refused; says which.
            PermanentError: the data is of another major version of Postgres.
            DatabaseUnavailable: it was not ready within five minutes, or another process blocks all others.
        """
        known = find_folders(self._state)
        account = server_account(known.data if known else None)
        try:
            self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(
                f"{self._state} can't be made ({error.strerror}): set KORDANT_STATE_DIR to a folder of yours."
            ) from None
        folders = make_folders(self._state, account)
        with exclusive(folders.lock):
            self._attach(folders)
            try:
                self._socket = self._ensure_running(folders, account).socket
            except OSError as error:
                self._detach()
                raise SetupError(
                    f"Postgres can't be started in {folders.base}: {error.strerror}. "
                    "Make room or access, then start again."
                ) from None
            except BaseException:
                self._detach()
                raise

    def release(self) -> bool:
        """Stop being a client. True when this was the last one and stopped the server. Safe to repeat."""
        if self._client is None:
            return False
        self._detach()
        folders = find_folders(self._state)
        if folders is None:
            return False
        with exclusive(folders.lock), try_exclusive(folders.clients) as alone:
            return alone and _stop(folders)

    def stop(self) -> None:
        """Stop the server even if clients are connected: their connections break, and `start` brings it back."""
        if folders := find_folders(self._state):
            with exclusive(folders.lock):
                _stop(folders)

    def delete(self) -> None:
        """Stop the server and delete its data, wherever it is. This cannot be undone."""
        if folders := find_folders(self._state):
            with exclusive(folders.lock):
                _stop(folders)
                shutil.rmtree(folders.socket, ignore_errors=True)
                shutil.rmtree(folders.base)
                outside_base_file(self._state).unlink(missing_ok=True)

    def url(self, database: str = "postgres") -> str:
        """The address of the server, for SQLAlchemy and Dagster. It holds no secret: the socket's folder is protected.

        Raises:
            DatabaseUnavailable: the server was never started here.
        """
        socket = self._socket
        if socket is None and (folders := find_folders(self._state)):
            server = find_postmaster(folders.data)
            socket = server.socket if server else folders.socket
        if socket is None:
            raise DatabaseUnavailable(f"there is no Postgres in {self._state} yet: start it (kordant-jobs up).")
        name, host = quote(database, safe=""), quote(str(socket), safe="")
        return f"postgresql+psycopg2://postgres@/{name}?host={host}"

    def status(self) -> ServerStatus:
        """The status, read without starting, creating or waiting for anything."""
        folders = find_folders(self._state)
        if folders is None:
            return ServerStatus(running=False, pid=None, data_dir=None, socket_dir=None, clients=0)
        server = find_postmaster(folders.data)
        return ServerStatus(
            running=server is not None and server.state == "ready",
            pid=server.process.pid if server else None,
            data_dir=folders.data,
            socket_dir=(server.socket if server else None) or folders.socket,
            clients=count_shared(folders.clients),
        )

    def _attach(self, folders: Folders) -> None:
        if self._client is not None:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._client), folders.clients.stat()):
                    return
            self._detach()  # the state folder was deleted meanwhile and is another one now
        self._client = hold_shared(folders.clients)

    def _detach(self) -> None:
        if self._client is not None:
            os.close(self._client)  # closed, not unlocked: a forked child that lives on keeps the lock
        self._client = None

    def _ensure_running(self, folders: Folders, account: Account) -> Postmaster:
        server = _settled(folders)
        if server is not None and server.state == "stopping":  # a shutdown that another process asked for
            stop_postmaster(folders.data)
            server = None
        if server is None:
            self._launch(folders, account)
        elif not held_by_process(folders.guard):
            _spawn_guard(folders, account, pid=server.process.pid)
        return _wait_ready(folders)

    def _launch(self, folders: Folders, account: Account) -> None:
        binaries: Binaries = usable_binaries(account)
        kill_strays(folders.data)
        _wait_for_no_guard(folders)
        ensure_cluster(folders, binaries, account, durable=durable_settings(self._settings))
        give(folders.socket, account)
        clear_remains(folders)
        folders.log.unlink(missing_ok=True)
        command = server_command(folders, binaries, account, self._settings)
        _spawn_guard(folders, account, command=command)


def _stop(folders: Folders) -> bool:
    """Stop the server and wait for its guard to end; the caller holds the lock."""
    stopped = stop_postmaster(folders.data)
    _wait_for_no_guard(folders)
    return stopped


def _wait_for_no_guard(folders: Folders) -> None:
    deadline = time.monotonic() + 10.0
    while held_by_process(folders.guard):
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(f"a guard outlives its server: find it (fuser {folders.guard}) and end it.")
        time.sleep(0.002)


def _settled(folders: Folders) -> Postmaster | None:
    """The server once it accepts connections or is starting or stopping; None once it is dead."""
    deadline = time.monotonic() + 10.0
    while (server := find_postmaster(folders.data)) is not None and server.state == "ready":
        if answers(server):
            break
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(f"Postgres (pid {server.process.pid}) does not answer: end it, start again.")
        time.sleep(0.004)
    return server


def _wait_ready(folders: Folders) -> Postmaster:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        guarded = held_by_process(folders.guard)
        server = find_postmaster(folders.data)
        if server is not None and server.state == "ready":
            return server
        if server is None and not guarded:  # checked in this order, so that it did not just appear
            reason = last_log_line(folders.log)
            raise SetupError(f"Postgres did not start in {folders.base}: {reason}. See {folders.log}.")
        time.sleep(0.004)
    raise DatabaseUnavailable(f"Postgres is not ready after {READY_TIMEOUT_S:.0f} s: see {folders.log}.")


def _spawn_guard(folders: Folders, account: Account, *, command: list[str] | None = None, pid: int = 0) -> None:
    """Start the guard, detached; return when it has the server's pid. Exactly one of `command` and `pid`."""
    with ExitStack() as opened:
        log = os.open(folders.log, LOG_FLAGS, 0o600)
        opened.callback(os.close, log)
        files = {}
        for name in ("lock", "clients", "guard"):
            fd = open_lock(getattr(folders, name))  # opened again: a lock of ours must not be its lock
            opened.callback(os.close, fd)
            files[f"{name}_fd"] = fd
        orders = guard.Orders(
            lock_path=str(folders.lock),
            log_fd=log,
            data=str(folders.data),
            uid=account.uid,
            gid=account.gid,
            drop=account.is_other,
            pid=pid,
            command=command or [],
            environment=server_environment(),
            **files,
        )
        with subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, json.dumps(asdict(orders))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=server_environment(),
            pass_fds=[log, *files.values()],
            start_new_session=True,
        ) as starter:
            assert starter.stdout is not None  # noqa: S101 - asked for above
            said = starter.stdout.readline().decode().strip()
    if not said or said.startswith("0"):
        reason = said[1:].strip() or "its guard ended at once"
        raise SetupError(f"Postgres can't be started in {folders.base} as user id {account.uid}: {reason}.")
