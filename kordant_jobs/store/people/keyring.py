"""Envelope encryption and the blind index: how personal data is kept so that only this key can read it.

One master key (32 bytes) makes, by HKDF-SHA-256 (RFC 5869), a key that wraps the subscribers' keys and a key for
the blind index. Every subscriber has a data key of their own, stored wrapped; deleting that row makes their data
unreadable for good. Ciphers are AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce and the row's id as
associated data, so that a ciphertext moved to another row does not open.

What a blind index is, `domain.blinding` says; it lets Postgres and the corpus compare what they cannot read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.identifiers.blinding import BlindingKey
from kordant_jobs.errors import KeyringError
from kordant_jobs.store.people.tables import keyring_check, subscriber_keys

KEY_BYTES = 32
NONCE_BYTES = 12


def _derive(master: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"kordant_jobs/{purpose}".encode()).derive(master)


def _seal(key: bytes, plaintext: bytes, bound_to: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound_to)


def _open(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except InvalidTag:
        raise KeyringError(
            "an encrypted value does not open with this master key. Give the key that the database was written with "
            "(KORDANT_MASTER_KEY, or the file that `kordant-jobs settings` names)."
        ) from None


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """One encrypted value with what it is bound to: the subscriber whose key opens it and its row's id."""

    subscriber_id: UUID
    row_id: UUID
    sealed: bytes


class SubscriberKeys:
    """The opened data keys of some subscribers; lives no longer than the work that needs them."""

    def __init__(self, keys: Mapping[UUID, bytes]) -> None:
        self._keys = keys

    def __contains__(self, subscriber_id: UUID) -> bool:
        return subscriber_id in self._keys

    def _of(self, subscriber_id: UUID) -> bytes:
        try:
            return self._keys[subscriber_id]
        except KeyError:
            raise KeyringError(
                f"the key of subscriber {subscriber_id} was deleted: their data cannot be read any more."
            ) from None

    def seal(self, subscriber_id: UUID, row_id: UUID, plaintext: str) -> bytes:
        """Encrypt `plaintext` for the row `row_id` of this subscriber."""
        return _seal(self._of(subscriber_id), plaintext.encode(), row_id.bytes)

    def open(self, value: Sealed) -> str:
        """Decrypt one value.

        Raises:
            KeyringError: the subscriber's key was deleted, or the value was made with another key or for another row.
        """
        return _open(self._of(value.subscriber_id), value.sealed, value.row_id.bytes).decode()


