"""Tokens of subscribers: signed, short-lived, stored nowhere. A service requests one, and gives it to the subscriber's
app.

A token is a JWT signed with Ed25519 (EdDSA). It names the subscriber and the service that requested it. Rights are
looked up at each use, so a token ends with its subscription or service. Pure.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

TYPE, AUDIENCE, ALGORITHM = "kordant-subscriber+jwt", "kordant-jobs:subscriber", "EdDSA"
LONGEST_S = 900
"""The longest life of a token, in seconds. It cannot be revoked; it only ends earlier with its subscription or
service."""
TEXT_MAX = 2000


@dataclass(frozen=True, kw_only=True)
class SubscriberToken:
    """The subscriber, the service that requested it, and its expiry, to the second."""

    subscriber_id: UUID
    service_id: str
    expires_at: datetime


def sign(token: SubscriberToken, key: Ed25519PrivateKey) -> str:
    """The signed token as text."""
    claims = {"aud": AUDIENCE, "sub": str(token.subscriber_id), "act": token.service_id,
              "exp": int(token.expires_at.timestamp())}  # fmt: skip
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"typ": TYPE})


def read(text: str, key: Ed25519PublicKey, *, now: datetime) -> SubscriberToken | None:
    """The token in a signed text; None when it is not ours, or has expired.

    >>> from datetime import timedelta
    >>> key, now = Ed25519PrivateKey.generate(), datetime(2026, 12, 1, tzinfo=UTC)
    >>> until = now + timedelta(minutes=15)
    >>> token = SubscriberToken(subscriber_id=UUID(int=1), service_id="service:app", expires_at=until)
    >>> written = sign(token, key)
    >>> read(written, key.public_key(), now=now) == token, read(written, key.public_key(), now=until)
    (True, None)
    >>> read(written, Ed25519PrivateKey.generate().public_key(), now=now)
    """
    if len(text) > TEXT_MAX or not text.isascii() or text.count(".") != 2:
        return None
    required = {"require": ["aud", "sub", "act", "exp"], "verify_exp": False}  # the time is the caller's `now`
    try:
        if jwt.get_unverified_header(text).get("typ") != TYPE:
            return None
        claims = jwt.decode(text, key, algorithms=[ALGORITHM], audience=AUDIENCE, options=required)  # type: ignore[arg-type]
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        token = SubscriberToken(subscriber_id=UUID(claims["sub"]), service_id=claims["act"], expires_at=expires_at)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return token if isinstance(token.service_id, str) and now < token.expires_at else None
