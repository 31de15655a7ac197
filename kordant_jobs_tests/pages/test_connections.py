"""A client that is slow to send or to read is cut, over real sockets; one that is not goes on."""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from kordant_jobs.cli.readiness import free_port
from kordant_jobs.pages.limits import OPTIONS, BoundedHttp
from kordant_jobs.settings import Settings
from kordant_jobs_tests.api.served import served

HALF = b"POST /take HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le"
HEAD = b"POST /take HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
WHOLE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Impatient(BoundedHttp):
    """As ours, in tenths of a second."""

    head_within_s = 0.3
    body_within_s = 0.5
    read_within_s = 0.3


async def _hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def _take(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _slow(_: Request) -> Response:
    await asyncio.sleep(0.6)
    return PlainTextResponse("late, but whole")


@pytest.fixture
def left() -> list[bool]:
    return []


@pytest.fixture
def port(left: list[bool]) -> Iterator[int]:
    async def large(_: Request) -> Response:
        async def parts() -> Any:
            try:
                for _ in range(2_000):
                    yield b"x" * 65_536
                    await asyncio.sleep(0)
            finally:
                left.append(True)

        return StreamingResponse(parts())

    routes = [
        Route("/", _hello),
        Route("/slow", _slow),
        Route("/large", large),
        Route("/take", _take, methods=["POST"]),
    ]
    with served(Starlette(routes=routes), **{**OPTIONS, "http": Impatient, "timeout_keep_alive": 1}) as url:
        yield int(url.rsplit(":", 1)[1])


def _dial(port: int) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", port))
    found.settimeout(10)
    return found


def _read_until_cut(client: socket.socket) -> bytes:
    """Everything that comes until the server cuts the connection."""
    read = b""
    try:
        while part := client.recv(65_536):
            read += part
    except ConnectionResetError:
        pass
    return read


@pytest.mark.parametrize("sent", [b"", HALF, HEAD, HEAD + b"a", WHOLE + b"\r\n", WHOLE + HALF])
def test_a_request_that_does_not_end_is_cut(port: int, sent: bytes) -> None:
    with _dial(port) as client:
        began = time.monotonic()
        client.sendall(sent)
        read = _read_until_cut(client)
    assert read.count(b"200 OK") == sent.count(WHOLE)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("sent", [HALF, HEAD, WHOLE])
def test_a_byte_now_and_then_keeps_no_connection(port: int, sent: bytes) -> None:
    with _dial(port) as client:
        client.sendall(sent)
        client.settimeout(0.1)
        began = time.monotonic()
        is_cut = False
        while not is_cut and time.monotonic() - began < 5:
            try:
                client.sendall(b"\r\n" if sent is WHOLE else b"a")
                is_cut = client.recv(65_536) == b""
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                is_cut = True
    assert is_cut


def test_a_client_that_does_not_read_is_cut(port: int, left: list[bool]) -> None:
    with _dial(port) as client:
        client.sendall(WHOLE.replace(b"/ ", b"/large ", 1))
        until = time.monotonic() + 5
        while not left and time.monotonic() < until:
            assert selectors.DefaultSelector().select(0.02) == []
        assert left, "the stream goes on for a client that is gone"


def test_requests_that_are_in_time_are_answered_on_one_connection(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert client.get("/slow").text == "late, but whole", "an answer may take longer than a head"
        assert client.post("/take", content=b"a" * 300_000).text == "300000"
        assert client.get("/").text == "hello"
        assert len(client.get("/large").content) == 2_000 * 65_536


@contextmanager
def _running(*command: str, port: int) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "kordant_jobs.cli", *command, "--port", str(port)],
        env={**os.environ, "KORDANT_PUBLIC_URL": "https://jobs.example"},
    )
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.1)
        yield
    finally:
        process.terminate()
        assert process.wait(20) is not None


@pytest.mark.slow
@pytest.mark.parametrize("command", [("api", "serve"), ("notifications", "serve")])
def test_1500_half_sent_posts_are_cut_and_the_next_visitor_is_served(
    settings: Settings, command: tuple[str, ...]
) -> None:
    port = free_port(3860)
    with _running(*command, port=port):
        began = time.monotonic()
        held = [_dial(port) for _ in range(1_500)]
        for number, client in enumerate(held):
            client.sendall((HALF, HEAD, b"")[number % 3])
        for client in held:
            client.settimeout(30)
            _read_until_cut(client)
            client.close()
        assert time.monotonic() - began < 25
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code != 503
