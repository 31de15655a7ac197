"""Encrypts a Web Push message so that only the subscribed browser can decrypt it (RFC 8291, content coding RFC
8188)."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD_SIZE = 4096
"""The one record size that a push service must accept (RFC 8291 §4), including 86 bytes of header and 17 of padding and
tag."""
LONGEST = RECORD_SIZE - 17
LAST_RECORD = b"\x02"
"""The padding delimiter of the last record (RFC 8188 §2)."""


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """The uncompressed point of a public key: 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def content_keys(secret: bytes, auth: bytes, browser: bytes, sender: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """The content encryption key (16 bytes) and nonce (12 bytes) of RFC 8291 §3.4, for both sides. `secret` is the ECDH
    secret, `auth` the subscription's authentication secret; `browser` and `sender` are the two public points."""
    key = _hkdf(auth, b"WebPush: info\0" + browser + sender, secret, 32)
    return _hkdf(salt, b"Content-Encoding: aes128gcm\0", key, 16), _hkdf(salt, b"Content-Encoding: nonce\0", key, 12)


def _hkdf(salt: bytes, info: bytes, key: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def seal(
    clear: bytes,
    *,
    browser: bytes,
    auth: bytes,
    sender: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of the push request. `browser` is the subscription's p256dh point. `sender` and `salt` are for tests;
    otherwise each message gets new ones.

    Raises:
        ValueError: `browser` is not a point of P-256, or the message is longer than `LONGEST` bytes.
    """
    if len(clear) > LONGEST:
        raise ValueError(f"a push message has at most {LONGEST} bytes; this one has {len(clear)}")
    sender = sender or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), browser)
    ours = point_of(sender.public_key())
    key, nonce = content_keys(sender.exchange(ec.ECDH(), theirs), auth, browser, ours, salt)
    header = salt + RECORD_SIZE.to_bytes(4) + bytes([len(ours)]) + ours
    return header + AESGCM(key).encrypt(nonce, clear + LAST_RECORD, None)
