"""The outbox of notifications: which are due, who has claimed them, and their outcome.

A batch is claimed under a lease of the engine, and a claim counts as an attempt. The number of the attempt is the
fence: a sender that lost the lease to another attempt can no longer write. `jobs/notifications_send` writes messages;
`notification_choices` has the subscribers' choices.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.alerts import Channel, Severity
from kordant_jobs.domain.notifications.choices import LEAST_SEVERITY, Category
from kordant_jobs.domain.notifications.pending import AlertRow, Claim, Mark
from kordant_jobs.engine.control import leases

WARY_AFTER = 2
"""The number of interruptions after which a notification is claimed alone: if it kills its senders, it no longer uses
up the attempts of others claimed with it."""

_FREE = f"(status IN ('queued', 'deferred') OR (status = 'sending' AND NOT {leases.held_sql('lease_id')}))"

_WAITING = f"due_at <= clock_timestamp() AND {_FREE}"

_TAKE = """
UPDATE kordant.notification_outbox o
SET status = 'sending', attempts = o.attempts + 1, lease_id = :lease,
    interruptions = o.interruptions + CASE WHEN due.status = 'sending' AND o.begun THEN 1 ELSE 0 END,
    begun = :begun, mail_id = due.mail_id
FROM due WHERE o.id = due.id
RETURNING o.id, o.attempts, o.interruptions, o.mail_id, o.traceparent
"""

_CLAIM = f"""
WITH due AS (
    SELECT id, status, mail_id FROM kordant.notification_outbox
    WHERE channel = :channel AND held_for IS NULL AND (interruptions >= :wary) = :alone AND {_WAITING}
    ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
) {_TAKE}
"""  # noqa: S608 - put together from constants

_FAMILY = "num_nonnulls({table}removal_event_id) + 2 * num_nonnulls({table}finance_notice_id)"
"""Alerts, news of removal requests and news of bank accounts go into separate messages."""

_CLAIM_DIGESTS = f"""
WITH together AS MATERIALIZED (
    SELECT subscription_id, address_id, report_id, family, mail_id, coalesce(mail_id, gen_random_uuid()) AS name
    FROM (
        SELECT subscription_id, address_id, report_id, {_FAMILY.format(table="")} AS family, mail_id
        FROM kordant.notification_outbox
        WHERE channel = :channel AND held_for IS NOT NULL AND (interruptions >= :wary) = :alone AND {_WAITING}
        GROUP BY subscription_id, address_id, report_id, {_FAMILY.format(table="")}, mail_id
        ORDER BY min(due_at) LIMIT :limit
    ) found
), due AS (
    SELECT o.id, o.status, t.name AS mail_id
    FROM kordant.notification_outbox o
    JOIN together t ON o.subscription_id = t.subscription_id AND o.address_id IS NOT DISTINCT FROM t.address_id
                   AND o.mail_id IS NOT DISTINCT FROM t.mail_id AND o.report_id IS NOT DISTINCT FROM t.report_id
                   AND {_FAMILY.format(table="o.")} = t.family
    WHERE o.channel = :channel AND o.held_for IS NOT NULL
      AND (o.mail_id IS NOT NULL OR o.due_at <= clock_timestamp())
      AND {_FREE}
    FOR UPDATE OF o SKIP LOCKED
) {_TAKE}
"""  # noqa: S608 - put together from constants

_CLAIM_BESIDE = f"""
WITH wanted AS (
    SELECT DISTINCT subscription_id, address_id FROM kordant.notification_outbox WHERE id = ANY(cast(:ids AS uuid[]))
), due AS (
    SELECT o.id, o.status, o.mail_id FROM kordant.notification_outbox o
    JOIN wanted w ON o.subscription_id = w.subscription_id AND o.address_id IS NOT DISTINCT FROM w.address_id
    WHERE o.channel = :channel AND o.held_for IS NULL AND o.interruptions = 0 AND o.status IN ('queued', 'deferred')
      AND o.due_at <= clock_timestamp()
    FOR UPDATE OF o SKIP LOCKED
) {_TAKE}
"""  # noqa: S608 - put together from constants

NOTICE_COLUMNS = """o.id, o.category, o.channel, o.address_id, o.held_for, o.created_at AS queued_at, w.mode,
       o.subscription_id, s.subscriber_id, s.status AS subscription_status, s.locale, s.time_zone,
       h.quiet_from, h.quiet_until, h.digest_at, h.digest_weekday,
       p.forgotten_at, p.name_encrypted, p.contact_encrypted, c.address_encrypted, c.removed_at AS address_removed_at"""
"""The columns of a `NoticeRow`, except its severity, from `NOTICE_JOINS`."""

NOTICE_JOINS = """JOIN kordant.subscriptions s ON s.id = o.subscription_id
JOIN kordant.subscribers p ON p.id = s.subscriber_id
LEFT JOIN kordant.contact_addresses c ON c.id = o.address_id
LEFT JOIN kordant.notification_preferences w
       ON w.subscriber_id = s.subscriber_id AND w.category = o.category AND w.channel = o.channel
