"""Classifies the text beside an identifier: a password in clear, a hash of one, or nothing.

It judges by form alone: a password that happens to be 32 hex digits counts as a hash. The value itself is not passed
on.
"""

from __future__ import annotations

import re

import polars as pl

from kordant_jobs.adapters.dumps.model import SECRET_KIND, Role, SecretKind

# hex of MD4/MD5/NTLM 32, SHA-1 40, SHA-224 56, SHA-256 64, SHA-384 96, SHA-512 128 digits; old MySQL 16,
# new '*' + 40;
# base64 of MD5 (24), SHA-1 (28), SHA-256 (44), SHA-512 (88); crypt(3) and the like by their '$…$'; LDAP
# by '{SSHA}'.
_FORMS = (
    r"(?:0x|\\x)?(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128}"
    r"|[0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{56}|[0-9A-F]{64}|[0-9A-F]{96}|[0-9A-F]{128})",
    r"\*[0-9A-Fa-f]{40}",
    r"[A-Za-z0-9+/]{22}==|[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==",
    r"\$(?:2[abxy]?|1|5|6|7|y|gy|md5|sha1|argon2(?:i|d|id)|scrypt|P|H|S|B|apr1|pbkdf2[a-z0-9-]*)\$[^\s:;,|]{6,}",
    r"(?:pbkdf2_sha256|pbkdf2_sha1|bcrypt|bcrypt_sha256|argon2|sha1|md5|scrypt)\$[^\s:;,|]{6,}",
    r"\{(?:SSHA|SHA|SMD5|MD5|CRYPT|SSHA256|SSHA512|PBKDF2[A-Z0-9-]*)\}\S+",
)
_HASHED = rf"""^[\s"']*(?:{"|".join(_FORMS)})["']?(?:[\s:;,|].*)?$"""  # a salt may follow
_HASHED_TEXT = re.compile(_HASHED)
_SHORTEST_HASH = 16
_EMPTY = r"""^[\s"':;,|]*(?:(?i:null|\(null\)|none|n/a|<blank>)|\\N)?[\s"':;,|]*$"""


def secret_codes(values: pl.Series, role: Role) -> pl.Series:
    """The SecretKind of each value as a UInt8: 0 none, 1 hashed, 2 clear."""
    held = pl.lit(1 if role is Role.HASH else 2, pl.UInt8)
    empty = pl.col("value").str.contains(_EMPTY)
    frame = pl.DataFrame({"value": values})
    codes = frame.select(pl.when(~empty).then(held).otherwise(pl.lit(0, pl.UInt8)).alias("code")).to_series()
    if role is Role.HASH:
        return codes
    long = frame.with_row_index("row").filter(pl.col("value").str.len_bytes() >= _SHORTEST_HASH)
    hashed = long.filter(looks_hashed(pl.col("value")) & ~empty)["row"]
    return codes.scatter(hashed, 1) if len(hashed) else codes


def as_secret_kind(code: pl.Expr) -> pl.Expr:
    """Codes of `secret_codes` as the Enum of SecretKind."""
    worse = pl.Series([SecretKind.NONE, SecretKind.HASHED, SecretKind.CLEAR], dtype=SECRET_KIND)
    return pl.lit(worse).gather(code)


def is_hashed(value: str) -> bool:
    """True when a value has the form of a password hash.

    >>> is_hashed("5f4dcc3b5aa765d61d8327deb882cf99"), is_hashed("swordfish")
    (True, False)
    """
    return _HASHED_TEXT.match(value) is not None


def looks_hashed(value: pl.Expr) -> pl.Expr:
    """An expression: True when a value has the form of a password hash."""
    return value.str.contains(_HASHED)
