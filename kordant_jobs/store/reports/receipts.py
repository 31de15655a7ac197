"""Receipts: signed when a report is made, stored as a chain for each subscription, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.reports.receipts import Receipt, SourceChecked, fingerprint, sign
from kordant_jobs.store.reports.tables import scan_receipts


@dataclass(frozen=True, kw_only=True)
class Unsigned:
    """The content of a receipt before signing. `figures_sha256` identifies it: the same figures have one receipt."""

    subscription_id: UUID
    kind: str
    start_on: date
    end_on: date
    figures_sha256: bytes
    verdict: str
    items: int
    sources: tuple[SourceChecked, ...]


_LOCK = sa.text("""
SELECT pg_advisory_xact_lock(key) FROM (
    SELECT hashtextextended('kordant:receipts ' || id, 0) AS key FROM unnest(CAST(:ids AS text[])) id ORDER BY 1
) keys
""")


def issue(connection: Connection, wanted: Sequence[Unsigned], key: Ed25519PrivateKey) -> dict[UUID, str]:
    """The signed receipts, at most one for each subscription: existing ones, and new ones, each naming the
    subscription's last. Concurrent calls wait for each other."""
    ids = sorted({one.subscription_id for one in wanted})
    connection.execute(_LOCK, {"ids": [str(own) for own in ids]}).all()
    now = int(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    table = scan_receipts.c
    known: dict[Any, str] = {}
    last: dict[UUID, tuple[int, str]] = {}
    for row in connection.execute(
        sa.select(scan_receipts).where(table.subscription_id.in_(ids)).order_by(table.subscription_id, table.number)
    ):
        period = (row.kind, row.period_start_on, row.period_end_on, bytes(row.figures_sha256))
        known[row.subscription_id, *period] = row.receipt
        last[row.subscription_id] = (row.number, row.receipt)
    issued: dict[UUID, str] = {}
    rows = []
    for one in wanted:
        own = one.subscription_id
        if line := known.get((own, one.kind, one.start_on, one.end_on, one.figures_sha256)):
            issued[own] = line
            continue
        number, before = last.get(own, (0, ""))
        receipt = Receipt(
            iat=now,
            sub=own,
            number=number + 1,
            previous=fingerprint(before) if before else "",
            period=one.kind,
            since=one.start_on,
            until=one.end_on,
            verdict=one.verdict,
            items=one.items,
            sources=one.sources,
        )
        issued[own] = sign(receipt, key)
        rows.append(
            {
                "id": uuid7(),
                "subscription_id": own,
                "number": number + 1,
                "kind": one.kind,
                "period_start_on": one.start_on,
                "period_end_on": one.end_on,
                "figures_sha256": one.figures_sha256,
                "receipt": issued[own],
            }
        )
    if rows:
        connection.execute(sa.insert(scan_receipts), rows)
    return issued


def of_subscription(connection: Connection, subscription_id: UUID) -> Sequence[str]:
    """A subscription's receipts, the oldest first."""
    query = sa.select(scan_receipts.c.receipt).where(scan_receipts.c.subscription_id == subscription_id)
    return list(connection.execute(query.order_by(scan_receipts.c.number)).scalars())
