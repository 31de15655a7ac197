"""DKIM signatures (RFC 6376), relaxed/relaxed with rsa-sha256.

Our own code on `cryptography`, since dkimpy computes RSA in Python: see docs/decisions/0018. In a test dkimpy verifies
the signatures.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kordant_jobs.errors import SettingsError

SIGNED = (
    "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Auto-Submitted",
    "List-Unsubscribe", "List-Unsubscribe-Post",
)  # fmt: skip
"""The headers that the signature covers. RFC 8058 §4 asks for the last two."""

OVERSIGNED = ("From", "To", "Subject")
"""Headers named once more than they occur, so that a second one, added later, breaks the signature (RFC 6376
§5.4.2)."""

_BLANKS = re.compile(rb"[ \t]+")
_TRAILING = re.compile(rb"[ \t]+(?=\r\n)")


@dataclass(frozen=True)
class DkimSigner:
    """Signs for `domain` with the key that is published at `<selector>._domainkey.<domain>`."""

    domain: str
    selector: str
    key: rsa.RSAPrivateKey = field(repr=False)

    def __call__(self, content: bytes) -> bytes:
        """The mail with its signature before it. Its lines must end in CRLF."""
        head, _, body = content.partition(b"\r\n\r\n")
        headers = _headers(head)
        named = [name for name in SIGNED for _ in range(sum(key == name.lower() for key, _ in headers))]
        hashed = base64.b64encode(hashlib.sha256(_relaxed_body(body)).digest()).decode()
        parts = [
            "v=1",
            "a=rsa-sha256",
            "c=relaxed/relaxed",
            f"d={self.domain}",
            f"s={self.selector}",
            "h=" + ":".join((*named, *OVERSIGNED)),
            f"bh={hashed}",
            "b=",
        ]
        value = ";\r\n ".join(parts)
        signature = base64.b64encode(
            self.key.sign(_covered(headers, named, value), padding.PKCS1v15(), SHA256())
        ).decode()
        lines = [signature[start : start + 72] for start in range(0, len(signature), 72)]
        return f"DKIM-Signature: {value}".encode() + "\r\n ".join(lines).encode() + b"\r\n" + content


def _headers(head: bytes) -> list[tuple[str, bytes]]:
    """Names in lower case and values, with folded lines joined."""
    unfolded = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t").split(b"\r\n")
    return [(name.decode("ascii").strip().lower(), value) for name, _, value in (x.partition(b":") for x in unfolded)]


def _covered(headers: Sequence[tuple[str, bytes]], named: Sequence[str], signature: str) -> bytes:
    """The bytes that are signed: each named header, the last of its name first (§5.4.2), and the signature without its
    value."""
    left = list(headers)
    lines = []
    for name in named:
        place = max(place for place, (key, _) in enumerate(left) if key == name.lower())
        key, value = left.pop(place)
        lines.append(_relaxed_header(key, value))
    lines.append(_relaxed_header("dkim-signature", signature.replace("\r\n", "").encode()))
    return b"\r\n".join(lines)


def _relaxed_header(name: str, value: bytes) -> bytes:
    return name.encode() + b":" + _BLANKS.sub(b" ", value).strip(b" \t")


def _relaxed_body(body: bytes) -> bytes:
    """The relaxed body of §3.4.4: blanks at the end of lines and empty lines at the end are removed, other runs of
    blanks become one."""
    text = _BLANKS.sub(b" ", _TRAILING.sub(b"", body)).rstrip(b"\r\n")
    return text + b"\r\n" if text else b""


def read_signer(domain: str, selector: str, key_path: Path) -> DkimSigner:
    """The signer with the private key in a PEM file.

    Raises:
        SettingsError: it is not readable, or no key for DKIM.
    """
    try:
        key = load_pem_private_key(key_path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(
            "KORDANT_DKIM_KEY_PATH names no readable RSA private key in PEM. Make one with "
            "`openssl genrsa 2048`, and publish its public half at <selector>._domainkey.<domain>."
        )
    return DkimSigner(domain, selector, key)
