"""An IMAP server on loopback for tests: one account, one INBOX, the commands of RFC 3501 that reading mails needs."""

from __future__ import annotations

import re
import socketserver
import threading
from dataclasses import dataclass, field
from datetime import date, datetime
from types import TracebackType


@dataclass(kw_only=True)
class StoredMail:
    """One mail of the INBOX."""

    content: bytes
    came_on: date
    flags: set[str] = field(default_factory=set)


@dataclass(kw_only=True)
class FakeImapServer:
    """Runs while entered. `mails` is the truth about the INBOX, by UID; `refuses` are commands answered with NO, and
    `hangs_up_at` one at which the connection ends."""

    password: str = "imap password"  # noqa: S105 - of a fake
    mails: dict[int, StoredMail] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    hangs_up_at: str | None = None
    logins: int = 0

    def __enter__(self) -> FakeImapServer:
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _Dialogue(fake, self).run()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The setting that reaches it."""
        return f"imap://removals:{self.password.replace(' ', '%20')}@127.0.0.1:{self._server.server_address[1]}"

    def put(self, content: bytes, came_on: date) -> int:
        """A mail arrives; its UID."""
        uid = max(self.mails, default=40) + 1
        self.mails[uid] = StoredMail(content=content, came_on=came_on)
        return uid


class _Dialogue:
    """One connection."""

    def __init__(self, fake: FakeImapServer, handler: socketserver.StreamRequestHandler) -> None:
        self._fake, self._in, self._out = fake, handler.rfile, handler.wfile

    def run(self) -> None:
        self._say(b"* OK ready")
        while line := self._in.readline():
            tag, _, rest = line.decode().rstrip("\r\n").partition(" ")
            name = re.match(r"(UID )?\w+", rest, re.IGNORECASE)
            command = name.group(0).upper() if name else ""
            if command == self._fake.hangs_up_at:
                return
            status = "NO" if command in self._fake.refuses else self._answer(command, rest[len(command) :].strip())
            self._say(f"{tag} {status} done".encode())
            if command == "LOGOUT":
                return

    def _say(self, line: bytes) -> None:
        self._out.write(line + b"\r\n")

    def _answer(self, command: str, rest: str) -> str:
        mails = self._fake.mails
        if command == "CAPABILITY":
            self._say(b"* CAPABILITY IMAP4rev1")
        elif command == "LOGIN":
            self._fake.logins += 1
            return "OK" if rest.partition(" ")[2].strip('"') == self._fake.password else "NO"
        elif command == "SELECT":
            self._say(f"* {len(mails)} EXISTS".encode())
        elif command == "UID SEARCH":
            found = " ".join(str(uid) for uid, mail in mails.items() if _fits(mail, rest.split()))
            self._say(f"* SEARCH {found}".rstrip().encode())
        elif command == "UID FETCH":
            uid = int(rest.split(maxsplit=1)[0])
            if uid in mails:
                content = mails[uid].content
                self._say(b"* 1 FETCH (UID %d BODY[]<0> {%d}\r\n%b)" % (uid, len(content), content))
        elif command == "UID STORE":
            uid, flags = int(rest.split(maxsplit=1)[0]), re.findall(r"\\\w+", rest)
            mails[uid].flags |= set(flags)
        elif command == "EXPUNGE":
            for uid in [uid for uid, mail in mails.items() if r"\Deleted" in mail.flags]:
                del mails[uid]
        elif command != "LOGOUT":
            return "BAD"
        return "OK"


def _fits(mail: StoredMail, criteria: list[str]) -> bool:
    given = iter(criteria)
    for one in given:
        if one == "BEFORE":
            if mail.came_on >= datetime.strptime(next(given), "%d-%b-%Y").date():  # noqa: DTZ007 - a day
                return False
        else:
            flag = "\\" + one.removeprefix("UN").title()
            if (flag in mail.flags) is one.startswith("UN"):
                return False
    return True
