"""Payment cards (ISO/IEC 7812). Only the last four digits and a keyed hash are stored, not the number."""

import re

from stdnum import luhn

from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, KindSpec

_WRITTEN = re.compile(r"[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}")  # 13 to 19 digits; 2 to 6: the payment schemes


def _card(raw: str, _region: str) -> str | None:
    """The digits, if the check digit is valid (Luhn)."""
    text = raw.strip(TRIMMED)
    if not _WRITTEN.fullmatch(text):
        return None
    digits = re.sub(r"[ -]", "", text)
    return digits if luhn.is_valid(digits) else None


def _mask(canonical: str) -> str:
    return canonical if HIDDEN in canonical else f"{HIDDEN} {canonical[-4:]}"


CARD = KindSpec(normalise=_card, mask=_mask, example="4111111111111111", keeps_masked=True)
