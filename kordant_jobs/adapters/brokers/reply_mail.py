"""A mail as it came, in the parts that matter: whose it may be, what it says. Attachments are never opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parseaddr
from html import unescape
from uuid import UUID

from kordant_jobs.domain.removals.brokers import registrable

TEXT_MAX = 200_000
PARTS_MAX = 50
_TOKEN = re.compile(r"\+([0-9a-f]{20})@")
_OURS = re.compile(r"<removal\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@")


@dataclass(frozen=True, kw_only=True)
class ReplyMail:
    """The content of a mail. `tokens` are those of our addresses that it was sent to, `answers` ids of messages of ours
    that it refers to."""

    message_id: str = field(repr=False)
    sender_domain: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    tokens: tuple[str, ...] = ()
    answers: tuple[UUID, ...] = ()
    is_automatic: bool = False
    is_bounce: bool = False
    is_hard: bool = True
    """Of a bounce: whether the address is dead for good (5.1.x), not only busy or full."""


def read_mail(content: bytes) -> ReplyMail:
    """Read a mail, however broken. Never raises."""
    mail = message_from_bytes(content)  # the newer policies take ten times as long
    head = {name: _header(mail, name) for name in _HEADERS}
    to = " ".join(head[name] for name in ("to", "cc", "delivered-to", "x-original-to", "envelope-to"))
    refers = f"{head['in-reply-to']} {head['references']}"
    is_bounce = mail.get_content_type() == "multipart/report" and "delivery-status" in content[:20_000].decode(
        "latin-1"
    )
    body = content.decode("latin-1")[:TEXT_MAX]
    sender = parseaddr(head["from"])[1]
    is_bounce = is_bounce or sender.lower().startswith(("mailer-daemon@", "postmaster@"))
    if is_bounce:  # the mail that came back is enclosed, with its Message-ID
        refers += body
        to += " " + " ".join(address for _, address in getaddresses(re.findall(r"(?im)^(?:from|to):(.*)$", body)))
    return ReplyMail(
        message_id=head["message-id"].strip(),
        sender_domain=registrable(sender.rpartition("@")[2]),
        subject=head["subject"][:500],
        text=_text(mail),
        tokens=tuple(dict.fromkeys(_TOKEN.findall(to.lower()))),
        answers=tuple(dict.fromkeys(UUID(one) for one in _OURS.findall(refers.lower()))),
        is_automatic=head["auto-submitted"].lower() not in {"", "no"} or bool(head["x-autoreply"]),
        is_bounce=is_bounce,
        is_hard=not is_bounce or re.search(r"\b5\.[01]\.[0-9]+|\b55[0134]\b", body) is not None,
    )


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


def _text(mail: Message) -> str:
    """The first text part, else the first HTML part without its tags."""
    found: dict[str, str] = {}
    for number, part in enumerate(mail.walk()):
        kind = part.get_content_type()
        if number >= PARTS_MAX or part.get_content_disposition() == "attachment" or kind in found:
            continue
        if kind in {"text/plain", "text/html"}:
            raw = part.get_payload(decode=True)
            content = raw if isinstance(raw, bytes) else b""
            try:
                found[kind] = _clean(content.decode(part.get_content_charset("utf-8"), "replace")[:TEXT_MAX])
            except (LookupError, ValueError):
                found[kind] = content.decode("utf-8", "replace")[:TEXT_MAX]
    if found.get("text/plain", "").strip():
        return found["text/plain"]
    return _without_tags(found.get("text/html", ""))


def _without_tags(text: str) -> str:
    """HTML as text; a link's address stays beside its words.

    >>> _without_tags('<p>Please <a href="https://x.com/c">confirm</a>.</p><blockquote>your letter</blockquote>')
    'Please confirm https://x.com/c .'
    """
    text = re.sub(r"(?is)<(script|style|head|blockquote)\b.*?(</\1>|$)", " ", text)
    text = re.sub(r"""(?is)<a\b[^<>]*?href\s*=\s*["']?(https?://[^"'\s<>]+)[^<>]*>(.*?)</a>""", r"\2 \1 ", text)
    text = re.sub(r"(?i)<(br|/p|/div|/li|/tr|/h\d)\b[^<>]*>", "\n", text)
    text = unescape(re.sub(r"<[^<>]*>", "", text))
    return re.sub(r"[ \t]+", " ", text).strip()
