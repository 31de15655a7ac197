"""Envelope encryption and blind indexes: personal data is stored so that only this key can read it.

One master key (32 bytes) yields, by HKDF-SHA-256 (RFC 5869), a key that wraps all other keys. Every subscriber has a
data key of their own, stored wrapped; deleting its row makes their data unreadable for good. The cipher is AES-256-GCM
(NIST SP 800-38D) with a random 96-bit nonce; table, column and row id are the associated data, so that a ciphertext
moved elsewhere cannot be decrypted.

The *index root*, random and stored wrapped as well, yields the keys of blind indexes, file labels and links. It stays
the same when the master key is rotated (`rotation`), since the corpus cannot be blinded again.
`domain.identifiers.blinding` explains blind indexes; `master_key` loads the master key.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
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
_ROOT = b"keyring_check.wrapped_root"


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


def place_of(column: sa.Column[Any], row_id: UUID) -> bytes:
    """The place of a ciphertext, as its associated data: table, column and row."""
    return f"{column.table.name}.{column.name}:".encode() + row_id.bytes


def owner_column(table: sa.Table) -> sa.Column[Any]:
    """The owner column of a table of keys: its primary key."""
    (column,) = table.primary_key.columns
    return column


class SubscriberKeys:
    """The decrypted data keys of some owners (subscribers or entities). Keep it only as long as the work needs it."""

    def __init__(self, keys: Mapping[UUID, bytes]) -> None:
        self._keys = keys

    def __contains__(self, subscriber_id: UUID) -> bool:
        return subscriber_id in self._keys

    def __or__(self, others: SubscriberKeys) -> SubscriberKeys:
        return SubscriberKeys({**self._keys, **others._keys})

    def _of(self, subscriber_id: UUID) -> bytes:
        try:
            return self._keys[subscriber_id]
        except KeyError:
            raise KeyringError(f"the key of {subscriber_id} was deleted: their data cannot be read any more.") from None

    def seal(self, subscriber_id: UUID, column: sa.Column[Any], row_id: UUID, plaintext: str) -> bytes:
        """Encrypt `plaintext` with this subscriber's key for one column of the row `row_id`."""
        return _seal(self._of(subscriber_id), plaintext.encode(), place_of(column, row_id))

    def open(self, subscriber_id: UUID, column: sa.Column[Any], row_id: UUID, sealed: bytes | None) -> str:
        """Decrypt one value; empty where there is none.

        Raises:
            KeyringError: the subscriber's key was deleted, or the value was made with another key or for another place.
        """
        if sealed is None:
            return ""
        return _open(self._of(subscriber_id), bytes(sealed), place_of(column, row_id)).decode()


def key_id(master: bytes) -> str:
    """The public id of a master key: 16 hexadecimal digits."""
    return hashlib.sha256(_derive(master, "id")).hexdigest()[:16]


