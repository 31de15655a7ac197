"""Writes the audit log, reads it, and verifies that it was not changed."""

import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.access.audit import BEGINNING, Anchor, Break, Entry, Row, Verdict, verify
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.audit.tables import audit_log, audit_progress
from kordant_jobs.store.people.keyring import Keyring

PURPOSE, ANCHORS = "audit", "audit-anchor"
"""Purposes of the signatures of entries, and of anchors."""
AT_ONCE = 10_000
PART = 50_000
"""Rows that `verify_on` verifies at once, in a third of a second."""


def record(connection: Connection, keyring: Keyring, *entries: Entry) -> None:
    """Add entries in the caller's transaction; a rollback removes them. The chain has one end, so writers wait for each
    other from here to their commit: call it last."""
    for one in entries:
        text = one.text(datetime.now(UTC))
        connection.execute(
            sa.insert(audit_log).values(
                seq=0, entry=text, mac=keyring.sign(PURPOSE, text.encode()), prev_hash=b"", hash=b""
            )
        )


def stored_rows(connection: Connection, *, after: int = 0, limit: int | None = None) -> Iterator[Row]:
    """The rows behind `after` in the order of `seq`, streamed; at most `limit`."""
    connection.execute(sa.text("SELECT"))  # so that there is a transaction, in which the cursor lives
    driver: Any = connection.connection.driver_connection
    with driver.cursor(name="audit") as cursor:  # past SQLAlchemy: a quarter of the time
        cursor.itersize = AT_ONCE
        query = "SELECT seq, entry, mac, prev_hash, hash FROM kordant.audit_log WHERE seq > %s ORDER BY seq LIMIT %s"
        cursor.execute(query, (after, limit))
        for seq, entry, mac, prev_hash, own_hash in cursor:
            yield Row(seq, entry, None if mac is None else bytes(mac), bytes(prev_hash), bytes(own_hash))


def check(connection: Connection, keyring: Keyring, anchors: Mapping[int, bytes] | None = None) -> Verdict:
    """Verify the whole log. Returns the first fault with its row and kind."""
    return verify(stored_rows(connection), mac_of=lambda text: keyring.sign(PURPOSE, text), anchors=anchors)


def verify_on(
    connection: Connection, keyring: Keyring, *, anchor: Anchor | None = None, rows: int = PART
) -> Verdict | None:
    """Verify that the log still has the row of `anchor`, then its next rows; behind its end the pass begins again. A
    fault is kept until a whole pass finds none. None: another process verifies, and nothing was done."""
    column = audit_progress.c
    query = sa.select(column.seq, column.hash).with_for_update(skip_locked=True)
    known = connection.execute(query).one_or_none()
    if known is None:
        return None
    if anchor is not None and not (kept := _anchored(connection, anchor)).holds:
        connection.execute(sa.update(audit_progress).values(fault_seq=kept.seq, fault=kept.kind))
        return kept
    verdict = verify(
        stored_rows(connection, after=known.seq, limit=rows),
        mac_of=lambda text: keyring.sign(PURPOSE, text),
        after=Anchor(seq=known.seq, hash=bytes(known.hash)),
    )
    is_whole = verdict.holds and verdict.checked < rows
    at = BEGINNING if is_whole or not verdict.holds else verdict.head
    found: dict[str, Any] = {"seq": at.seq, "hash": at.hash}
    if not verdict.holds:
        found |= {"fault_seq": verdict.seq, "fault": verdict.kind}
    elif is_whole:
        found |= {"fault_seq": None, "fault": None, "verified_at": sa.func.now()}
    connection.execute(sa.update(audit_progress).values(found))
    return verdict


def _anchored(connection: Connection, anchor: Anchor) -> Verdict:
    """Check the row of one anchor only: whether rows behind it were cut off, or it is another one."""
    here = head(connection) or BEGINNING
    own = connection.execute(sa.select(audit_log.c.hash).where(audit_log.c.seq == anchor.seq)).scalar_one_or_none()
    if own is None:
        return Verdict(checked=0, head=here, seq=here.seq + 1, kind=Break.TRUNCATED)
    if bytes(own) != anchor.hash:
        return Verdict(checked=0, head=here, seq=anchor.seq, kind=Break.ANCHOR)
    return Verdict(checked=1, head=here)