LEFT JOIN kordant.notification_hours h ON h.subscriber_id = s.subscriber_id"""

_ALERT_ROWS = f"""
SELECT {NOTICE_COLUMNS}, o.alert_id,
       i.id AS item_id, i.kind AS item_kind, i.identifier_encrypted, i.removed_at AS item_removed_at,
       e.dismissed_at, e.secret, a.severity, a.why, a.created_at AS alerted_at,
       b.name AS breach_name, b.source AS breach_source, b.title AS breach_title, b.domain AS breach_domain,
       b.breached_on, b.data_classes, b.is_sensitive
FROM kordant.notification_outbox o
JOIN kordant.alerts a ON a.id = o.alert_id
JOIN kordant.exposures e ON e.id = a.exposure_id
JOIN kordant.watchlist_items i ON i.id = e.item_id
JOIN kordant.breaches b ON b.name = e.breach_name
{NOTICE_JOINS}
WHERE o.id = ANY(cast(:ids AS uuid[]))
ORDER BY o.due_at, o.id
"""  # noqa: S608 - put together from constants

_MARK = """
UPDATE kordant.notification_outbox o
SET status = CASE WHEN m.status = 'sent' AND o.receipt IN ('undelivered', 'failed') THEN 'failed' ELSE m.status END,
    reason = m.reason, lease_id = NULL,
    attempts = o.attempts - CASE WHEN m.refund THEN 1 ELSE 0 END,
    interruptions = o.interruptions + CASE WHEN m.uncertain THEN 1 ELSE 0 END,
    due_at = CASE WHEN m.due_at IS NOT NULL THEN greatest(m.due_at, now() + interval '1 second')
                  WHEN m.due_in_s IS NOT NULL THEN now() + make_interval(secs => m.due_in_s) ELSE o.due_at END,
    held_for = coalesce(m.held_for, o.held_for), provider_id = coalesce(m.provider_id, o.provider_id),
    sent_at = CASE WHEN m.status = 'sent' THEN clock_timestamp() ELSE o.sent_at END
FROM unnest(cast(:ids AS uuid[]), cast(:attempts AS int[]), cast(:statuses AS text[]), cast(:reasons AS text[]),
            cast(:due_in AS float8[]), cast(:due_at AS timestamptz[]), cast(:refunds AS boolean[]),
            cast(:uncertain AS boolean[]), cast(:held_for AS text[]), cast(:provider_ids AS text[]))
     AS m (id, attempt, status, reason, due_in_s, due_at, refund, uncertain, held_for, provider_id)
