"""A name with a birth date, which identifies a person without a number."""

import re
import unicodedata
from datetime import date

from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, KindSpec

_WRITTEN = re.compile(r"(.{2,120}?)[\s,;|]+((?:18|19|20)\d\d-\d\d-\d\d)", re.DOTALL)
NAMES_MIN, NAMES_MAX = 2, 8  # one name and a birth date is not one person


def _person(raw: str, _region: str) -> str | None:
    """The parts of the name without case and accents, sorted, then the day (ISO 8601). Sorted, since dumps write 'Doe,
    John' as often as 'John Doe'. Records with the same parts and day count as one person."""
    written = _WRITTEN.fullmatch(raw.strip(TRIMMED))
    if written is None or "•" in written[1] or not written[2].isascii():
        return None
    try:
        born_on = date.fromisoformat(written[2])
    except ValueError:
        return None
    parts = _parts(written[1])
    if parts is None or not NAMES_MIN <= len(parts) <= NAMES_MAX:
        return None
    return "|".join([*sorted(parts), born_on.isoformat()])


def _parts(name: str) -> list[str] | None:
    """The parts, letters only; None when the name has a character that no name has, or folding does not settle."""
    text = name
    for _ in range(4):
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        after = "".join(one for one in decomposed if not unicodedata.combining(one))
        if after == text:
            break
        text = after
    else:
        return None
    parts = [part for part in re.split(r"[\s,;|.'’‑-]+", text) if part]
    return parts if all(part.isalpha() for part in parts) else None


def _mask(canonical: str) -> str:
    *names, born_on = canonical.split("|")
    return f"{names[0][:1].upper()}{HIDDEN} ({born_on[:4]})"


PERSON = KindSpec(normalise=_person, mask=_mask, example="doe|john|1980-01-31")
