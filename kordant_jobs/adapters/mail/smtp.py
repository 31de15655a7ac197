"""Sends mails to an SMTP server (RFC 5321), encrypted unless the server is this machine."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from email.utils import parseaddr
from ipaddress import ip_address
from itertools import islice
from urllib.parse import parse_qs, unquote, urlsplit

from kordant_jobs.adapters.mail.replies import outcome_of
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.ports import Delivery, DeliveryOutcome, OutgoingMail

TIMEOUT_S = 60
"""Seconds that one reply may take. RFC 5321 §4.5.3.2 allows 5 to 10 minutes; a relay that needs a minute has a
problem."""


_LINE_WITH_DOT = re.compile(rb"^\.", re.MULTILINE)
"""A dot at the start of a line, which is doubled (RFC 5321 §4.5.2)."""

_AUTH_WANTED = frozenset({530, 534, 535, 538})
"""Reply codes about our log-in, not about the mail (RFC 4954 §6)."""

_LOST = (smtplib.SMTPServerDisconnected, OSError)


@dataclass(frozen=True, kw_only=True)
class SmtpServer:
    """The server that mails are delivered to, and how to connect. With `starttls` False the connection is unencrypted:
    only for this machine."""

    host: str
    port: int
    tls: bool
    starttls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_smtp_url(url: str) -> SmtpServer:
    """Read `smtp://user:password@host:587` (STARTTLS) or `smtps://host:465` (TLS from the start). STARTTLS is required,
    except for a server on this machine; `?starttls=no` disables it for a network that you trust, and then no password
    may be given.

    Raises:
        SettingsError: it is no such URL. The text never repeats it, since it may hold a password.
    """
    problem = SettingsError(
        "KORDANT_SMTP_URL is no SMTP URL. Write smtp://mail.example:587 or smtps://mail.example:465; a user and "
        "password go before the host, as user:password and an at sign. Write characters of the password that are not "
        "letters or digits as %XX."
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise problem from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/"):
        raise problem
    tls = parts.scheme == "smtps"
    option = parse_qs(parts.query).get("starttls", ["yes"])[0]
    starttls = not tls and option != "no" and not _is_this_machine(parts.hostname)
    if parts.password and not (tls or starttls or _is_this_machine(parts.hostname)):
        raise SettingsError("KORDANT_SMTP_URL would send a password in clear. Leave out ?starttls=no or the password.")
    return SmtpServer(
        host=parts.hostname,
        port=port or (465 if tls else 587),
        tls=tls,
        starttls=starttls,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


class SmtpTransport:
    """Delivers over one connection per batch; each mail has one recipient, so each gets an answer of its own.

    Where the server allows it (PIPELINING, RFC 2920), a mail is sent in one write with the envelope of the next one:
    one round trip for each mail, during which the mail after that is composed. A connection lost in the middle of a
    batch is opened again for the following mails; a mail whose envelope loses it twice waits, and does not stop the
    others. A mail whose connection was lost after its last dot may have been accepted: its outcome is uncertain, and
    its Message-ID identifies copies.
    """

    def __init__(self, server: SmtpServer, *, sender: str, context: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._sender = parseaddr(sender)[1]
        self._context = context
        if "@" not in self._sender:
            raise SettingsError("KORDANT_MAIL_FROM is no sender. Write a name, then the address in angle brackets.")

    def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
        """See `MailTransport.deliver`. Mails are taken from `mails` at most two ahead of the one being sent."""
        ahead = _Ahead(mails)
        accepted: OutgoingMail | None = None
        following = ahead.take()
        if following is None:
            return
        talk = self._connect()
        losses = _Losses()
        try:
            while accepted or following:
                if following and (why := talk.why_not(following)):
                    yield Delivery(
                        mail_id=following.id, outcome=DeliveryOutcome.REFUSED, code=why, is_handed_over=False
                    )
                    following = ahead.take()
                    continue
                sent, accepted = accepted, None
                reply, refusal = None, None
                try:
                    talk.say(sent, following)
                    ahead.fill()
                    if sent:
                        reply = talk.reply()
                        yield _delivery(sent, reply)
                    if following:
                        refusal = talk.refusal()
                except _LOST:
                    talk.close()
                    if sent and reply is None:
                        yield Delivery(mail_id=sent.id, outcome=DeliveryOutcome.UNCERTAIN, code="connection lost")
                    elif following and losses.are_many():
                        yield Delivery(
                            mail_id=following.id,
                            outcome=DeliveryOutcome.DEFERRED,
                            code="smtp 421",
                            is_handed_over=False,
                        )
                        following = ahead.take()
                    if following:
                        losses.check()
                        talk = self._connect()
                    continue
                losses = _Losses()
                if following and refusal:
                    yield replace(_delivery(following, refusal), is_handed_over=False)
                else:
                    accepted = following
                following = ahead.take()
        finally:
            talk.end()

    def _connect(self) -> _Talk:
        server = self._server
        try:
            if (server.tls or server.starttls) and self._context is None:
                self._context = ssl.create_default_context()  # a tenth of a second
            context = self._context
            client = (
                smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
                if server.tls
                else smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
            )
            client.ehlo_or_helo_if_needed()
            if server.starttls:
                client.starttls(context=context)
                client.ehlo()
            if server.user:
                client.login(server.user, server.password or "")
        except smtplib.SMTPAuthenticationError:
            raise SettingsError(
                "the SMTP server refused our user and password. Correct KORDANT_SMTP_URL; mails stay queued."
            ) from None
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            raise SourceUnavailable(
                f"the SMTP server cannot be used ({type(error).__name__}). Check the host, the port and the kind of "
                "encryption in KORDANT_SMTP_URL; mails stay queued."
            ) from None
        return _Talk(client, self._sender)


TRIES_MOST = 2
"""The most connections that may be lost at the envelope of one mail. The first may have ended for another reason (a
server may end one after some mails). Then the mail waits, and the batch continues without it."""

LOST_IN_A_ROW = 5
"""The consecutive mails without a surviving connection after which the server is at fault."""


@dataclass
class _Losses:
    """The connections lost since the last answer to a mail."""

    of_this_mail: int = 0
    mails: int = 0

    def are_many(self) -> bool:
        """Count one more lost connection at the envelope of a mail. Returns whether the batch continues without that
        mail."""
        self.of_this_mail += 1
        if self.of_this_mail < TRIES_MOST:
            return False
        self.of_this_mail = 0
        self.mails += 1
        return True

    def check(self) -> None:
        """Raise an error when the server is at fault, not a mail.

        Raises:
            SourceUnavailable: no connection survived the last mails.
        """
        if self.mails >= LOST_IN_A_ROW:
            raise SourceUnavailable("the SMTP server ends every connection. Check its log; mails stay queued.")


class _Ahead:
    """The mails, of which one may be taken ahead of its turn."""

    def __init__(self, mails: Iterable[OutgoingMail]) -> None:
        self._mails = iter(mails)
        self._one: list[OutgoingMail] = []

    def fill(self) -> None:
        if not self._one:
            self._one.extend(islice(self._mails, 1))

    def take(self) -> OutgoingMail | None:
        self.fill()
        return self._one.pop() if self._one else None


def _as_data(content: bytes) -> bytes:
    """A mail as it is sent after DATA: dots at the start of lines are doubled, and the final dot is on its own line;
    after an unfinished last line the server would wait for more (RFC 5321 §4.1.1.4, §4.5.2).

    >>> _as_data(b"Subject: x\\r\\n\\r\\n.a")
    b'Subject: x\\r\\n\\r\\n..a\\r\\n.\\r\\n'
    """
    ended = content if content.endswith(b"\r\n") else content + b"\r\n"
    return _LINE_WITH_DOT.sub(b"..", ended) + b".\r\n"


class _Talk:
    """One connection. Commands are collected until their replies are read, in groups where the server allows it."""

    def __init__(self, client: smtplib.SMTP, sender: str) -> None:
        self._client = client
        self._sender = sender
        self._grouped = client.has_extn("pipelining")
        self._utf8 = client.has_extn("smtputf8")
        self._waiting: deque[bytes] = deque()
        self._unread = 0
        self._broken_off = False
        """The server keeps a refused mail's envelope: it is reset before the next mail."""
        self._in_data = False
        """The server takes what comes next for a mail's content."""

    def why_not(self, mail: OutgoingMail) -> str | None:
        """The reason why this server cannot receive a mail at all; None: it can."""
        if not mail.recipient.isprintable() or set(" <>") & set(mail.recipient):
            return "its recipient is no address"
        if not (mail.recipient.isascii() or self._utf8):
            return "the server takes no address outside ASCII"
        return None

    def say(self, content: OutgoingMail | None, envelope: OutgoingMail | None) -> None:
        """Send the content of the accepted mail, and the envelope of the next one."""
        said = [] if content is None else [_as_data(content.content)]
        if envelope is not None:
            if self._broken_off:
                said.append(b"RSET\r\n")
            said += self._envelope(envelope)
        self._unread += len(said)
        if self._grouped:
            self._client.send(b"".join(said))
        else:
            self._waiting.extend(said)

    def _envelope(self, mail: OutgoingMail) -> list[bytes]:
        options = "" if mail.recipient.isascii() else " SMTPUTF8 BODY=8BITMIME"
        words = (f"MAIL FROM:<{mail.sender or self._sender}>{options}", f"RCPT TO:<{mail.recipient}>", "DATA")
        return [f"{one}\r\n".encode() for one in words]

    def reply(self) -> tuple[int, bytes]:
        """The next reply."""
        if self._waiting:
            self._client.send(self._waiting.popleft())
        code, text = self._client.getreply()
        self._unread -= 1
        self._in_data = code == 354
        if code == 421:
            raise smtplib.SMTPServerDisconnected("421")
        if code in _AUTH_WANTED:
            raise SettingsError(
                f"the SMTP server wants a user and password or encryption first (smtp {code}). Correct "
                "KORDANT_SMTP_URL; mails stay queued."
            )
        return code, text

    def refusal(self) -> tuple[int, bytes] | None:
        """The reply that refuses the mail of the last envelope; None when its content may be sent."""
        if self._broken_off:
            self.reply()
        replies = [self.reply() for _ in range(3)]
        refused = next((one for one in replies if one[0] >= 400), None)
        self._broken_off = refused is not None
        if refused and self._in_data:  # a server may accept content without recipients (RFC 2920 §3.1)
            self._client.send(b".\r\n")
            self._unread += 1
            self.reply()
        elif not refused and not self._in_data:
            raise smtplib.SMTPServerDisconnected("DATA was not answered by 354")
        return refused

    def close(self) -> None:
        """Drop the connection."""
        self._client.close()

    def end(self) -> None:
        """End the session politely where possible; a mail whose envelope was sent is not sent."""
        if self._unread or self._in_data:
            self.close()
            return
        try:
            self._client.quit()
        except (smtplib.SMTPException, OSError):
            self.close()


def _delivery(mail: OutgoingMail, reply: tuple[int, bytes]) -> Delivery:
    outcome, code, cause = outcome_of(*reply)
    return Delivery(mail_id=mail.id, outcome=outcome, code=code, cause=cause)
