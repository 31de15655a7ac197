"""Serves the warm process's socket: answers requests and reports ends to subscribers."""

import json
import os
import selectors
import socket
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from kordant_jobs.engine.launcher.pool import Pool
from kordant_jobs.engine.launcher.protocol import encode, end_to_wire
from kordant_jobs.engine.launcher.run import Run
from kordant_jobs.engine.runs import RunEnd

ENDS_KEPT = 10_000
"""The number of ends kept for watchers that were away: more than any queue runs at once."""
_LONGEST_REQUEST = 1 << 20


@dataclass
class Ends:
    """The last ends, numbered. `boot` identifies the numbering; a crash starts a new one, an exec keeps it."""

    boot: str = field(default_factory=lambda: uuid4().hex)
    last: int = 0
    kept: deque[tuple[int, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=ENDS_KEPT))

    def add(self, end: RunEnd) -> dict[str, Any]:
        """Number an end and store it."""
        self.last += 1
        message = {"seq": self.last, **end_to_wire(end)}
        self.kept.append((self.last, message))
        return message

    def of(self, run_id: str) -> dict[str, Any] | None:
        """The end of a run, if it is still kept."""
        return next((message for _, message in reversed(self.kept) if message["run_id"] == run_id), None)


class Host(Protocol):
    """The process behind the socket."""

    pool: Pool

    @property
    def stopping(self) -> bool:
        """True when no new run is accepted."""

    @property
    def code(self) -> str:
        """The fingerprint of the code that runs start with."""


@dataclass
class _Client:
    connection: socket.socket
    buffer: bytes = b""


class Front:
    """The listening socket and all connected clients."""

    def __init__(self, selector: selectors.BaseSelector, server: socket.socket, ends: Ends, host: Host) -> None:
        server.setblocking(False)
        self.server = server
        self.ends = ends
        self._selector = selector
        self._host = host
        self._clients: dict[int, _Client] = {}
        self._watchers: dict[int, socket.socket] = {}
        selector.register(server, selectors.EVENT_READ, server)

    def serve(self, ready: socket.socket) -> None:
        """Accept a new connection, or read a request from one."""
        if ready is self.server:
            with suppress(BlockingIOError):
                connection, _ = self.server.accept()
                connection.setblocking(False)
                self._clients[connection.fileno()] = _Client(connection)
                self._selector.register(connection, selectors.EVENT_READ, connection)
            return
        client = self._clients[ready.fileno()]
        try:
            data = ready.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.buffer += data
        if not data or len(client.buffer) > _LONGEST_REQUEST:
            self._drop(client)
            return
        *lines, client.buffer = client.buffer.split(b"\n")
        for line in lines:
            self._answer(client, line)

    def publish(self, end: RunEnd) -> None:
        """Send an end to every watcher, and store it for those that reconnect."""
        line = encode(self.ends.add(end))
        for connection in list(self._watchers.values()):
            self._send(self._clients[connection.fileno()], line)

    def close_in_child(self) -> None:
        """Close what a forked child must not keep open."""
        self.server.close()
        for client in self._clients.values():
            client.connection.close()
        with suppress(AttributeError):
            self._selector.close()

    def close(self) -> None:
        """Close all connections."""
        for client in list(self._clients.values()):
            self._drop(client)
        self.server.close()

    def _answer(self, client: _Client, line: bytes) -> None:
        try:
            request = json.loads(line)
            answer = getattr(self, f"_on_{request['op']}")(client, request)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            answer = {"refused": f"no such request ({type(error).__name__})"}
            sys.stderr.write(f"a request was refused ({type(error).__name__}: {error})\n")
        if answer is not None:
            self._send(client, encode(answer))

    def _on_start(self, client: _Client, request: dict[str, Any]) -> dict[str, Any]:
        if self._host.stopping:
            return {"refused": "it is stopping; the run was not started"}
        run_id = request["run_id"]
        if self._host.pool.find(run_id) is None:
            run = Run(run_id=run_id, limits=dict(request.get("limits", {})))
            self._host.pool.accept(run)
        return {"ok": True}

    def _on_stop(self, client: _Client, request: dict[str, Any]) -> dict[str, Any]:
        run = self._host.pool.find(request["run_id"])
        if run is not None:
            self._host.pool.stop(run, request["cause"], float(request["grace_s"]))
        return {"known": run is not None}

    def _on_status(self, client: _Client, request: dict[str, Any]) -> dict[str, Any]:
        if self._host.pool.find(request["run_id"]) is not None:
            return {"state": "running"}
        end = self.ends.of(request["run_id"])
        return {"state": "unknown"} if end is None else {"state": "ended", "end": end}

    def _on_ping(self, client: _Client, request: dict[str, Any]) -> dict[str, Any]:
        pool = self._host.pool
        idle = [child.pid for child in pool.children.values() if child.idle]
        running = {child.run.run_id: child.pid for child in pool.children.values() if child.run}
        return {"pid": os.getpid(), "idle": idle, "running": running, "busy": pool.busy, "started": pool.started,
                "code": self._host.code}  # fmt: skip

    def _on_watch(self, client: _Client, request: dict[str, Any]) -> None:
        """Send the ends that the watcher missed, then each new one. When the numbering has changed, it missed all of
        them."""
        seen = request.get("after", 0) if request.get("boot") == self.ends.boot else 0
        self._watchers[client.connection.fileno()] = client.connection
        client.connection.setblocking(True)
        client.connection.settimeout(1.0)
        missed = [encode(message) for number, message in self.ends.kept if number > seen]
        self._send(client, encode({"boot": self.ends.boot}) + b"".join(missed))

    def _send(self, client: _Client, data: bytes) -> None:
        try:
            client.connection.sendall(data)
        except OSError:  # it hung up, or does not listen: a watcher comes back and gets what it missed
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        number = client.connection.fileno()
        if self._clients.pop(number, None) is not None:
            self._watchers.pop(number, None)
            self._selector.unregister(client.connection)
            client.connection.close()
