"""The form of a token: `kj<a|s|o>_<id>_<secret><checksum>`. Scanners for leaked secrets recognise it by that form."""

import re
import secrets
import string
import zlib
from dataclasses import dataclass

from kordant_jobs.domain.access.principals import Role

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
ID_CHARACTERS, SECRET_CHARACTERS, SUM_CHARACTERS = 12, 43, 6
"""43 characters out of 62 give 256 bits."""
_FORM = re.compile(rf"kj[aso]_([a-z2-7]{{{ID_CHARACTERS}}})_([0-9A-Za-z]{{{SECRET_CHARACTERS + SUM_CHARACTERS}}})")

LETTERS = {Role.AGENT: "a", Role.SERVICE: "s", Role.OPERATOR: "o", Role.ADMIN: "o"}
LONGEST_DAYS = {Role.AGENT: 90, Role.SERVICE: 365, Role.OPERATOR: 365, Role.ADMIN: 365}
"""The longest life of a token, in days."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token's two parts: `id` is looked up, `secret` is compared by its hash."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Token({self.id})"


def _checksum(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    for _ in range(SUM_CHARACTERS):
        number, rest = divmod(number, len(_BASE62))
        text = _BASE62[rest] + text
    return text


def new_token(role: Role) -> tuple[Token, str]:
    """A new token, and its text."""
    token = Token(
        id="".join(secrets.choice(_BASE32) for _ in range(ID_CHARACTERS)),
        secret="".join(secrets.choice(_BASE62) for _ in range(SECRET_CHARACTERS)),
    )
    body = f"kj{LETTERS[role]}_{token.id}_{token.secret}"
    return token, body + _checksum(body)


def read_token(text: str) -> Token | None:
    """The token in a text; None when it is not one, or one character is wrong.

    >>> token, written = new_token(Role.AGENT)
    >>> read_token(written) == token, read_token(written[:-1] + ("0" if written[-1] != "0" else "1"))
    (True, None)
    """
    found = _FORM.fullmatch(text)
    if found is None or _checksum(text[:-SUM_CHARACTERS]) != text[-SUM_CHARACTERS:]:
        return None
    return Token(id=found[1], secret=found[2][:SECRET_CHARACTERS])