class Keyring:
    """What the master key can do: blind indexes, and subscribers' keys."""

    def __init__(self, master: bytes) -> None:
        if len(master) != KEY_BYTES:
            raise KeyringError(f"the master key has {len(master)} bytes; it must have {KEY_BYTES}.")
        self._wrapping = _derive(master, "wrap")
        self.blinding = BlindingKey(key=_derive(master, "blind-index"))
        self._labelling = _derive(master, "file-label")
        self._derived_from = _derive(master, "sign")
        self._signing: dict[str, bytes] = {}
        self.report_link_key = _derive(master, "report-link")
        """Signs links to reports (see `domain.reports.retention`)."""
        self.master_key_id = hashlib.sha256(_derive(master, "id")).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"Keyring({self.master_key_id})"

    def blind_index(self, kind: str, canonical: str) -> bytes:
        """The 16 bytes that stand for a normalised identifier of `kind`."""
        return self.blind_indexes(kind, (canonical,))[0]

    def blind_indexes(self, kind: str, canonicals: Iterable[str]) -> list[bytes]:
        """As `blind_index`, for many: about a million a second a core."""
        return self.blinding.indexes(kind, canonicals)

    def range_index(self, sha1: str) -> bytes:
        """The 16 bytes that stand for an e-mail address where it is told by its SHA-1 (range notifications)."""
        return self.blind_index("email-sha1", sha1.upper())

    def file_key(self, name: str) -> bytes:
        """Stands for a file's name, which may be personal, where files are told apart by it."""
        return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16, key=self._labelling).digest()

    def sign(self, purpose: str, content: bytes) -> bytes:
        """16 bytes that prove that `content` is ours and is for `purpose`; compare them with `hmac.compare_digest`."""
        key = self._signing.get(purpose)
        if key is None:
            key = self._signing[purpose] = _derive(self._derived_from, f"sign/{purpose}")
        return hashlib.blake2b(content, digest_size=16, key=key).digest()

    def create_keys(self, connection: Connection, subscriber_ids: Sequence[UUID]) -> SubscriberKeys:
        """Make and store a data key for each subscriber; one that has a key already keeps it."""
        if subscriber_ids:
            rows = [
                {
                    "subscriber_id": subscriber_id,
                    "wrapped_key": _seal(self._wrapping, secrets.token_bytes(KEY_BYTES), subscriber_id.bytes),
                    "master_key_id": self.master_key_id,
                }
                for subscriber_id in subscriber_ids
            ]
            statement = insert(subscriber_keys).on_conflict_do_nothing()
            connection.execute(statement, rows)
        return self.load_keys(connection, subscriber_ids)

    def load_keys(self, connection: Connection, subscriber_ids: Sequence[UUID]) -> SubscriberKeys:
        """Open the data keys of these subscribers; who has none any more is simply not in the result.

        Raises:
            KeyringError: a key was wrapped with another master key.
        """
        table = subscriber_keys.c
        rows = connection.execute(
            sa.select(table.subscriber_id, table.wrapped_key).where(table.subscriber_id.in_(list(subscriber_ids)))
        )
        return SubscriberKeys(
            {row.subscriber_id: _open(self._wrapping, row.wrapped_key, row.subscriber_id.bytes) for row in rows}
        )

    def check(self, connection: Connection) -> None:
        """Prove that this master key is the one the database was written with; a new database takes this one.

        Raises:
            KeyringError: it is another one. Nothing was written.
        """
        proof = _seal(self._wrapping, b"kordant_jobs", b"keyring_check")
        statement = insert(keyring_check).values(id=1, master_key_id=self.master_key_id, proof=proof)
        connection.execute(statement.on_conflict_do_nothing())
        row = connection.execute(sa.select(keyring_check)).one()
        if row.master_key_id != self.master_key_id:
            raise KeyringError(
                f"the master key is not the one this database was written with (it has the id {self.master_key_id}, "
                f"the database wants {row.master_key_id}). Set KORDANT_MASTER_KEY or KORDANT_MASTER_KEY_PATH to it."
            )
        _open(self._wrapping, row.proof, b"keyring_check")


def parse_master_key(text: str, *, origin: str) -> bytes:
    """32 bytes from base64; `origin` names where the text came from, for the error.

    Raises:
        KeyringError: it is not base64 of 32 bytes. The text is never repeated.
    """
    try:
        master = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        master = b""
    if len(master) != KEY_BYTES:
        raise KeyringError(
            f"the master key in {origin} is not base64 of {KEY_BYTES} bytes. Make one with "
            "`python3 -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'`."
        )
    return master


def read_key_file(path: Path) -> bytes:
    """The master key in a file that only its owner can read.

    Raises:
        KeyringError: it is absent, open to others, or no key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
    except FileNotFoundError:
        raise KeyringError(
            f"there is no master key: {path} is absent and KORDANT_MASTER_KEY is unset. Put the key back there; a new "
            "one cannot read what the old one wrote."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyringError(f"the master key in {path} cannot be read ({type(error).__name__}).") from None
    if mode & 0o077:
        raise KeyringError(f"{path} can be read by others. Run `chmod 600 {path}` and start again.")
    return parse_master_key(text, origin=str(path))


def make_key_file(path: Path) -> bytes:
    """Make a new master key in `path`, mode 0600; an existing file is kept and read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_key_file(path)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return read_key_file(path)
