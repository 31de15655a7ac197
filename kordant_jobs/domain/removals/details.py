"""The details that a subscriber gives for requests, in the form in which they are sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs.domain.removals.listings import parts_of

OLDEST = 125
"""Years that a person can be old; the oldest of whom a birth is proven reached 122."""

FORMS: Mapping[str, str] = {
    "name": "a name with letters",
    "email": "a mail address",
    "phone": "a phone number, with its country as +1 202 555 0143",
    "birth_year": "a year with four digits, not in the future",
    "birth_date": "a day as 1980-01-31, not in the future",
}
"""The content that a field must have; the others may have anything but blanks."""
LONGEST = 200


def canonical(name: str, value: str, *, country: str, today: date) -> str | None:
    """The value of one field as it is kept, or None when it is no such thing. `country` is for phone numbers that name
    none.

    >>> canonical("phone", "(202) 555-0143", country="US", today=date(2026, 1, 1))
    '+12025550143'
    >>> [canonical(*one, country="US", today=date(2026, 1, 1)) for one in (("birth_year", "3000"), ("name", " - "))]
    [None, None]
    """
    text = " ".join(value.split())
    if not text or len(text) > LONGEST or not text.isprintable():
        return None
    match name:
        case "name":
            return text if parts_of(text) else None
        case "email" | "phone":
            return normalise(IdentifierKind(name), text, phone_region=country)
        case "birth_year":
            is_year = text.isdecimal() and today.year - OLDEST <= int(text) <= today.year
            return text if is_year else None
        case "birth_date":
            try:
                born_on = date.fromisoformat(text)
            except ValueError:
                return None
            return born_on.isoformat() if today.year - OLDEST <= born_on.year and born_on <= today else None
        case _:
            return text
