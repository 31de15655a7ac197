"""A server that breaks HTTP in one chosen way, whatever it is asked."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from enum import StrEnum
from types import TracebackType

DRIP_S = 0.02
"""Between two bytes of a slow answer: far within any read time-out, so that only a bound on the whole ends it."""


class Fault(StrEnum):
    """The faults of a source."""

    ERROR_500 = "error_500"
    BUSY_503_PAGE = "busy_503_page"
    LIMITED = "limited"
    LIMITED_WITH_RETRY_AFTER = "limited_with_retry_after"
    SILENCE = "silence"
    TRUNCATED = "truncated"
    CUT_JSON = "cut_json"
    WRONG_TYPE = "wrong_type"
    EMPTY = "empty"
    NULL = "null"
    PAGE = "page"
    PAGE_404 = "page_404"
    REDIRECT = "redirect"
    RESET = "reset"
    NOT_HTTP = "not_http"
    BAD_GZIP = "bad_gzip"
    DEEP = "deep"
    SLOW_HEAD = "slow_head"
    SLOW_BODY = "slow_body"
    ENDLESS = "endless"


RETRY_AFTER_S = 7
_PAGE = b"<!doctype html><title>Sign in to the network</title>"


def _whole(status: str, body: bytes, *, kind: str = "application/json", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {len(body)}\r\n\r\n".encode() + body


_ANSWERS = {
    Fault.ERROR_500: _whole("500 Internal Server Error", b'{"error": "boom"}'),
    Fault.BUSY_503_PAGE: _whole("503 Service Unavailable", _PAGE, kind="text/html"),
    Fault.LIMITED: _whole("429 Too Many Requests", b'{"statusCode": 429, "message": "slow down"}'),
    Fault.LIMITED_WITH_RETRY_AFTER: _whole("429 Too Many Requests", b"{}", more=f"retry-after: {RETRY_AFTER_S}\r\n"),
    Fault.TRUNCATED: b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n[{"Name":',
    Fault.CUT_JSON: b'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n[{"Name": "Ado',
    Fault.WRONG_TYPE: _whole("200 OK", b'{"unexpected": [1, 2, {"three": null}]}'),
    Fault.EMPTY: _whole("200 OK", b""),
    Fault.NULL: _whole("200 OK", b"null"),
    Fault.PAGE: _whole("200 OK", _PAGE, kind="text/html"),
    Fault.PAGE_404: _whole("404 Not Found", _PAGE, kind="text/html"),
    Fault.REDIRECT: _whole("302 Found", b"", more="location: http://127.0.0.1:9/elsewhere\r\n"),
    Fault.NOT_HTTP: b"220 mail.example ESMTP\r\n",
    Fault.BAD_GZIP: _whole("200 OK", b"\x1f\x8b\x08 no gzip", more="content-encoding: gzip\r\n"),
    Fault.DEEP: _whole("200 OK", b"[" * 100_000 + b"]" * 100_000),
}


class FaultyServer:
    """Serves its fault while the `with` block lasts. `asked` counts connections."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.asked = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._break, args=(connection,), daemon=True).start()

    def _break(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            match self.fault:
                case Fault.SILENCE:
                    self._over.wait()
                case Fault.RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                case Fault.SLOW_HEAD:
                    self._drip(connection, b"HTTP/1.1 200 OK\r\n", b"x-drip: 1\r\n")
                case Fault.SLOW_BODY:
                    self._drip(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b"[")
                case Fault.ENDLESS:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
                    while not self._over.is_set():
                        connection.sendall(b" " * 65536)
                case _:
                    connection.sendall(_ANSWERS[self.fault])

    def _drip(self, connection: socket.socket, head: bytes, piece: bytes) -> None:
        connection.sendall(head)
        while not self._over.wait(DRIP_S):
            for byte in piece:
                connection.sendall(bytes([byte]))
                if self._over.wait(DRIP_S):
                    return
