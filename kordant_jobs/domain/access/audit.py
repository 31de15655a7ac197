"""Entries of the audit log: their canonical text, their chain of hashes, and the faults of a chain. Pure."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import rfc8785

GENESIS = hashlib.sha256(b"kordant audit").digest()
"""The hash that precedes the first row."""
SQL = "sql"
"""The source of rows that triggers write without our code."""


class Outcome(StrEnum):
    """The outcome of an operation."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


class Break(StrEnum):
    """A fault of a row."""

    GAP = "gap"
    REORDERED = "reordered"
    FORK = "fork"
    ALTERED = "altered"
    FORGED = "forged_mac"
    TRUNCATED = "truncated"
    ANCHOR = "anchor_mismatch"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One action that was done or refused. It has only ids and words from closed sets: no name, address, payload or
    error text."""

    actor: str
    role: str
    source: str
    action: str
    target_kind: str
    target_id: str
    outcome: Outcome = Outcome.ALLOWED
    rule: str | None = None
    tenant: str | None = None
    on_behalf_of: str | None = None
    token_id: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None

    def text(self, at: datetime) -> str:
        """The entry in the form that is stored and hashed: canonical JSON (RFC 8785)."""
        values = {
            "v": 1,
            "at": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "actor": self.actor,
            "role": self.role,
            "source": self.source,
            "action": self.action,
            "target": {"kind": self.target_kind, "id": self.target_id},
            "outcome": self.outcome.value,
            "rule": self.rule,
            "tenant": self.tenant,
            "on_behalf_of": self.on_behalf_of,
            "token": self.token_id,
            "before": _plain(self.before),
            "after": _plain(self.after),
        }
        return rfc8785.dumps(values).decode()


def _plain(values: Mapping[str, Any] | None) -> Any:
    """Values as JSON, without numbers that canonical JSON refuses."""
    return None if values is None else json.loads(json.dumps(values, default=str))


class Row(NamedTuple):
    """A stored entry."""

    seq: int
    entry: str
    mac: bytes | None
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """The head of the log at one time, stored outside the database."""

    seq: int
    hash: bytes


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The first faulty row, and its fault; `seq` None: the chain is intact. `checked` is the number of rows read."""

    checked: int
    head: Anchor
    seq: int | None = None
    kind: Break | None = None

    @property
    def holds(self) -> bool:
        """True when no fault was found."""
        return self.kind is None


def link(prev_hash: bytes, seq: int, mac: bytes | None, entry: str) -> bytes:
    """The hash of a row. The database's trigger computes the same."""
    return hashlib.sha256(prev_hash + seq.to_bytes(8, "big") + (mac or b"") + entry.encode()).digest()


BEGINNING = Anchor(seq=0, hash=GENESIS)
"""The place before the first row."""


def verify(
    rows: Iterable[Row],
    *,
    mac_of: Callable[[bytes], bytes],
    anchors: Mapping[int, bytes] | None = None,
    after: Anchor = BEGINNING,
) -> Verdict:
    """Check a chain in its stored order, from the row after `after`, against anchors by `seq`, to the first fault."""
    anchors = anchors or {}
    last, before, checked = after.seq, after.hash, 0

    def broken(seq: int, kind: Break) -> Verdict:
        return Verdict(checked=checked, head=Anchor(seq=last, hash=before), seq=seq, kind=kind)

    for row in rows:
        seq, entry, mac, prev_hash, own = row
        if seq != last + 1:
            return broken(last + 1, Break.GAP if seq > last + 1 else Break.REORDERED)
        if prev_hash != before:
            return broken(seq, Break.FORK)
        if own != link(prev_hash, seq, mac, entry):
            return broken(seq, Break.ALTERED)
        if not _is_ours(row, mac_of):
            return broken(seq, Break.FORGED)
        if anchors and anchors.get(seq, own) != own:
            return broken(seq, Break.ANCHOR)
        last, before, checked = seq, own, checked + 1
    if anchors and max(anchors) > last:
        return broken(last + 1, Break.TRUNCATED)
    return Verdict(checked=checked, head=Anchor(seq=last, hash=before))


def _is_ours(row: Row, mac_of: Callable[[bytes], bytes]) -> bool:
    if row.mac is None:
        return f'"source":"{SQL}"' in row.entry
    return hmac.compare_digest(row.mac, mac_of(row.entry.encode()))
