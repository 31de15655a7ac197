"""National ids: the US Social Security number and the Brazilian CPF. Only a keyed hash of the number is stored.

The two are distinguished by their length, and checked by python-stdnum: ranges that were never issued for the SSN, two
check digits for the CPF.
"""

import re

from stdnum.br import cpf
from stdnum.us import ssn

from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, KindSpec

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


def _mask(canonical: str) -> str:
    if HIDDEN in canonical:
        return canonical
    return f"{_NAMES[canonical.partition(':')[0]]} {HIDDEN}"


NATIONAL_ID = KindSpec(normalise=_national_id, mask=_mask, example="us-ssn:536904399", keeps_masked=True)
