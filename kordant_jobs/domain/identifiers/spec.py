"""The base of every kind of identifier: its name, its rules, and steps that several kinds share."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

TRIMMED = " \t\r\n\v\f\u00a0\u200b\u2060\u3000\ufeff"  # what copying and pasting leaves around a value
HIDDEN = "•••"  # a bullet never occurs in a canonical identifier, so a mask can't be one
_SAFE_CHARACTER = frozenset(("L", "M", "N", "P", "S"))  # Unicode general categories; no space, control, private


class IdentifierKind(StrEnum):
    """The kind of an identifier. A new kind is one member here, one file beside this one, and its entry in `KINDS`."""

    EMAIL = "email"
    PHONE = "phone"
    USERNAME = "username"
    DOMAIN = "domain"
    NATIONAL_ID = "national_id"
    """A number that a state gives a person: SSN, CPF."""
    IBAN = "iban"
    CARD = "card"
    """The number of a payment card."""
    PERSON = "person"
    """A name with a birth date."""


@dataclass(frozen=True, kw_only=True)
class KindSpec:
    """The rules that normalise and mask one kind. `normalise` gets the raw text and the ISO 3166 phone region.
    `keeps_masked`: the identifier itself is never stored, not even encrypted, only its keyed hash and its mask. Masking
    such a mask gives the mask again."""

    normalise: Callable[[str, str], str | None]
    mask: Callable[[str], str]
    example: str
    keeps_masked: bool = False


def settled(text: str, step: Callable[[str], str]) -> str | None:
    """`step` repeated until nothing changes; None if it does not settle."""
    for _ in range(4):
        after = unicodedata.normalize("NFC", step(text))
        if after == text:
            return text
        text = after
    return None


def is_safe(text: str) -> bool:
    """True when `text` has only letters, marks, digits, punctuation and symbols."""
    return all(unicodedata.category(character)[0] in _SAFE_CHARACTER for character in text)
