"""Ctrl-C ends a statement that a command waits for.

The driver waits for Postgres in C, where Python raises no KeyboardInterrupt: Ctrl-C would take effect when the
statement ends, which may be minutes later.
"""

import signal
import socket
import threading
import weakref
from contextlib import suppress
from typing import Any

_open: weakref.WeakSet[Any] = weakref.WeakSet()


def note(connection: Any) -> None:
    """Remember a connection of the driver, as long as it exists."""
    _open.add(connection)


def cancel_on_interrupt() -> None:
    """From now on Ctrl-C cancels what this process's connections do; Python then raises KeyboardInterrupt. A process
    with its own handler of SIGINT ends its work itself. Call it once, in the main thread."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_cancel, args=(reader, writer), name="kordant-interrupts", daemon=True).start()


def _cancel(reader: socket.socket, writer: socket.socket) -> None:
    """`writer` is kept open by this thread. The driver is imported late: most commands do not need it."""
    while number := reader.recv(1):
        if number[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            from psycopg2 import Error

            for connection in list(_open):
                with suppress(Error):
                    connection.cancel()
