"""Bank accounts by their IBAN (ISO 13616). Only country, last digits and keyed hash of the number are stored."""

import re

from stdnum import iban

from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, KindSpec

_WRITTEN = re.compile(r"[A-Za-z]{2}[0-9]{2}[A-Za-z0-9 ]{10,40}")


def _iban(raw: str, _region: str) -> str | None:
    """The IBAN in upper case without spaces, if the length and form for its country and the check digits are valid
    (python-stdnum)."""
    text = raw.strip(TRIMMED)
    if not _WRITTEN.fullmatch(text):
        return None
    compact = text.replace(" ", "").upper()
    return compact if len(compact) <= 34 and iban.is_valid(compact, check_country=False) else None


def _mask(canonical: str) -> str:
    return canonical if HIDDEN in canonical else f"{canonical[:2]} {HIDDEN} {canonical[-4:]}"


IBAN = KindSpec(normalise=_iban, mask=_mask, example="GR1601101050000010547023795", keeps_masked=True)
