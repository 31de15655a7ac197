"""The DKIM keys that a domain publishes in DNS (RFC 6376 §3.6)."""

import base64
from collections.abc import Iterator

import dns.exception
import dns.resolver
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kordant_jobs.errors import TransientError

ANSWER_S = 3.0


def public_half(key: rsa.RSAPrivateKey) -> str:
    """The value of `p=` for this key, which receivers check its signatures with."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def published_keys(name: str, *, nameserver: tuple[str, int] | None = None) -> list[str]:
    """The values of `p=` in the TXT records of a name; an empty one means a withdrawn key.

    Raises:
        TransientError: DNS gives no answer.
    """
    try:
        resolver = dns.resolver.Resolver(configure=nameserver is None)
        if nameserver is not None:
            resolver.nameservers, resolver.port = [nameserver[0]], nameserver[1]
        answer = resolver.resolve(name, "TXT", lifetime=ANSWER_S)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise TransientError(f"DNS gives no answer about {name} ({type(error).__name__})") from None
    return [key for record in answer for key in _keys(b"".join(record.strings))]


def _keys(record: bytes) -> Iterator[str]:
    for tag in record.decode("ascii", "replace").split(";"):
        name, _, value = tag.partition("=")
        if name.strip() == "p":
            yield "".join(value.split())
