"""An SMTP server on loopback for tests and benchmarks: takes mails, keeps a ledger, answers as configured.

Needs aiosmtpd, which the development group of the project installs.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, kw_only=True)
class Received:
    """One mail as it arrived."""

    recipient: str
    content: bytes


@dataclass(kw_only=True)
class Answers:
    """The server's answers instead of 250; each gets the recipient, and the number of times it was named before."""

    to_rcpt: Callable[[str, int], str | None] = lambda _recipient, _times: None
    to_data: Callable[[str, int], str | None] = lambda _recipient, _times: None


@dataclass(kw_only=True)
class FakeSmtpServer:
    """Runs while entered. `received` is the truth about what was taken, `connections` how many were opened.

    `pipelining` says that it takes several commands in one write. `hang_up_after` is the number of mails after which a
    connection is closed without a reply. With `tls` it takes mails only after STARTTLS.
    """

    answers: Answers = field(default_factory=Answers)
    pipelining: bool = True
    hang_up_after: int | None = None
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    _times: dict[str, int] = field(default_factory=dict)
    _taken: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> FakeSmtpServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(
            lambda: SMTP(
                self,
                hostname="127.0.0.1",
                enable_SMTPUTF8=True,
                loop=self._loop,
                tls_context=self.tls,
                require_starttls=self.tls is not None,
            ),
            "127.0.0.1",
            0,
        )

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    @property
    def url(self) -> str:
        """Its address, for KORDANT_SMTP_URL."""
        return f"smtp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Count a connection."""
        session.host_name = hostname
        with self._lock:
            self.connections += 1
        return [*responses[:-1], "250-PIPELINING", responses[-1]] if self.pipelining else responses

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Answer RCPT as configured."""
        times = self._times.get(address, 0)
        self._times[address] = times + 1
        if answer := self.answers.to_rcpt(address, times):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Take the mail, or answer as configured."""
        address = envelope.rcpt_tos[0]
        if answer := self.answers.to_data(address, self._times[address] - 1):
            return answer
        content = envelope.content
        assert isinstance(content, bytes)  # noqa: S101 - decode_data is off
        with self._lock:
            self.received.append(Received(recipient=address, content=content))
        taken = self._taken[id(session)] = self._taken.get(id(session), 0) + 1
        if self.hang_up_after and taken >= self.hang_up_after and server.transport:
            server.transport.close()
        return "250 2.0.0 OK"