WHERE o.id = m.id AND o.attempts = m.attempt AND o.status = 'sending'
"""

_QUEUE = """
INSERT INTO kordant.notification_outbox (id, alert_id, subscription_id, category, channel, address_id)
SELECT gen_random_uuid(), a.id, a.subscription_id, :category, 'email', cast(NULL AS uuid)
FROM kordant.alerts a WHERE a.id = ANY(cast(:ids AS uuid[]))
UNION ALL
SELECT gen_random_uuid(), a.id, a.subscription_id, :category, c.channel, c.id
FROM kordant.alerts a
JOIN kordant.subscriptions s ON s.id = a.subscription_id
JOIN kordant.contact_addresses c ON c.subscriber_id = s.subscriber_id AND c.removed_at IS NULL
LEFT JOIN kordant.notification_preferences w
       ON w.subscriber_id = s.subscriber_id AND w.category = :category AND w.channel = c.channel
WHERE a.id = ANY(cast(:ids AS uuid[])) AND w.mode IS DISTINCT FROM 'off'
  AND c.channel || ' ' || a.severity <> ALL(cast(:too_quiet AS text[]))
ON CONFLICT DO NOTHING
"""


def queue(connection: Connection, alert_ids: Sequence[UUID], category: Category) -> int:
    """Queue the notifications of these alerts, one for each address of their subscriber, in the caller's transaction,
    so that an alert and its notifications exist together or not at all. Returns the number of new ones. E-mail to the
    subscriber's contact is always queued, so that there is a row with the reason if it is not sent."""
    if not alert_ids:
        return 0
    order = list(Severity)
    too_quiet = [
        f"{channel} {severity}" for channel, least in LEAST_SEVERITY.items() for severity in order[: order.index(least)]
    ]
    values = {"ids": [str(one) for one in alert_ids], "category": category, "too_quiet": too_quiet}
    return int(connection.execute(sa.text(_QUEUE), values).rowcount)


def now(connection: Connection) -> datetime:
    """The database's clock, which decides what is due."""
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def due(connection: Connection, channels: Collection[Channel]) -> int:
    """The number of notifications of these channels that are due now, including those whose sender was interrupted. A
    paused channel has none."""
    query = f"""
        SELECT count(*) FROM kordant.notification_outbox WHERE channel = ANY(:channels) AND {_WAITING}
          AND channel NOT IN (SELECT channel FROM kordant.channel_pauses WHERE paused_until > clock_timestamp())
    """  # noqa: S608 - put together from constants
    return int(connection.execute(sa.text(query), {"channels": [one.value for one in channels]}).scalar_one())


def claim(connection: Connection, *, channel: Channel, limit: int, lease: UUID, begun: bool = True) -> list[Claim]:
    """Claim up to `limit` due notifications under a lease. Those held by another sender are skipped. Those whose
    senders were interrupted twice come last, one by one. Unless they count as `begun` now, `begin` must be called
    before each is sent: an interrupted sender then leaves only those doubtful."""
    return _claimed(connection, _CLAIM, channel, limit, lease, begun)


def claim_beside(
    connection: Connection, claims: Sequence[Claim], *, channel: Channel, lease: UUID, begun: bool = True
) -> list[Claim]:
    """Claim the other due notifications to the addresses of these claims, so that everything for one message is claimed
    together. One whose senders were interrupted twice stays alone."""
    if not claims or claims[0].interruptions >= WARY_AFTER:
        return []
    values = {"ids": [str(one.id) for one in claims], "channel": channel, "begun": begun, "lease": lease}
    rows = connection.execute(sa.text(_CLAIM_BESIDE), values)
    return [_claim_of(row) for row in rows]


def join(connection: Connection, messages: Mapping[UUID, Sequence[UUID]]) -> None:
    """Combine claimed notifications into messages: from now on each message, by its id, is claimed and sent as a
    whole."""
    pairs = [(str(one), str(message)) for message, ids in messages.items() for one in ids]
    if not pairs:
        return
    query = """
        UPDATE kordant.notification_outbox o SET mail_id = m.mail_id, held_for = 'together'
        FROM unnest(cast(:ids AS uuid[]), cast(:mail_ids AS uuid[])) AS m (id, mail_id)
        WHERE o.id = m.id AND o.status = 'sending'
    """
    connection.execute(sa.text(query), {"ids": [one for one, _ in pairs], "mail_ids": [mail for _, mail in pairs]})


