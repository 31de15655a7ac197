"""Receipts: signed statements of what was checked for a subscription in a period, each chained to the one before.

A receipt is a JWS in its compact form (RFC 7515), signed with Ed25519 (RFC 8037), so that anyone with the public key
can verify it without us. It has ids, days, counts and verdicts; no name and no identifier.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

TYPE = "kordant-receipt+jwt"
ISSUER = "kordant-jobs"
ALGORITHM = "EdDSA"
TEXT_MAX = 100_000
"""The most characters of a receipt; ours have fewer than 3,000."""

PublicKeys = Mapping[str, Ed25519PublicKey]
"""Public keys by key id."""


class ReceiptRefused(ValueError):
    """The text is not a receipt of ours, or was changed after signing; the message tells which."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceChecked(_Strict):
    """The last verdict of one source in the period, and the number of days on which it was asked."""

    source: str
    verdict: str
    reason: str | None = None
    days: int
    last: date | None = None


class Receipt(_Strict):
    """The record of what was checked. `number` counts a subscription's receipts from 1; `previous` is the fingerprint
    of the one before, empty for the first. `until` is the first day not covered."""

    iss: str = ISSUER
    iat: int
    sub: UUID
    number: int = Field(ge=1)
    previous: str
    period: str
    since: date
    until: date
    verdict: str
    items: int = Field(ge=0)
    sources: tuple[SourceChecked, ...]

    @property
    def issued_at(self) -> datetime:
        """The time of signing, in UTC."""
        return datetime.fromtimestamp(self.iat, UTC)


def fingerprint(text: str) -> str:
    """The name of a signed receipt: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:32]


def in_groups(name: str) -> str:
    """A fingerprint in printed form, in groups of four.

    >>> in_groups("0123456789abcdef")
    '0123 4567 89ab cdef'
    """
    return " ".join(name[place : place + 4] for place in range(0, len(name), 4))


def key_id(key: Ed25519PublicKey) -> str:
    """The key's id: its thumbprint (RFC 7638)."""
    return _b64(hashlib.sha256(json.dumps(_jwk(key), sort_keys=True, separators=(",", ":")).encode()).digest())


def sign(receipt: Receipt, key: Ed25519PrivateKey) -> str:
    """The signed receipt, as one line. The same receipt and key give the same line."""
    headers = {"typ": TYPE, "kid": key_id(key.public_key())}
    return jwt.encode(receipt.model_dump(mode="json"), key, algorithm=ALGORITHM, headers=headers)


def verify(text: str, keys: PublicKeys) -> Receipt:
    """Verify a signed receipt and return its content.

    Raises:
        ReceiptRefused: the text is not a receipt, was changed or cut off, or is signed with a key that is not among
        `keys`.
    """
    text = text.strip()
    if len(text) > TEXT_MAX or not text.isascii() or text.count(".") != 2:
        raise ReceiptRefused("it is no receipt: a receipt is one line of three parts with two dots between them")
    try:
        header = jwt.get_unverified_header(text)
    except jwt.PyJWTError:
        raise ReceiptRefused("it is no receipt, or its first part was damaged") from None
    if header.get("typ") != TYPE or header.get("alg") != ALGORITHM:
        raise ReceiptRefused(f"it is no receipt: {TYPE} signed by {ALGORITHM} is wanted")
    signature = text.rpartition(".")[2]
    if _b64(base64.urlsafe_b64decode(signature + "==")) != signature:  # bits that stand for nothing were set
        raise ReceiptRefused("its signature does not fit: it was changed after it was signed")
    key = keys.get(str(header.get("kid")))
    if key is None:
        raise ReceiptRefused(f"it names the key {header.get('kid')}, which is not among those given")
    try:
        claims = jwt.decode(text, key, algorithms=[ALGORITHM], options={"verify_iat": False})
    except jwt.PyJWTError:
        raise ReceiptRefused("its signature does not fit: it was changed or cut off after it was signed") from None
    try:
        return Receipt.model_validate_json(json.dumps(claims))
    except ValidationError:
        raise ReceiptRefused("it is signed, but says something that this version does not know") from None


def verify_chain(texts: Sequence[str], keys: PublicKeys) -> list[Receipt]:
    """Receipts of one subscription in their order: each is verified, and names the one before.

    Raises:
        ReceiptRefused: one is refused, is another subscription's, or one between them is missing.
    """
    found: list[Receipt] = []
    for place, text in enumerate(texts, start=1):
        try:
            receipt = verify(text, keys)
        except ReceiptRefused as refusal:
            raise ReceiptRefused(f"receipt {place}: {refusal}") from None
        if found:
            before = found[-1]
            if receipt.sub != before.sub:
                raise ReceiptRefused(f"receipt {place} is another subscription's")
            if receipt.number != before.number + 1:
                raise ReceiptRefused(f"between receipt {before.number} and receipt {receipt.number} some are missing")
            if receipt.previous != fingerprint(texts[place - 2]):
                raise ReceiptRefused(f"receipt {receipt.number} was not made after the one that stands before it")
        found.append(receipt)
    return found


def public_keys_of(document: Mapping[str, Any]) -> PublicKeys:
    """The keys of a JWK set (RFC 7517); those of other kinds are left out.

    Raises:
        ReceiptRefused: it is not a JWK set, or has no key of this kind.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    for one in document.get("keys", ()) if isinstance(document, Mapping) else ():
        try:
            if one["kty"] == "OKP" and one["crv"] == "Ed25519":
                key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(one["x"] + "=="))
                keys[key_id(key)] = key
        except (KeyError, TypeError, ValueError):
            continue
    if not keys:
        raise ReceiptRefused("the file of keys holds no Ed25519 key: `kordant-jobs receipt key` prints one")
    return keys


def key_set(keys: Sequence[Ed25519PublicKey]) -> dict[str, Any]:
    """Public keys as a JWK set."""
    return {"keys": [{**_jwk(key), "kid": key_id(key), "alg": ALGORITHM, "use": "sig"} for key in keys]}


def _jwk(key: Ed25519PublicKey) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _b64(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
