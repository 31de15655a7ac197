"""HTTP servers on loopback for the fakes of outside parties: HTTP/1.1, and HTTP/2 in clear for APNs."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A server's answer. `hang_up`: none; the connection ends after the request was taken. `delay_s`: before the
    answer; `cut_at`: bytes of the body after which the connection ends."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False
    delay_s: float = 0.0
    cut_at: int | None = None

    @classmethod
    def of(cls, status: int, value: Any, **headers: str) -> Answer:
        """A JSON answer; `retry_after="3"` becomes a header."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(
            status=status, body=json.dumps(value).encode(), headers={"content-type": "application/json", **named}
        )


class FakeServer(ABC):
    """Runs while entered; `answer` says what becomes of a request, `asked` what came, in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._lock = threading.Lock()

    @abstractmethod
    def answer(self, asked: Asked) -> Answer:
        """The answer to a request."""

    def take(self, asked: Asked) -> Answer:
        """Keep the request and answer it, one at a time."""
        with self._lock:
            self.asked.append(asked)
            return self.answer(asked)

    def _make(self) -> socketserver.TCPServer:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                found = fake.take(Asked(method=self.command, path=self.path, headers=headers, body=body))
                if found.delay_s:
                    time.sleep(found.delay_s)
                if found.hang_up:
                    self.close_connection = True
                    return
                self.send_response(found.status)
                for name, value in {**found.headers, "content-length": str(len(found.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(found.body[: found.cut_at])
                if found.cut_at is not None:
                    self.close_connection = True

            def do_GET(self) -> None:
                self.do_POST()

            def do_DELETE(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that was killed is not news."""

        return Server(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Any:
        self._server = self._make()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class FakeHttp2Server(FakeServer):
    """Like `FakeServer`, but over HTTP/2 with prior knowledge."""

    def _make(self) -> socketserver.TCPServer:
        fake = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                _serve_http2(self.request, fake)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        return Server(("127.0.0.1", 0), Handler)


def _serve_http2(connection: socket.socket, fake: FakeServer) -> None:
    talk = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    talk.initiate_connection()
    connection.sendall(talk.data_to_send())
    heads: dict[int, dict[str, str]] = {}
    bodies: dict[int, bytes] = {}
    while data := connection.recv(65_536):
        for event in talk.receive_data(data):
            if isinstance(event, RequestReceived) and event.stream_id is not None:
                heads[event.stream_id] = {str(name): str(value) for name, value in event.headers or ()}
                bodies[event.stream_id] = b""
            elif isinstance(event, DataReceived) and event.stream_id is not None:
                bodies[event.stream_id] += event.data or b""
                talk.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            elif isinstance(event, StreamEnded) and event.stream_id is not None:
                head = heads.pop(event.stream_id)
                found = fake.take(
                    Asked(method=head[":method"], path=head[":path"], headers=head, body=bodies.pop(event.stream_id))
                )
                if found.hang_up:
                    return
                talk.send_headers(event.stream_id, [(":status", str(found.status)), *found.headers.items()])
                talk.send_data(event.stream_id, found.body, end_stream=True)
        connection.sendall(talk.data_to_send())
