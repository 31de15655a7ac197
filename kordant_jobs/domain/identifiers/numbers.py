"""Numbers with check digits, of which only a keyed hash and a mask are stored: payment cards (ISO/IEC 7812), bank
accounts by their IBAN (ISO 13616), and national ids: the US Social Security number and the Brazilian CPF.

The two national ids are distinguished by their length, and checked by python-stdnum: ranges that were never issued for
the SSN, two check digits for the CPF.
"""

import re

from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.us import ssn

from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, KindSpec

_CARD = re.compile(r"[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}")  # 13 to 19 digits; 2 to 6: the payment schemes


def _card(raw: str, _region: str) -> str | None:
    """The digits, if the check digit is valid (Luhn)."""
    text = raw.strip(TRIMMED)
    if not _CARD.fullmatch(text):
        return None
    digits = re.sub(r"[ -]", "", text)
    return digits if luhn.is_valid(digits) else None


def _mask_card(canonical: str) -> str:
    return canonical if HIDDEN in canonical else f"{HIDDEN} {canonical[-4:]}"


CARD = KindSpec(normalise=_card, mask=_mask_card, example="4111111111111111", keeps_masked=True)

_IBAN = re.compile(r"[A-Za-z]{2}[0-9]{2}[A-Za-z0-9 ]{10,40}")


def _iban(raw: str, _region: str) -> str | None:
    """The IBAN in upper case without spaces, if the length and form for its country and the check digits are valid
    (python-stdnum)."""
    text = raw.strip(TRIMMED)
    if not _IBAN.fullmatch(text):
        return None
    compact = text.replace(" ", "").upper()
    return compact if len(compact) <= 34 and iban.is_valid(compact, check_country=False) else None


def _mask_iban(canonical: str) -> str:
    return canonical if HIDDEN in canonical else f"{canonical[:2]} {HIDDEN} {canonical[-4:]}"


IBAN = KindSpec(normalise=_iban, mask=_mask_iban, example="GR1601101050000010547023795", keeps_masked=True)

_WRITTEN = re.compile(r"(?:(us-ssn|br-cpf):)?([0-9][0-9 .-]{7,16}[0-9])", re.IGNORECASE)
_NAMES = {"us-ssn": "SSN", "br-cpf": "CPF"}


def _national_id(raw: str, _region: str) -> str | None:
    """`us-ssn:` or `br-cpf:` and the digits. A CPF of eleven equal digits has valid check digits but is never
    issued."""
    written = _WRITTEN.fullmatch(raw.strip(TRIMMED))
    if written is None or not written[2].isascii():
        return None
    digits = re.sub(r"[ .-]", "", written[2])
    if len(digits) == 9 and ssn.is_valid(digits):
        scheme = "us-ssn"
    elif len(digits) == 11 and len(set(digits)) > 1 and cpf.is_valid(digits):
        scheme = "br-cpf"
    else:
        return None
    return f"{scheme}:{digits}" if written[1] is None or written[1].lower() == scheme else None


def _mask_national_id(canonical: str) -> str:
    if HIDDEN in canonical:
        return canonical
    return f"{_NAMES[canonical.partition(':')[0]]} {HIDDEN}"


NATIONAL_ID = KindSpec(normalise=_national_id, mask=_mask_national_id, example="us-ssn:536904399", keeps_masked=True)
