"""Reads bounces: delivery status notifications (RFC 3464, RFC 6533) and the other forms that servers send. Pure.

A bounce of a notification counts only when it encloses or quotes one of our Message-IDs: addresses in it are never
trusted.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes, message_from_string
from email.message import Message
from uuid import UUID

from flufl.bounce import all_failures

from kordant_jobs.adapters.mail.replies import Enhanced, cause_of, enhanced_codes
from kordant_jobs.domain.notifications.receipts import Cause, Receipt, ReceiptState, Remedy

logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL + 1)
"""It writes tracebacks over broken mails, with what is in them."""


class NoReceipt(ValueError):
    """The text is not a receipt, or is one of a message that we did not send."""


BOUNCE_MAX_BYTES = 1 << 20
"""The most bytes of a bounce that are read. It encloses the mail that came back; ours are far smaller."""
PARTS_MAX = 50
"""The most parts and boundaries of a bounce that is read; real ones have three. The time of `email` grows with the
square of the depth."""

_ID = re.compile(
    r"^message-id:\s{0,9}<?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@([^>\s]{1,255})", re.IGNORECASE | re.MULTILINE
)
_ENCLOSED = re.compile(r"^message-id:", re.IGNORECASE | re.MULTILINE)
"""Where the mail that came back begins, at the latest."""
_BOUNDARY = re.compile(rb"boundary", re.IGNORECASE)
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_SMTP_CODE = re.compile(r"(?<![\d.])([245])\d\d(?![\d.])")

_FAILED = frozenset({"failed", "failure", "expired", "bounced", "undeliverable", "undelivered", "rejected", "dropped"})
"""`failed` is from the standard; known providers send many of the others."""
_LATE = frozenset({"delayed", "deferred"})
_TAKEN = {
    "delivered": ReceiptState.DELIVERED,
    "relayed": ReceiptState.SENT,
    "expanded": ReceiptState.SENT,
}
_REMEDIES = {Cause.RECIPIENT: Remedy.SUPPRESS, Cause.RATE: Remedy.RETRY}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a mail, by its bounce. `state` is None while the server goes on trying."""

    state: ReceiptState | None
    code: str = ""
    cause: Cause = Cause.UNKNOWN
    remedy: Remedy = Remedy.OPERATOR


def read_bounce(content: bytes, *, domain: str) -> Receipt | None:
    """The receipt in a bounce of a mail from our `domain`; None when it only reports a delay.

    Raises:
        NoReceipt: it is not a bounce, or not one of a mail of ours.
    """
    if len(_BOUNDARY.findall(content)) > PARTS_MAX:
        raise NoReceipt
    try:
        return _read(message_from_bytes(content[:BOUNCE_MAX_BYTES]), domain)
    except NoReceipt:
        raise
    except Exception as error:
        raise NoReceipt from error


def _read(mail: Message, domain: str) -> Receipt | None:
    message_id = next((found for text in map(_text, _parts(mail)) if (found := _about(text, domain))), None)
    if message_id is None:
        raise NoReceipt
    outcome = outcome_in(mail)
    if outcome is None:
        raise NoReceipt
    if outcome.state is None:
        return None
    return Receipt(
        message_id=message_id, state=outcome.state, code=outcome.code, cause=outcome.cause, remedy=outcome.remedy
    )


def outcome_in(mail: Message) -> Outcome | None:
    """The outcome that a bounce tells; None when a mail is not a bounce of a known form."""
    parts = _parts(mail)
    blocks = [block for part in parts if part.get_content_type() in _STATUS_TYPES for block in _blocks(part)]
    read = [outcome for block in blocks if (outcome := _of_block(block))]
    if lost := next((one for one in read if one.state is ReceiptState.FAILED), None):
        return lost
    if read:
        return read[0]
    if any(_action(block) in _LATE for block in blocks):
        return Outcome(state=None)
    return _in_other_words(mail, parts)


def _parts(mail: Message) -> list[Message]:
    return [part for part, _ in zip(mail.walk(), range(PARTS_MAX), strict=False)]


def _text(part: Message) -> str:
    """A part's own text: the headers of a mail, the content of a text."""
    if part.get_content_maintype() == "multipart":
        return ""
    if part.get_content_maintype() == "message":
        inner = part.get_payload()
        first = inner[0] if isinstance(inner, list) and inner else None
        return (_headers(first) if isinstance(first, Message) else "") + "\n\n" + _content(part)
    return _content(part)


def _headers(mail: Message) -> str:
    return "\n".join(f"{name}: {' '.join(str(value).split())}" for name, value in mail.items())


def _content(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _about(text: str, domain: str) -> UUID | None:
    found = next((one for one in _ID.finditer(text) if one[2].lower() == domain.lower()), None)
    return UUID(found[1]) if found else None


def _blocks(part: Message) -> Iterator[Message]:
    """The groups of fields of a delivery status: one about the mail, then one for each recipient. `email` itself splits
    only those of `message/delivery-status`."""
    inner = part.get_payload()
    blocks = [one for one in inner if isinstance(one, Message)] if isinstance(inner, list) else []
    texts = [f"{_headers(one)}\n\n{_content(one)}" for one in blocks]  # `as_string` folds: a square of a line's length
    text = "\n\n".join(texts) or _content(part)
    for block in re.split(r"\r?\n[ \t]*\r?\n", text):
        if block.strip():
            yield message_from_string(block.strip() + "\n\n")


def _action(block: Message) -> str:
    words = str(block.get("Action", "")).split()
    return words[0].strip(";,.").lower() if words else ""


def _of_block(block: Message) -> Outcome | None:
    """The outcome in the fields about one recipient; None when they report nothing final."""
    action = _action(block)
    status = enhanced_codes(str(block.get("Status", "")))
    if action in _TAKEN:
        return Outcome(state=_TAKEN[action], code=_code(status))
    gave_up = action in _FAILED or (not action and any(kind == 5 for kind, _, _ in status))
    if not gave_up:
        return None
    words = " ".join(str(value) for value in block.get_all("Diagnostic-Code", []))
    codes = [*status, *enhanced_codes(words)]
    cause = cause_of(codes, words)
    soft = _SMTP_CODE.search(words)
    if cause is Cause.RECIPIENT and (action == "expired" or (soft and soft[1] != "5")):
        cause = Cause.UNKNOWN  # given up after trying, or refused for the time being: neither says that it is dead
    if cause is Cause.RATE and (action == "expired" or (status and status[0][0] == 4)):
        cause = Cause.UNKNOWN  # the server has tried for days: sending it again at once changes nothing
    return _lost(_code(status or codes), cause)


def _code(codes: list[Enhanced]) -> str:
    return f"bounce {'.'.join(map(str, codes[0]))}" if codes else "bounce"


def _lost(code: str, cause: Cause) -> Outcome:
    return Outcome(state=ReceiptState.FAILED, code=code, cause=cause, remedy=_REMEDIES.get(cause, Remedy.OPERATOR))


def _in_other_words(mail: Message, parts: Sequence[Message]) -> Outcome | None:
    """The outcome in a bounce of a non-standard form. flufl.bounce knows the forms of qmail, Exim, Exchange and others;
    it decides whether this is one and whether it is final. Our id in it identifies the mail; its addresses are not
    used."""
    late, lost = all_failures(mail)
    if lost:
        words = " ".join(_content(part) for part in parts if part.get_content_type() == "text/plain")
        words = _ENCLOSED.split(words)[0]
        return _lost("bounce", cause_of(enhanced_codes(words), words))
    return Outcome(state=None) if late else None
