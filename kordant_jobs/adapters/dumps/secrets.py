"""Whether what lies beside an identifier is a password in clear, a hash of one, or nothing.

By form alone: a password that happens to be 32 hex digits counts as a hash. The value itself goes no further.
"""

from __future__ import annotations

import polars as pl

from kordant_jobs.adapters.dumps.model import SECRET_KIND, Role, SecretKind

# hex of MD4/MD5/NTLM 32, SHA-1 40, SHA-224 56, SHA-256 64, SHA-384 96, SHA-512 128 digits; old MySQL 16, new '*' + 40;
# base64 of MD5 (24), SHA-1 (28), SHA-256 (44), SHA-512 (88); crypt(3) and the like by their '$…$'; LDAP by '{SSHA}'.
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
_EMPTY = r"""^[\s"':;,|]*$"""
_NO_SECRET = ("null", "NULL", "Null", r"\N", "<blank>", "(null)", "None", "N/A", "n/a")


def secret_code(value: pl.Expr, role: Role) -> pl.Expr:
    """The SecretKind of each value as a UInt8, the higher the worse: none, hashed, clear (see `as_secret_kind`)."""
    present = value.is_not_null() & (value.str.len_bytes() > 0)
    empty = value.str.contains(_EMPTY) | value.is_in(_NO_SECRET)
    held = pl.lit(1, pl.UInt8)
    if role is Role.PASSWORD:
        hashed = (value.str.len_bytes() >= 16) & value.str.contains(_HASHED)
        held = pl.when(hashed).then(held).otherwise(pl.lit(2, pl.UInt8))
    return pl.when(present & ~empty).then(held).otherwise(pl.lit(0, pl.UInt8))


def as_secret_kind(code: pl.Expr) -> pl.Expr:
    """Codes of `secret_code` as the Enum of SecretKind; a clear password outranks a hash beside it."""
    worse = pl.Series([SecretKind.NONE, SecretKind.HASHED, SecretKind.CLEAR], dtype=SECRET_KIND)
    return pl.lit(worse).gather(code)


def looks_hashed(value: pl.Expr) -> pl.Expr:
    """Whether a value has the form of a password hash."""
    return value.str.contains(_HASHED)