def known_fault(connection: Connection) -> tuple[datetime | None, int | None, Break | None]:
    """When `verify_on` last found the whole log without a fault, and the row and kind of the fault that it found
    since."""
    column = audit_progress.c
    row = connection.execute(sa.select(column.verified_at, column.fault_seq, column.fault)).one()
    return row.verified_at, row.fault_seq, None if row.fault is None else Break(row.fault)


def entries(
    connection: Connection,
    *,
    actor: str | None = None,
    target: str | None = None,
    before: int | None = None,
    limit: int,
) -> Sequence[tuple[int, dict[str, Any]]]:
    """Entries with their `seq`, the newest first."""
    column = audit_log.c
    query = sa.select(column.seq, column.entry).order_by(column.seq.desc()).limit(limit)
    if actor is not None:
        query = query.where(column.actor == actor)
    if target is not None:
        query = query.where(column.target == target)
    if before is not None:
        query = query.where(column.seq < before)
    return [(seq, json.loads(entry)) for seq, entry in connection.execute(query)]


def head(connection: Connection) -> Anchor | None:
    """The last row's number and hash; None while the log is empty."""
    column = audit_log.c
    found = connection.execute(sa.select(column.seq, column.hash).order_by(column.seq.desc()).limit(1)).one_or_none()
    return None if found is None else Anchor(seq=found.seq, hash=bytes(found.hash))


def write_anchor(connection: Connection, keyring: Keyring, path: Path) -> Anchor | None:
    """Append the signed head of the log to a file outside the database. None when there is nothing new; the file's time
    then says that it was checked.

    Raises:
        PermanentError: the log does not have the row of the last anchor any more: a later anchor would hide that.
    """
    now_at, last = head(connection), last_anchor(path, keyring)
    if last is not None and not (kept := _anchored(connection, last)).holds:
        raise PermanentError(
            f"row {kept.seq} of the audit log is wrong ({kept.kind}) against {path}: nothing was written. "
            "`kordant-jobs audit verify` says more; once the cause is known, move the file away."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if now_at is None or now_at == last:
        path.touch()
        return None
    line = {"seq": now_at.seq, "hash": now_at.hash.hex(), "at": datetime.now(UTC).isoformat()}
    mac = keyring.sign(ANCHORS, json.dumps(line, sort_keys=True).encode()).hex()
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**line, "mac": mac}, sort_keys=True) + "\n")
    return now_at


def last_anchor(path: Path, keyring: Keyring) -> Anchor | None:
    """The last anchor in a file. None: it is absent or empty.

    Raises:
        PermanentError: the line was not written with this master key.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return _read_anchor(lines[-1], keyring, origin=f"{path}, line {len(lines)}") if lines else None


def read_anchors(path: Path, keyring: Keyring) -> dict[int, bytes]:
    """The anchors in a file, by `seq`.

    Raises:
        PermanentError: a line of it was not written with this master key.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    read = (_read_anchor(text, keyring, origin=f"{path}, line {number}") for number, text in enumerate(lines, start=1))
    return {one.seq: one.hash for one in read}


def _read_anchor(text: str, keyring: Keyring, *, origin: str) -> Anchor:
    try:
        line = json.loads(text)
        mac = bytes.fromhex(line.pop("mac"))
        own = keyring.sign(ANCHORS, json.dumps(line, sort_keys=True).encode())
        anchor = Anchor(seq=int(line["seq"]), hash=bytes.fromhex(line["hash"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PermanentError(f"{origin} is no anchor: take a copy of the file that is whole.") from None
    if not hmac.compare_digest(own, mac):
        raise PermanentError(
            f"{origin} was not signed for this database: it proves nothing. For a new database move the file away."
        )
    return anchor
