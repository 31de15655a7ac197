"""User names, case-folded."""

import unicodedata

from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, KindSpec, is_safe, settled

USERNAME_MIN, USERNAME_MAX = 3, 64  # shorter is noise in a dump, longer is a token


def _username(raw: str, _region: str) -> str | None:
    """The case-folded user name, without the '@' of a handle. It has at least one letter or digit, no space, and no '@'
    inside."""
    text = unicodedata.normalize("NFC", raw.strip(TRIMMED)).lstrip("@")
    folded = settled(unicodedata.normalize("NFD", text), str.casefold)
    if folded is None or not USERNAME_MIN <= len(folded) <= USERNAME_MAX:
        return None
    if "@" in folded or "•" in folded or not is_safe(folded):
        return None
    return folded if any(unicodedata.category(character)[0] in "LN" for character in folded) else None


def _mask_word(canonical: str) -> str:
    return f"{canonical[:1]}{HIDDEN}"


USERNAME = KindSpec(normalise=_username, mask=_mask_word, example="john_doe")
