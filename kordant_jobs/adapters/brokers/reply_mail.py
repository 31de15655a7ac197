"""A mail as it came, in the parts that matter: whose it may be, what it says, whether it is a bounce."""

import re
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parseaddr
from enum import StrEnum
from uuid import UUID

from kordant_jobs.adapters.brokers.mail_text import seen_texts
from kordant_jobs.adapters.brokers.mailbox import MAIL_MAX
from kordant_jobs.adapters.mail.bounces import outcome_in
from kordant_jobs.adapters.mail.replies import cause_of, enhanced_codes
from kordant_jobs.domain.notifications.receipts import Cause, ReceiptState
from kordant_jobs.domain.removals.brokers import FORM_HOSTS, registrable

BOUNCE_MAX = 200_000
"""Bytes of a bounce that are searched for what came back."""
_TOKEN = re.compile(r"\+([0-9a-f]{20})@")
_OURS = re.compile(r"<removal\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@")

DESKS = FORM_HOSTS | {
    "atlassian.net", "freshdesk.com", "freshservice.com", "gorgias.com", "helpscoutapp.com", "hubspot.com",
    "intercom-mail.com", "kayako.com", "salesforce.com", "service-now.com", "zohodesk.com",
}  # fmt: skip
"""Hosts of many companies' help desks: of these the whole host says whose a mail is."""


class Returned(StrEnum):
    """The outcome that a bounce tells."""

    DEAD = "dead"
    """There is no such address."""
    LOST = "lost"
    """Not delivered for another reason: a block list, a full mailbox, our own set-up."""
    PASSING = "passing"
    """Late, or delivered after all."""


@dataclass(frozen=True, kw_only=True)
class ReplyMail:
    """The content of a mail. `tokens` are those of our addresses that it was sent to, `answers` ids of messages of ours
    that it refers to, `texts` its text parts as they are seen."""

    message_id: str = field(repr=False)
    sender: str = field(repr=False)
    sender_domain: str
    subject: str = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)
    tokens: tuple[str, ...] = ()
    answers: tuple[UUID, ...] = ()
    is_automatic: bool = False
    is_cut: bool = False
    """It has more text than was read."""
    returned: Returned | None = None
    """Of a bounce."""

    @property
    def text(self) -> str:
        """All that it says."""
        return "\n\n".join(self.texts)


def read_mail(content: bytes) -> ReplyMail:
    """Read a mail, however broken. Never raises."""
    mail = message_from_bytes(content)  # the newer policies take ten times as long
    head = {name: _header(mail, name) for name in _HEADERS}
    to = " ".join(head[name] for name in ("to", "cc", "delivered-to", "x-original-to", "envelope-to"))
    refers = f"{head['in-reply-to']} {head['references']}"
    sender = parseaddr(head["from"])[1].lower()
    texts, is_cut = seen_texts(mail)
    returned = _returned(mail, sender, texts)
    if returned is not None:  # the mail that came back is enclosed, with its Message-ID
        body = content[:BOUNCE_MAX].decode("latin-1")
        refers += body
        to += " " + " ".join(address for _, address in getaddresses(re.findall(r"(?im)^(?:from|to):(.*)$", body)))
    return ReplyMail(
        message_id=head["message-id"].strip(),
        sender=sender,
        sender_domain=domain_of(sender.rpartition("@")[2]),
        subject=head["subject"][:500],
        texts=tuple(texts),
        tokens=tuple(dict.fromkeys(_TOKEN.findall(to.lower()))),
        answers=tuple(dict.fromkeys(UUID(one) for one in _OURS.findall(refers.lower()))),
        is_automatic=head["auto-submitted"].lower() not in {"", "no"} or bool(head["x-autoreply"]),
        is_cut=is_cut or len(content) >= MAIL_MAX,
        returned=returned,
    )


def domain_of(host: str) -> str:
    """The owner of a host: its registered domain, at a help desk of many companies the whole host.

    >>> domain_of("mail.spoken.com"), domain_of("spoken.zendesk.com")
    ('spoken.com', 'spoken.zendesk.com')
    """
    domain = registrable(host)
    return host.strip(".").lower() if domain in DESKS else domain


def _returned(mail: Message, sender: str, texts: list[str]) -> Returned | None:
    """The outcome that a bounce tells; None of another mail. A postmaster may also be a person who writes."""
    is_report = mail.get_content_type() == "multipart/report"
    if not is_report and not sender.startswith(("mailer-daemon@", "postmaster@")):
        return None
    try:
        outcome = outcome_in(mail)
    except Exception:  # noqa: BLE001 - what is no mail is no bounce
        outcome = None
    if outcome is not None:
        if outcome.state is not ReceiptState.FAILED:
            return Returned.PASSING
        return Returned.DEAD if outcome.cause is Cause.RECIPIENT else Returned.LOST
    words = re.split(r"(?im)^(message-id|received|return-path):", texts[0] if texts else "")[0]
    if not sender.startswith("mailer-daemon@") or not re.search(r"(?<![\d.])5\d\d(?![\d.])", words):
        return None
    return Returned.DEAD if cause_of(enhanced_codes(words), words) is Cause.RECIPIENT else Returned.LOST


_HEADERS = (
    "from", "to", "cc", "delivered-to", "x-original-to", "envelope-to", "subject", "message-id", "in-reply-to",
    "references", "auto-submitted", "x-autoreply",
)  # fmt: skip


def _header(mail: Message, name: str) -> str:
    """A header as text; one that cannot be decoded as it came."""
    raw = _clean(" ".join(str(one) for one in mail.get_all(name, []))[:4000])
    if "=?" not in raw:
        return " ".join(raw.split())
    try:
        return _clean(str(make_header(decode_header(raw))))
    except (ValueError, LookupError, MessageError):
        return raw


def _clean(text: str) -> str:
    """A text that can be written as UTF-8: odd character sets decode to halves of characters."""
    return text.encode("utf-8", "replace").decode("utf-8")
