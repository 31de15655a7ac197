"""Finds out whether the server of a data directory is alive. It checks what the process is, never only its pid.

The process of a pid in `postmaster.pid` may be dead, a zombie, or another program by now. A process is our server when
its program is postgres and its working folder is the data directory, which every postmaster and backend uses.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT

import psutil

# A fast shutdown writes a checkpoint: seconds on a slow disk. Then an immediate one, which loses nothing (the
# next start recovers); seen needed when asked in the instant of a restart after a crash of a backend.
STOP_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 2.0
# "Would you speak TLS?", to which a server says N or S before it asks who we are: length 8, code 80877103.
SSL_REQUEST = struct.pack("!II", 8, 80877103)


@dataclass(frozen=True, kw_only=True)
class Postmaster:
    """A living server. `state` is Postgres' own term: starting, ready, stopping, or '' before the first."""

    process: psutil.Process
    socket: Path | None
    state: str


def find_postmaster(data: Path) -> Postmaster | None:
    """The living server of a data directory, or None when there is none, whatever `postmaster.pid` contains."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
        process = psutil.Process(int(lines[0]))
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    if not _works_in(data, process) or _is_backend(process):
        return None
    lines += [""] * 8
    return Postmaster(process=process, socket=Path(lines[4]) if lines[4] else None, state=lines[7].strip())


def answers(server: Postmaster) -> bool:
    """True when the server accepts a connection: one killed a moment ago still looks alive, but does not."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            connection.connect(f"{server.socket}/.s.PGSQL.5432")
            connection.sendall(SSL_REQUEST)
            return connection.recv(1) in {b"N", b"S"}
        except OSError:
            return False


def strays(data: Path) -> list[psutil.Process]:
    """Every postgres process that works in the data directory: the postmaster and orphaned backends."""
    return [process for process in _postgres_processes() if _works_in(data, process)]


def stop_postmaster(data: Path, *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Stop the server, cleanly if possible; False when none was alive. None of its processes is left afterwards."""
    server = find_postmaster(data)
    if server is None:
        return False
    with suppress(psutil.NoSuchProcess):
        server.process.send_signal(SIGINT)
    if not _gone(data, timeout_s):
        with suppress(psutil.NoSuchProcess):
            server.process.send_signal(SIGQUIT)
        _gone(data, 10.0)
    kill_strays(data)
    return True


def kill_strays(data: Path) -> None:
    """End orphaned backends, so that only a new server writes to the data. Only then may a stale `postmaster.pid` be
    removed: because of it Postgres itself refuses to start beside them."""
    for process in strays(data):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(SIGKILL)
    deadline = time.monotonic() + 10.0
    while strays(data) and time.monotonic() < deadline:
        time.sleep(0.005)


def _gone(data: Path, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while find_postmaster(data) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.003)
    return True


def _postgres_processes() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name().startswith("postgres"):
                yield process


def _works_in(data: Path, process: psutil.Process) -> bool:
    try:
        return process.name().startswith("postgres") and data.samefile(process.cwd())
    except (psutil.Error, OSError):  # gone, a zombie (it works nowhere), or another user's, so not ours
        return False


def _is_backend(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[0].startswith("postgres:")
    except (psutil.Error, IndexError):
        return False
