"""Receives pushes of Have I Been Pwned: addresses in a new breach, by the hashes of a range.

Accepting a push only authenticates it, stores it and queues a scan, which resolves the breach and asks again. Of a hash
only the keyed index that finds the item is stored.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError
from sqlalchemy import Connection

from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.engine import Priority
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.darkwatch import new_data
from kordant_jobs.store.people.keyring import Keyring

MAX_BYTES = 4 << 20
"""The most bytes of a push: 100,000 suffixes are 3.8 MB; a range has a few hundred."""

SIGNATURE = "x-kordant-signature"
"""The header with `sha256=<hex>` of the body, from a relay of ours that cannot send the bearer token."""


class NotificationRefused(PermanentError):
    """A notification is refused; `status` is the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Notification(BaseModel):
    model_config = ConfigDict(extra="ignore")

    breach_name: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(alias="breachName")
    prefix: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{6}$")] = Field(alias="hashPrefix")
    suffixes: list[Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{34}$")]] = Field(
        alias="hashSuffixes", max_length=100_000
    )


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The number of items that it names, and the id of the request that scans those of real-time tiers (None: there are
    none; the others come with their next scan)."""

    items: int
    request_id: UUID | None


def accept_range_notification(
    connection: Connection, headers: Mapping[str, str], body: bytes, *, keyring: Keyring, secret: SecretStr | None
) -> Accepted:
    """Accept one notification in the caller's transaction. A repeated one counts once.

    Raises:
        NotificationRefused: 401 its secret is wrong, 400 it is not a notification, 413 it is too large.
    """
    if len(body) > MAX_BYTES:
        raise NotificationRefused(413, "the notification is too large.")
    if not _proves_itself({name.lower(): value for name, value in headers.items()}, body, secret):
        raise NotificationRefused(401, "the notification does not prove itself. Check KORDANT_RANGE_WEBHOOK_SECRET.")
    try:
        notification = _Notification.model_validate_json(body)
    except (ValidationError, ValueError):
        raise NotificationRefused(400, "the notification lacks breachName, hashPrefix or hashSuffixes.") from None
    indexes = [keyring.range_index(notification.prefix + suffix) for suffix in notification.suffixes]
    tiers = [tier.value for tier in new_data.realtime_tiers(connection, DarkwatchScan.job)]
    values = {"indexes": indexes, "reference": notification.breach_name, "source": Source.HIBP.value}
    rows = connection.execute(sa.text(_NOTE), values).all()
    ids = sorted({row.subscription_id for row in rows if row.tier in tiers})[: new_data.AT_ONCE]
    request_id = None
    if ids:
        request_id = enqueue(
            connection,
            DarkwatchScan(subscription_ids=tuple(ids)),
            requested_by="hibp.range_notification",
            priority=Priority.CRITICAL,
        )
    return Accepted(items=len(rows), request_id=request_id)


_NOTE = """
WITH meant AS (
    SELECT i.id, i.subscription_id, s.tier
    FROM kordant.watchlist_items i JOIN kordant.subscriptions s ON s.id = i.subscription_id AND s.status = 'active'
    WHERE i.range_index = ANY(cast(:indexes AS bytea[])) AND i.removed_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM kordant.source_evidence v JOIN kordant.exposures e ON e.id = v.exposure_id
                      WHERE e.item_id = i.id AND v.source = :source AND v.reference = :reference)
), noted AS (
    INSERT INTO kordant.source_hints (item_id, source, reference)
    SELECT id, :source, :reference FROM meant ORDER BY id
    ON CONFLICT DO NOTHING RETURNING item_id
)
SELECT meant.id, meant.subscription_id, meant.tier FROM meant JOIN noted ON noted.item_id = meant.id
"""


def _proves_itself(headers: Mapping[str, str], body: bytes, secret: SecretStr | None) -> bool:
    """True when the sender is authenticated: by the shared bearer token (HIBP's way), or by a signature of the body.
    Compared in constant time."""
    if secret is None or not secret.get_secret_value():
        return False
    key = secret.get_secret_value().encode()
    if SIGNATURE in headers:
        wanted = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(headers[SIGNATURE].encode(), wanted.encode())
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), key)
