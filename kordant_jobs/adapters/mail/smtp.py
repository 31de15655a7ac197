"""Mails to an SMTP server (RFC 5321), encrypted unless the server is this machine."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from email.utils import parseaddr
from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

from kordant_jobs.adapters.mail.replies import outcome_of
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.ports import Delivery, DeliveryOutcome, OutgoingMail

TIMEOUT_S = 60
"""How long one reply may take. RFC 5321 §4.5.3.2 allows 5 to 10 minutes; a relay that takes a minute is not well."""


_LOST = (smtplib.SMTPServerDisconnected, OSError)


@dataclass(frozen=True, kw_only=True)
class SmtpServer:
    """Where to deliver, and how. `starttls` False leaves the connection open to readers: this machine only."""

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
    """Read `smtp://user:password@host:587` (STARTTLS) or `smtps://host:465` (TLS from the start).

    STARTTLS is demanded, but for a server on this machine; `?starttls=no` gives it up for a network that you trust,
    and then no password may be given.

    Raises:
        SettingsError: it is no such URL. The text never repeats it, since it may hold a password.
    """
    problem = SettingsError(
        "KORDANT_SMTP_URL is no SMTP URL. Write smtp://user:password@host:587 or smtps://user:password@host:465; "
        "characters of the password that are not letters or digits as %XX."
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise problem from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/"):
        raise problem
    tls = parts.scheme == "smtps"
    told = parse_qs(parts.query).get("starttls", ["yes"])[0]
    starttls = not tls and told != "no" and not _is_this_machine(parts.hostname)
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
    """Delivers over one connection a batch; each mail has one recipient, so each has an answer of its own.

    A connection lost in the middle of a batch is made anew once for the mails that follow. If it was lost after the
    last dot of a mail, that mail may have been taken: it is deferred, and its Message-ID tells the copies apart.
    """

    def __init__(self, server: SmtpServer, *, sender: str, context: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._sender = parseaddr(sender)[1]
        self._context = context
        if "@" not in self._sender:
            raise SettingsError("KORDANT_MAIL_FROM is no sender. Write Kordant <alerts@example.com>.")

    def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
        """See `MailTransport.deliver`."""
        client = self._connect()
        try:
            for mail in mails:
                try:
                    accepted = self._announce(client, mail)
                except _LOST:  # nothing of this mail was taken: a server may end a connection after so many
                    client.close()
                    client = self._connect()
                    accepted = self._announce_again(client, mail)
                if accepted is not None:
                    yield accepted
                    continue
                try:
                    yield self._hand_over(client, mail)
                except _LOST:
                    client.close()
                    yield Delivery(mail_id=mail.id, outcome=DeliveryOutcome.DEFERRED, code="connection lost")
                    client = self._connect()
        finally:
            try:
                client.quit()
            except (smtplib.SMTPException, OSError):
                client.close()

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        try:
            context = self._context or ssl.create_default_context()
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
            raise SourceUnavailable(
                "the SMTP server refused our user and password. Correct KORDANT_SMTP_URL; mails stay queued."
            ) from None
        except (smtplib.SMTPException, OSError) as error:
            raise SourceUnavailable(
                f"the SMTP server cannot be used ({type(error).__name__}). Check the host, the port and the kind of "
                "encryption in KORDANT_SMTP_URL; mails stay queued."
            ) from None
        return client

    def _announce(self, client: smtplib.SMTP, mail: OutgoingMail) -> Delivery | None:
        """MAIL and RCPT. None when the server takes the mail so far, else what became of it."""
        options = []
        if not mail.recipient.isascii():
            if not client.has_extn("smtputf8"):
                no_utf8 = "the server takes no address outside ASCII"
                return Delivery(mail_id=mail.id, outcome=DeliveryOutcome.REFUSED, code=no_utf8)
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        client.command_encoding = "utf-8" if options else "ascii"
        code, text = client.mail(self._sender, options)
        if code < 300:
            code, text = client.rcpt(mail.recipient)
        return None if code < 300 else self._refused(client, mail, code, text)

    def _announce_again(self, client: smtplib.SMTP, mail: OutgoingMail) -> Delivery | None:
        try:
            return self._announce(client, mail)
        except _LOST:
            raise SourceUnavailable(
                "the SMTP server ends every connection. Look into its log; mails stay queued."
            ) from None

    def _hand_over(self, client: smtplib.SMTP, mail: OutgoingMail) -> Delivery:
        try:
            code, text = client.data(mail.content)
        except smtplib.SMTPDataError as error:
            code, text = int(error.args[0]), _bytes(error.args[1])
        if code >= 300:
            return self._refused(client, mail, code, text)
        outcome, kept = outcome_of(code, text)
        return Delivery(mail_id=mail.id, outcome=outcome, code=kept)

    @staticmethod
    def _refused(client: smtplib.SMTP, mail: OutgoingMail, code: int, text: bytes) -> Delivery:
        """A refused mail is reset, so that the next starts afresh."""
        if code == 421:
            raise smtplib.SMTPServerDisconnected("421")
        client.rset()
        outcome, kept = outcome_of(code, text)
        return Delivery(mail_id=mail.id, outcome=outcome, code=kept)


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