def claim_digests(
    connection: Connection, *, channel: Channel, limit: int, lease: UUID, begun: bool = True
) -> list[Claim]:
    """Claim the notifications of up to `limit` due digests under a lease, each digest as a whole. A report is separate,
    and news of removal requests are separate from alerts. The first claim decides which belong together: a digest that
    is sent again is the same."""
    leases.lock_name(connection, f"notification digests {channel}")
    return _claimed(connection, _CLAIM_DIGESTS, channel, limit, lease, begun)


def begin(connection: Connection, claims: Sequence[Claim]) -> bool:
    """Record that one message with these notifications is being sent. False when we no longer hold all of them."""
    query = """
        UPDATE kordant.notification_outbox o SET begun = true
        FROM unnest(cast(:ids AS uuid[]), cast(:attempts AS int[])) AS m (id, attempt)
        WHERE o.id = m.id AND o.attempts = m.attempt AND o.status = 'sending'
    """
    values = {"ids": [str(one.id) for one in claims], "attempts": [one.attempt for one in claims]}
    return int(connection.execute(sa.text(query), values).rowcount) == len(claims)


def _claimed(
    connection: Connection, statement: str, channel: Channel, limit: int, lease: UUID, begun: bool
) -> list[Claim]:
    values = {"channel": channel, "lease": lease, "wary": WARY_AFTER, "begun": begun}
    rows = connection.execute(sa.text(statement), {**values, "limit": limit, "alone": False}).all()
    if not rows:
        rows = connection.execute(sa.text(statement), {**values, "limit": 1, "alone": True}).all()
    return [_claim_of(row) for row in rows]


def _claim_of(row: Any) -> Claim:
    return Claim(
        id=row.id,
        attempt=row.attempts,
        interruptions=row.interruptions,
        mail_id=row.mail_id,
        traceparent=row.traceparent,
    )


def alert_rows(connection: Connection, ids: Sequence[UUID]) -> list[AlertRow]:
    """The content of the notifications among `ids` that are about alerts, the longest due first."""
    rows = connection.execute(sa.text(_ALERT_ROWS), {"ids": [str(one) for one in ids]})
    return [AlertRow(**row._mapping) for row in rows]


def sent_since(
    connection: Connection, channel: Channel, subscription_ids: Collection[UUID], since: timedelta
) -> dict[tuple[UUID, UUID | None], int]:
    """The number of messages sent within the last `since`, by subscription and address."""
    query = """
        SELECT subscription_id, address_id, count(DISTINCT coalesce(mail_id, id)) AS messages
        FROM kordant.notification_outbox
        WHERE subscription_id = ANY(cast(:ids AS uuid[])) AND channel = :channel
          AND sent_at > now() - cast(:since AS interval)
        GROUP BY subscription_id, address_id
    """
    values = {"ids": [str(one) for one in subscription_ids], "channel": channel}
    rows = connection.execute(sa.text(query), {**values, "since": f"{since.total_seconds()} seconds"})
    return {(row.subscription_id, row.address_id): row.messages for row in rows}


def mark(connection: Connection, marks: Sequence[Mark]) -> int:
    """Write the outcomes of claimed notifications. Returns the number that we still held."""
    if not marks:
        return 0
    done = connection.execute(
        sa.text(_MARK),
        {
            "ids": [str(one.id) for one in marks],
            "attempts": [one.attempt for one in marks],
            "statuses": [one.status.value for one in marks],
            "reasons": [one.reason for one in marks],
            "due_in": [one.due_in.total_seconds() if one.due_in else None for one in marks],
            "due_at": [one.due_at for one in marks],
            "refunds": [one.refund for one in marks],
            "uncertain": [one.uncertain for one in marks],
            "held_for": [one.held_for for one in marks],
            "provider_ids": [one.provider_id for one in marks],
        },
    )
    return int(done.rowcount)
