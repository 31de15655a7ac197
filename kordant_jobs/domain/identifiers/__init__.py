"""Identifiers of people in breaches, in one canonical form, and their masks: one file for each kind.

Only this package normalises. A watched item and a line of a dump match because both went through `normalise`;
`adapters/dumps/bulk.py` does the same for columns, and a test compares the two value by value. Pure. Blind indexes and
encryption are not here.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

import idna

from kordant_jobs.domain.identifiers.domain import DOMAIN, DOMAIN_ASCII
from kordant_jobs.domain.identifiers.email import EMAIL, EMAIL_LOCAL_MAX_OCTETS, EMAIL_MAX_OCTETS, LOCAL_ASCII, sha1_hex
from kordant_jobs.domain.identifiers.numbers import CARD, IBAN, NATIONAL_ID
from kordant_jobs.domain.identifiers.person import PERSON
from kordant_jobs.domain.identifiers.phone import PHONE
from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, IdentifierKind, KindSpec
from kordant_jobs.domain.identifiers.username import USERNAME, USERNAME_MAX, USERNAME_MIN

__all__ = [
    "DOMAIN_ASCII",
    "EMAIL_LOCAL_MAX_OCTETS",
    "EMAIL_MAX_OCTETS",
    "HIDDEN",
    "KINDS",
    "LOCAL_ASCII",
    "TRIMMED",
    "USERNAME_MAX",
    "USERNAME_MIN",
    "IdentifierKind",
    "KindSpec",
    "kept",
    "mask",
    "normalise",
    "readable",
    "sha1_hex",
    "shown",
]

KINDS: Mapping[IdentifierKind, KindSpec] = MappingProxyType(
    {
        IdentifierKind.EMAIL: EMAIL,
        IdentifierKind.PHONE: PHONE,
        IdentifierKind.USERNAME: USERNAME,
        IdentifierKind.DOMAIN: DOMAIN,
        IdentifierKind.NATIONAL_ID: NATIONAL_ID,
        IdentifierKind.IBAN: IBAN,
        IdentifierKind.CARD: CARD,
        IdentifierKind.PERSON: PERSON,
    }
)
"""Every kind that can be watched."""


def normalise(kind: IdentifierKind, raw: str, *, phone_region: str = "US") -> str | None:
    """The canonical form, or None when `raw` is no such identifier. Idempotent; never raises.

    `phone_region` is used only for phone numbers without a country code.

    >>> normalise(IdentifierKind.EMAIL, " John.Doe+shop@BÜCHER.example ")
    'john.doe+shop@xn--bcher-kva.example'
    >>> normalise(IdentifierKind.PHONE, "(202) 555-0143")
    '+12025550143'
    >>> normalise(IdentifierKind.USERNAME, "@John_Doe")
    'john_doe'
    >>> normalise(IdentifierKind.EMAIL, '"john doe"@example.com') is None
    True
    """
    return KINDS[kind].normalise(raw, phone_region)


def mask(kind: IdentifierKind, canonical: str) -> str:
    """The masked identifier: first character and domain, or last four digits.

    >>> mask(IdentifierKind.EMAIL, "john@example.com"), mask(IdentifierKind.PHONE, "+12025550143")
    ('j•••@example.com', '+1 ••• ••• 0143')
    """
    return KINDS[kind].mask(canonical)


_PUNYCODE = re.compile(r"\bxn--[a-z0-9-]+", re.IGNORECASE)


def readable(text: str) -> str:
    """`text` with internationalised domain names as people write them.

    >>> readable("bank.xn--bcher-kva.example"), readable("xn--a.example")
    ('bank.bücher.example', 'xn--a.example')
    """

    def decoded(found: re.Match[str]) -> str:
        try:
            return idna.decode(found[0])
        except (UnicodeError, idna.IDNAError):
            return found[0]

    return _PUNYCODE.sub(decoded, text)


def shown(kind: IdentifierKind, canonical: str) -> str:
    """The masked identifier for people: domains are written in their own letters.

    >>> shown(IdentifierKind.EMAIL, "john@xn--bcher-kva.example")
    'j•••@bücher.example'
    """
    return readable(mask(kind, canonical))


def kept(kind: IdentifierKind, canonical: str) -> str:
    """The text of an identifier that may be stored encrypted: the identifier, or only its mask for kinds that are
    stored as a hash.

    >>> kept(IdentifierKind.CARD, "4111111111111111"), kept(IdentifierKind.USERNAME, "john_doe")
    ('••• 1111', 'john_doe')
    """
    return mask(kind, canonical) if KINDS[kind].keeps_masked else canonical