class Keyring:
    """The operations of the master key: blind indexes, and subscribers' keys. `previous` master keys only decrypt,
    during a rotation. `index_root` is for tests; otherwise `check` reads it from the database, and nothing can be
    blinded or signed before."""

    def __init__(self, master: bytes, *, previous: Sequence[bytes] = (), index_root: bytes | None = None) -> None:
        for key in (master, *previous):
            if len(key) != KEY_BYTES:
                raise KeyringError(f"the master key has {len(key)} bytes; it must have {KEY_BYTES}.")
        self.master_key_id = key_id(master)
        self._wrapping = {key_id(key): _derive(key, "wrap") for key in (*previous, master)}
        self._index_root = index_root
        self._signing: dict[str, bytes] = {}

    def _index_key(self, purpose: str) -> bytes:
        if self._index_root is None:
            raise KeyringError("the master key was not proved against the database yet (Keyring.check).")
        return _derive(self._index_root, purpose)

    @cached_property
    def blinding(self) -> BlindingKey:
        """The key of all blind indexes."""
        return BlindingKey(key=self._index_key("blind-index"))

    @cached_property
    def _labelling(self) -> bytes:
        return self._index_key("file-label")

    @cached_property
    def report_link_key(self) -> bytes:
        """The key that signs links to reports (see `domain.reports.retention`)."""
        return self._index_key("report-link")

    @cached_property
    def receipt_key(self) -> Ed25519PrivateKey:
        """The key that signs receipts (see `domain.reports.receipts`). It stays when the master key is rotated."""
        return Ed25519PrivateKey.from_private_bytes(self._index_key("receipt"))

    @cached_property
    def subscriber_token_key(self) -> Ed25519PrivateKey:
        """The key that signs tokens of subscribers (see `domain.access.subscriber_tokens`)."""
        return Ed25519PrivateKey.from_private_bytes(self._index_key("subscriber-token"))

    def __repr__(self) -> str:
        return f"Keyring({self.master_key_id})"

    def blind_index(self, kind: str, canonical: str) -> bytes:
        """The blind index (16 bytes) of a normalised identifier of `kind`."""
        return self.blind_indexes(kind, (canonical,))[0]

    def blind_indexes(self, kind: str, canonicals: Iterable[str]) -> list[bytes]:
        """The blind indexes of many identifiers: about a million per second and core."""
        return self.blinding.indexes(kind, canonicals)

    def range_index(self, sha1: str) -> bytes:
        """The blind index (16 bytes) of an e-mail address given by its SHA-1 (range notifications)."""
        return self.blind_index("email-sha1", sha1.upper())

    def file_key(self, name: str) -> bytes:
        """The keyed hash of a file's name, which may be personal; it distinguishes files."""
        return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16, key=self._labelling).digest()

    def sign(self, purpose: str, content: bytes) -> bytes:
        """A signature of 16 bytes over `content`, for one `purpose`; compare it with `hmac.compare_digest`."""
        key = self._signing.get(purpose)
        if key is None:
            key = self._signing[purpose] = self._index_key(f"sign/{purpose}")
        return hashlib.blake2b(content, digest_size=16, key=key).digest()

    def seal_secret(self, purpose: str, plaintext: str) -> bytes:
        """Encrypt a secret of our own (a token at another service, for example), for one purpose."""
        return _seal(self._index_key(f"secret/{purpose}"), plaintext.encode(), purpose.encode())

    def open_secret(self, purpose: str, sealed: bytes) -> str:
        """Decrypt a secret that `seal_secret` encrypted for this purpose.

        Raises:
            KeyringError: it was made with another key, or for another purpose.
        """
        return _open(self._index_key(f"secret/{purpose}"), sealed, purpose.encode()).decode()

    @cached_property
    def _records_key(self) -> bytes:
        return self._index_key("public-records")

    def seal_record(self, column: sa.Column[Any], row_id: UUID, plaintext: str) -> bytes:
        """Encrypt data of a public register, which belongs to no subscriber, for one column of the row `row_id`."""
        return _seal(self._records_key, plaintext.encode(), place_of(column, row_id))

    def open_record(self, column: sa.Column[Any], row_id: UUID, sealed: bytes) -> str:
        """Decrypt data that `seal_record` encrypted.

        Raises:
            KeyringError: it was made with another key or for another place.
        """
        return _open(self._records_key, sealed, place_of(column, row_id)).decode()

    def create_keys(
        self, connection: Connection, owner_ids: Sequence[UUID], *, table: sa.Table = subscriber_keys
    ) -> SubscriberKeys:
        """Create and store a data key for each owner; an owner with a key keeps it."""
        if owner_ids:
            owner = owner_column(table).name
            rows = [{owner: one, **self.wrapped(one, secrets.token_bytes(KEY_BYTES))} for one in owner_ids]
            connection.execute(insert(table).on_conflict_do_nothing(), rows)
        return self.load_keys(connection, owner_ids, table=table)

    def wrapped(self, owner_id: UUID, data_key: bytes) -> dict[str, Any]:
        """The columns of a table of keys with this data key of `owner_id`, wrapped."""
        sealed = _seal(self._wrapping[self.master_key_id], data_key, owner_id.bytes)
        return {"wrapped_key": sealed, "master_key_id": self.master_key_id}

    def load_keys(
        self,
        connection: Connection,
        owner_ids: Sequence[UUID],
        *,
        table: sa.Table = subscriber_keys,
        for_writing: bool = False,
    ) -> SubscriberKeys:
        """Decrypt the data keys of these owners: subscribers, or those whose keys are in `table`. An owner whose key
        was deleted is missing from the result. `for_writing`: no other transaction can change these keys before this
        one ends, so that values encrypted with them can be decrypted afterwards.

        Raises:
            KeyringError: a key was wrapped with another master key.
        """
        owner = owner_column(table)
        query = sa.select(owner.label("owner_id"), table.c.master_key_id, table.c.wrapped_key)
        query = query.where(owner.in_(list(owner_ids)))
        rows = connection.execute(query.with_for_update(read=True) if for_writing else query)
        return SubscriberKeys(
            {row.owner_id: self._unwrap(row.master_key_id, row.wrapped_key, row.owner_id.bytes) for row in rows}
        )

    def _unwrap(self, master_key_id: str, sealed: bytes, bound_to: bytes) -> bytes:
        key = self._wrapping.get(master_key_id)
        if key is None:
            raise KeyringError(
                f"an encrypted value does not open with this master key ({self.master_key_id}); it was written with "
                f"{master_key_id}. Give that one too: KORDANT_MASTER_KEY, or the file `kordant-jobs settings` names."
            )
        return _open(key, sealed, bound_to)

    def check(self, connection: Connection) -> None:
        """Verify that the database was written with this master key, and load its index root; a new database adopts
        this key.

        Raises:
            KeyringError: it is another one. Nothing was written.
        """
        root = self._index_root or secrets.token_bytes(KEY_BYTES)
        connection.execute(insert(keyring_check).values(**self.wrapped_root(root)).on_conflict_do_nothing())
        row = connection.execute(sa.select(keyring_check)).one()
        if row.master_key_id not in self._wrapping:
            raise KeyringError(
                f"the master key is not the one this database was written with (it has the id {self.master_key_id}, "
                f"the database wants {row.master_key_id}). Set KORDANT_MASTER_KEY or KORDANT_MASTER_KEY_PATH to it."
            )
        self._index_root = self._unwrap(row.master_key_id, row.wrapped_root, _ROOT)

    def opens(self, master_key_id: str) -> bool:
        """True when this is the key with that id, or has it as a previous one during a rotation."""
        return master_key_id in self._wrapping

    def adopt(self, connection: Connection) -> None:
        """Load the database's index root without writing anything.

        Raises:
            KeyringError: the key is another one, or the database has none yet.
        """
        row = connection.execute(sa.select(keyring_check)).one_or_none()
        if row is None or not self.opens(row.master_key_id):
            raise KeyringError("the master key is not the one this database was written with.")
        self._index_root = self._unwrap(row.master_key_id, row.wrapped_root, _ROOT)

    def wrapped_root(self, root: bytes | None = None) -> dict[str, Any]:
        """The row of `keyring_check` with the index root (this keyring's own) wrapped by the current master key."""
        sealed = _seal(self._wrapping[self.master_key_id], root or self._index_root or b"", _ROOT)
        return {"id": 1, "master_key_id": self.master_key_id, "wrapped_root": sealed}
