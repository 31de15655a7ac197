"""Phone numbers, as E.164."""

import re

import phonenumbers

from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, KindSpec

_PHONE = re.compile(r"\+?[\d\t ().\-/\u00a0\u2010-\u2015]{4,32}")


def _phone(raw: str, region: str) -> str | None:
    """The number in E.164, by Google's libphonenumber. Letters and extensions are ignored.

    A number must be *possible* (right length for its country), not *valid* (in an allotted block): allotments change
    with each release of the metadata, and a number accepted once must be found again with the next release. A number
    without its area code is not possible.
    """
    text = raw.strip(TRIMMED)
    if not _PHONE.fullmatch(text):
        return None
    for _ in range(3):  # a national prefix typed behind the country code goes in the first round
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            return None
        if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
            return None
        canonical = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if canonical == text:
            return canonical if len(canonical) <= 16 else None  # '+' and 15 digits: ITU-T E.164
        text = canonical
    return None


def _mask_phone(canonical: str) -> str:
    try:
        code = f"+{phonenumbers.parse(canonical, None).country_code}"
    except phonenumbers.NumberParseException:
        return HIDDEN
    national = canonical[len(code) :]
    shown = min(4, max(0, len(national) - 4))  # a short number keeps at least four digits to itself
    return f"{code} {HIDDEN} {HIDDEN} {national[len(national) - shown :]}".rstrip()


PHONE = KindSpec(normalise=_phone, mask=_mask_phone, example="+12025550143")
