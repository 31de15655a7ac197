"""A TCP relay in front of a Postgres that stops forwarding when a test says so, as a network that is cut.

Connections stay open and are acknowledged by this machine's kernel: neither side is told anything.
"""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from typing import Self

from sqlalchemy.engine import make_url


class Relay:
    """Forwards to the server of `url` until `cut`, and again after `heal`. As a context it starts and stops."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._open = threading.Event()
        self._open.set()
        self._over = False
        self._thread = threading.Thread(target=self._forward, name="relay")

    @property
    def url(self) -> str:
        """The server's URL through this relay."""
        host, port = self._server.getsockname()
        query = {name: value for name, value in self._target.query.items() if name not in {"host", "port"}}
        return self._target.set(host=host, port=port, query=query).render_as_string(hide_password=False)

    def cut(self) -> None:
        """Forward nothing more, either way."""
        self._open.clear()

    def heal(self) -> None:
        """Forward what waits, and what comes."""
        self._open.set()

    def __enter__(self) -> Self:
        self._server.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._open.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]

    def _forward(self) -> None:
        while not self._over:
            ready = self._selector.select(0.02)
            self._open.wait()
            for key, _ in ready:
                if key.data is None:
                    self._accept()
                else:
                    self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self) -> None:
        client, _ = self._server.accept()
        server = self._connect()
        for one, other in ((client, server), (server, client)):
            self._selector.register(one, selectors.EVENT_READ, other)

    def _connect(self) -> socket.socket:
        folder, port = self._target.query.get("host"), self._target.query.get("port") or self._target.port or 5432
        if not isinstance(folder, str):
            return socket.create_connection((self._target.host or "127.0.0.1", int(str(port))))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{folder}/.s.PGSQL.{port}")
        return server

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            data = one.recv(65_536)
            other.sendall(data)
        if not data:
            for end in (one, other):
                with suppress(KeyError, ValueError):
                    self._selector.unregister(end)
                end.close()
