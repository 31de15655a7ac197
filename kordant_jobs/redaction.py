"""The safety net for 'ids travel, people do not': removes personal data from texts that leave a job.

No job relies on it. It protects against texts that are not ours: a library's error message, the name of a dropped file.
"""

import re

_EMAIL = re.compile(r"[^\s@'\"`<>(),;:=|]{1,128}(?:[@\uff20\ufe6b]|%40)[^\s@'\"`<>(),;:=|]{1,255}", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_DIGITS = re.compile(r"(?<![^\W_])(?<!\d[.-])(?<!dump-)\+?\d(?:[ ().\-/_]{0,2}\d){6,27}(?![^\W_])")
_IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![^\W_])")
_QUOTED = re.compile(r"(['\"`])(?:\\.|(?!\1).){3,}?\1", re.DOTALL)


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` in a form that Postgres can store: NULs and lone surrogates are replaced.

    >>> storable("a\\x00b\\ud800c")
    'a\ufffdb\ufffdc'
    """
    return _UNSTORABLE.sub("\ufffd", text)


def redact(text: str) -> str:
    """`text` without e-mail addresses and long numbers (phones, cards, national ids); our own ids stay.

    >>> redact("could not parse jane@example.com, call +1 (212) 555-0142")
    'could not parse [e-mail], call [number]'
    """
    text = storable(text)
    kept = _UUID.findall(text)
    for place, one in enumerate(kept):
        text = text.replace(one, f"\x00{place}\x00")
    text = _IBAN.sub("[number]", _DIGITS.sub("[number]", _EMAIL.sub("[e-mail]", text)))
    for place, one in enumerate(kept):
        text = text.replace(f"\x00{place}\x00", one)
    return text


def redact_foreign(text: str, *, limit: int = 300) -> str:
    """A library's message, redacted: quoted values are removed too, and it becomes one short line."""
    one_line = " ".join(_QUOTED.sub("[value]", text).split())
    return redact(one_line)[:limit]
