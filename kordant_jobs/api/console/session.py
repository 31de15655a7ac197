"""Sessions of the console: a signed cookie that names a token without its secret, and the codes of forms. Pure.

A session ends after `LASTS`, or when its token ends or is revoked. Nothing is kept of it on the server.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from kordant_jobs.store.people.keyring import Keyring

LASTS = timedelta(hours=12)
"""A working day. There is no shorter time-out: a page that is left open and read aloud is in use (WCAG 2.2.1)."""
_PURPOSE, _FORMS = "console-session", "console-form"


@dataclass(frozen=True, kw_only=True)
class Session:
    """The token that signed in, and until when that counts, in Unix seconds."""

    token_id: str
    until: int
    nonce: str


def begin(token_id: str, *, now: datetime) -> Session:
    """A new session of a token that was verified."""
    return Session(token_id=token_id, until=int((now + LASTS).timestamp()), nonce=secrets.token_urlsafe(12))


def seal(keyring: Keyring, session: Session) -> str:
    """As the cookie holds it."""
    body = f"{session.token_id}.{session.until}.{session.nonce}"
    return f"{body}.{keyring.sign(_PURPOSE, body.encode()).hex()}"


def opened(keyring: Keyring, cookie: str, *, now: datetime) -> Session | None:
    """The session of a cookie; None for one that is not ours or is over."""
    body, _, code = cookie.rpartition(".")
    if not hmac.compare_digest(code.encode(), keyring.sign(_PURPOSE, body.encode()).hex().encode()):
        return None
    token_id, until, nonce = body.split(".")
    return Session(token_id=token_id, until=int(until), nonce=nonce) if now.timestamp() < int(until) else None


def form_code(keyring: Keyring, cookie: str) -> str:
    """The code in every form: it cannot be guessed without the cookie."""
    return keyring.sign(_FORMS, cookie.encode()).hex()


def is_form_code(keyring: Keyring, cookie: str, code: str) -> bool:
    """True when a form came from a page of this cookie's."""
    return bool(cookie) and hmac.compare_digest(code.encode(), form_code(keyring, cookie).encode())
