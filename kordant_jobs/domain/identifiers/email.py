"""E-mail addresses: dot-string local part in lower case, domain as A-label."""

import hashlib
import re
import unicodedata

from email_validator import EmailNotValidError
from email_validator.syntax import validate_email_local_part

from kordant_jobs.domain.identifiers.domain import normalise_domain
from kordant_jobs.domain.identifiers.spec import HIDDEN, TRIMMED, KindSpec, is_safe, settled

EMAIL_LOCAL_MAX_OCTETS = 64  # RFC 5321 §4.5.3.1.1
EMAIL_MAX_OCTETS = 254  # RFC 5321 §4.5.3.1.3: a path is 256 with its angle brackets
# Means the same in `re` and in Polars (Rust): ASCII, lower case; RFC 5321's Dot-string, but dots may come anywhere
# except at the beginning: a Japanese carrier gave out 'a..b@' and 'a.@' until 2009, and they are in use.
LOCAL_ASCII = r"[a-z0-9!#$%&'*+/=?^_`{|}~-][a-z0-9!#$%&'*+/=?^_`{|}~.-]*"
_LOCAL = re.compile(LOCAL_ASCII)
_WITH_UNDERSCORE = re.compile(r"(?:[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""Hosts as mail systems accept them, including 'my_shop.example'."""
FILES = frozenset({
    "png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "tif", "tiff", "psd", "css", "js", "woff", "ttf", "eot",
    "mp3", "mp4", "pdf", "txt", "html", "htm", "php", "exe", "dll",
})  # fmt: skip
"""File extensions that are no top-level domains: 'logo@2x.png' is not an address."""


def _email(raw: str, _region: str) -> str | None:
    """The canonical address: dot-string local part and domain (as A-label), both in lower case.

    Lower-casing rather than case folding is what RFC 8265 §3.3 asks for user names: folding would merge 'straße@' and
    'strasse@', two mailboxes. Strictly the local part is case-sensitive (RFC 5321 §2.4), but HIBP ignores case, so we
    have to as well. The part after '+' and dots are kept: ignoring them is one provider's custom, and would find people
    in breaches they are not in.
    """
    local, at, domain = unicodedata.normalize("NFC", raw.strip(TRIMMED)).partition("@")
    if not at or not local or "@" in domain or domain.endswith("."):
        return None
    folded = settled(local, str.lower)
    if folded is None or not _is_local_part(folded):
        return None
    host = normalise_domain(domain, "")
    if host is None and "_" in domain:
        plain = domain.lower()
        host = plain if len(plain) <= 253 and _WITH_UNDERSCORE.fullmatch(plain) else None
    if host is None or host.rpartition(".")[2] in FILES:
        return None
    address = f"{folded}@{host}"
    return address if len(address.encode()) <= EMAIL_MAX_OCTETS else None


def _is_local_part(local: str) -> bool:
    if len(local.encode("utf-8", "replace")) > EMAIL_LOCAL_MAX_OCTETS:
        return False
    if local.isascii():
        return _LOCAL.fullmatch(local) is not None
    if "•" in local or not is_safe(local):
        return False
    try:  # RFC 6531 with the library's care about invisible and unassigned characters
        found = validate_email_local_part(local)  # the whole validate_email would check a domain, too: half the time
    except EmailNotValidError:
        return False
    return found["local_part"] == local


def _mask_email(canonical: str) -> str:
    local, _, domain = canonical.rpartition("@")
    return f"{local[:1] if len(local) > 1 else ''}{HIDDEN}@{domain}"


def sha1_hex(canonical: str) -> str:
    """The hash for searches by range (HIBP): the upper-case hex SHA-1 of the address, trimmed and in lower case. It is
    no secret: anyone with the address can compute it.

    >>> sha1_hex(" Test@example.com")
    '567159D622FFBB50B11B0EFD307BE358624A26EE'
    """
    return hashlib.sha1(canonical.strip().lower().encode(), usedforsecurity=False).hexdigest().upper()


EMAIL = KindSpec(normalise=_email, mask=_mask_email, example="john.doe@example.com")
