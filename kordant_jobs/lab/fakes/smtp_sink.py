"""An SMTP server that takes everything and keeps only a ledger: for benchmarks, where `fake.py` would be the slowest.

Run as a program, it prints its URL and runs until its stdin ends::

    python -m kordant_jobs.lab.fakes.smtp_sink LEDGER [ADDRESS]
"""

import asyncio
import sys
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

_END_OF_DATA = b"\r\n.\r\n"
_MESSAGE_ID = b"Message-ID: "
_ANSWERS = {
    b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}


class Sink(asyncio.Protocol):
    """One connection. A mail is in the ledger before its last dot is answered: its Message-ID and a hash of its body,
    a line a mail."""

    def __init__(self, ledger: BinaryIO) -> None:
        self._ledger = ledger
        self._read = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a server's always is
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every whole command, and every whole mail."""
        self._read += data
        answers = []
        while True:
            part, end, rest = self._read.partition(_END_OF_DATA if self._in_data else b"\r\n")
            if not end:
                break
            self._read = rest
            answers.append(self._take(part) if self._in_data else self._answer(part[:4].upper()))
        self._transport.write(b"".join(answers))

    def _answer(self, command: bytes) -> bytes:
        self._in_data = command == b"DATA"
        return _ANSWERS.get(command, b"250 2.0.0 OK\r\n")

    def _take(self, content: bytes) -> bytes:
        self._in_data = False
        message_id = content.partition(_MESSAGE_ID)[2].partition(b"\r\n")[0]
        body = content.partition(b"\r\n\r\n")[2]
        self._ledger.write(message_id + b" " + blake2b(body, digest_size=8).hexdigest().encode() + b"\n")
        self._ledger.flush()
        return b"250 2.0.0 OK\r\n"


async def _serve(ledger: Path, address: str = "127.0.0.1") -> None:
    with ledger.open("ab") as file:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Sink(file), address, 0)
        sys.stdout.write(f"smtp://{address}:{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await loop.run_in_executor(None, sys.stdin.read)
        server.close()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), *sys.argv[2:]))
