"""A process beside the server: starts it, and ends it when the last client is gone, however that client ended.

Run as a script with the bare interpreter (`python -I -S guard.py JSON`), standard library only. It leaves the caller's
session, so Ctrl-C in a terminal reaches neither it nor the server; it gives up root; it holds only the descriptors
named in JSON. If it is killed, the server keeps running, and the next client to attach starts another guard. It ends
with its server.
"""

import fcntl
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass

TICK_S = 0.5  # how long a server may outlive its last client when that one was killed
STOP_TIMEOUT_S = 20.0  # then without a checkpoint; as in process.py
LOG_LIMIT_BYTES = 8 << 20  # the log is cut to nothing beyond this; it holds starts, stops and refusals only


@dataclass(frozen=True, kw_only=True)
class Orders:
    """The values passed by the caller: open files by number, the user to become, and the server to guard."""

    lock_path: str
    lock_fd: int
    clients_fd: int
    guard_fd: int
    log_fd: int
    data: str
    uid: int
    gid: int
    drop: bool
    pid: int  # of a running server; 0: start `command`
    command: list[str]
    environment: dict[str, str]


def main(orders: Orders) -> None:
    """Detach, start or adopt the server, print its pid (or 0 and a reason) to stdout, then guard it."""
    for fd in (orders.lock_fd, orders.clients_fd, orders.guard_fd, orders.log_fd):
        os.set_inheritable(fd, False)
    if os.fork():
        os._exit(0)  # the caller waits for this one only, and keeps no zombie
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        # A POSIX lock, not flock: it says that this very process lives.
        fcntl.lockf(orders.guard_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _become(orders)
        pid = orders.pid or _launch(orders)
        watch = _watch(pid)
    except OSError as error:
        os.write(1, f"0 {error.strerror}\n".encode())
        return
    os.write(1, f"{pid}\n".encode())
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    _guard(orders, pid, watch)


def _become(orders: Orders) -> None:
    os.umask(0o077)
    os.chdir("/")
    if orders.drop:
        os.setgroups([])
        os.setgid(orders.gid)
        os.setuid(orders.uid)


def _launch(orders: Orders) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # what is ignored stays ignored through exec
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.dup2(orders.log_fd, 1)
        os.dup2(orders.log_fd, 2)
        os.execve(orders.command[0], orders.command, orders.environment)
    except OSError as error:
        os.write(orders.log_fd, f"FATAL:  {orders.command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _watch(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system offers none."""
    return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None


def _alive(pid: int, watch: int | None, wait_s: float) -> bool:
    if watch is not None:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        ended = bool(poll.poll(wait_s * 1000))
    else:
        time.sleep(wait_s)
        ended = False
    try:
        ended = os.waitpid(pid, os.WNOHANG)[0] == pid or ended
    except ChildProcessError:  # adopted, not ours to reap
        if watch is None:
            try:
                os.kill(pid, 0)
            except OSError:
                ended = True
    return not ended


def _guard(orders: Orders, pid: int, watch: int | None) -> None:
    while _alive(pid, watch, TICK_S):
        if os.fstat(orders.log_fd).st_size > LOG_LIMIT_BYTES:
            os.ftruncate(orders.log_fd, 0)
        if _state_is_deleted(orders):
            _signal(pid, watch, signal.SIGQUIT)
        elif _lock(orders.lock_fd):
            # `lock` first, like every process: none starts, attaches or releases while we check.
            try:
                if _lock(orders.clients_fd):
                    _stop(pid, watch)
                    fcntl.flock(orders.clients_fd, fcntl.LOCK_UN)
            finally:
                fcntl.flock(orders.lock_fd, fcntl.LOCK_UN)


def _state_is_deleted(orders: Orders) -> bool:
    try:
        return not os.path.samestat(os.stat(orders.lock_path), os.fstat(orders.lock_fd))  # noqa: PTH116 - beside fstat
    except FileNotFoundError:
        return True
    except OSError:  # not to be seen by this user: that says nothing
        return False


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _stop(pid: int, watch: int | None) -> None:
    _signal(pid, watch, signal.SIGINT)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _alive(pid, watch, 0.01):
        if time.monotonic() > deadline:
            _signal(pid, watch, signal.SIGQUIT)
            return


def _signal(pid: int, watch: int | None, number: signal.Signals) -> None:
    try:
        if watch is not None:
            signal.pidfd_send_signal(watch, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    main(Orders(**json.loads(sys.argv[1])))
