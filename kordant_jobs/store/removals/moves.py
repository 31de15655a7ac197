"""The one way by which requests move: an event for each, messages to brokers and notices to subscribers with it.

All in the caller's transaction and in sets. A request that another process moved meanwhile is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.choices import Category
from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.postgres.bulk import write_frame

Way = tuple[RemovalChannel, str]
"""A channel, and the broker's address or link on it."""

MOVE_COLUMNS: dict[str, Any] = {
    "id": pl.String(),
    "from_state": pl.String(),
    "to_state": pl.String(),
    "action": pl.String(),
    "reason": pl.String(),
    "next_at": pl.Datetime("us", "UTC"),
    "evidence": pl.String(),
    "sent_on": pl.Date(),
    "confirm_by_on": pl.Date(),
    "answer_by_on": pl.Date(),
    "extended_by_on": pl.Date(),
    "answered": pl.Boolean(),
    "broker_says": pl.String(),
    "outside_id": pl.String(),
    "channel": pl.String(),
}
"""A move as it is written. `to_state` null: the request stays. `evidence` is JSON of codes, ids and days."""

_TEMPORARY = """
CREATE TEMP TABLE IF NOT EXISTS moving (
    id uuid PRIMARY KEY, from_state text, to_state text, action text, reason text, next_at timestamptz, evidence text,
    sent_on date, confirm_by_on date, answer_by_on date, extended_by_on date, answered boolean, broker_says text,
    outside_id text, channel text, event_id uuid DEFAULT gen_random_uuid()
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS ways (broker_id uuid PRIMARY KEY, channel text, contact text, email text)
    ON COMMIT DELETE ROWS;
DELETE FROM moving;
DELETE FROM ways
"""
"""They stay with the connection: making tables in every transaction would bloat Postgres's catalogue."""

ANALYSED_FROM = 100

_DROP_STALE = """
WITH locked AS MATERIALIZED (
    SELECT r.id FROM kordant.removal_requests r JOIN moving m ON m.id = r.id AND m.from_state = r.state
    ORDER BY r.id FOR UPDATE OF r
) DELETE FROM moving m WHERE NOT EXISTS (SELECT 1 FROM locked WHERE locked.id = m.id)
"""

_EVENTS = """
INSERT INTO kordant.removal_events (id, request_id, from_state, to_state, reason, evidence, actor, at)
SELECT m.event_id, m.id, m.from_state, coalesce(m.to_state, m.from_state), m.reason,
       cast(coalesce(m.evidence, '{}') AS jsonb), :actor, :now
FROM moving m
WHERE m.to_state IS NOT NULL OR m.action <> 'nothing'
"""

_MESSAGES = """
INSERT INTO kordant.removal_messages (id, request_id, broker_id, kind, channel, contact, created_at, due_at)
SELECT gen_random_uuid(), m.id, r.broker_id, 'request', w.channel, w.contact, :now, :now
FROM moving m JOIN kordant.removal_requests r ON r.id = m.id JOIN ways w ON w.broker_id = r.broker_id
WHERE m.action = 'request' AND w.channel IS NOT NULL
UNION ALL
SELECT gen_random_uuid(), m.id, r.broker_id, 'reminder', 'email', w.email, :now, :now
FROM moving m JOIN kordant.removal_requests r ON r.id = m.id JOIN ways w ON w.broker_id = r.broker_id
WHERE m.action = 'remind' AND w.email IS NOT NULL
"""

_UPDATE = """
UPDATE kordant.removal_requests r SET
    state = coalesce(m.to_state, r.state),
    reason = CASE WHEN m.to_state IS NULL THEN r.reason ELSE m.reason END,
    last_event_id = CASE WHEN m.to_state IS NULL THEN r.last_event_id ELSE m.event_id END,
    state_since = CASE WHEN m.to_state IS NULL THEN r.state_since ELSE :now END,
    next_at = m.next_at,
    sent_on = CASE m.action WHEN 'request' THEN NULL ELSE coalesce(m.sent_on, r.sent_on) END,
    confirm_by_on = CASE WHEN m.sent_on IS NOT NULL THEN m.confirm_by_on ELSE r.confirm_by_on END,
    answer_by_on = coalesce(m.answer_by_on, r.answer_by_on),
    extended_by_on = coalesce(m.extended_by_on, r.extended_by_on),
    attempts = CASE WHEN m.to_state = 'verified_removed' THEN 0
                    ELSE r.attempts + CASE WHEN m.action = 'sent' THEN 1 ELSE 0 END END,
    reminders = CASE m.action WHEN 'request' THEN 0 WHEN 'remind' THEN r.reminders + (
        SELECT count(w.email) FROM ways w WHERE w.broker_id = r.broker_id) ELSE r.reminders END,
    asked_user = CASE WHEN m.to_state IN ('needs_user_action', 'needs_identity') THEN 1
                      WHEN m.action = 'ask_user' THEN r.asked_user + 1 ELSE r.asked_user END,
    answered = m.action <> 'request' AND (r.answered OR coalesce(m.answered, false)),
    broker_says = coalesce(m.broker_says, r.broker_says),
    outside_id = CASE m.action WHEN 'request' THEN NULL ELSE coalesce(m.outside_id, r.outside_id) END,
    channel = coalesce(m.channel, CASE m.action WHEN 'request' THEN (
        SELECT w.channel FROM ways w WHERE w.broker_id = r.broker_id) END, r.channel)
FROM moving m
WHERE m.id = r.id
"""

_NOTICES = """
INSERT INTO kordant.notification_outbox (id, removal_event_id, subscription_id, category, channel, due_at)
SELECT gen_random_uuid(), m.event_id, r.subscription_id, :category, 'email', :now
FROM moving m JOIN kordant.removal_requests r ON r.id = m.id
WHERE m.action IN ('ask_user', 'tell_user', 'complain')
"""


def apply(
    connection: Connection,
    moves: pl.DataFrame,
    *,
    now: datetime,
    actor: str,
    ways: Mapping[UUID, tuple[Way | None, str | None]] | None = None,
) -> int:
    """Write moves: columns of `MOVE_COLUMNS`, those that are missing are null. `ways` says where a request to a broker
    goes, and to which e-mail address a reminder: where there is none, none goes out and none is counted. Returns how
    many were written; what is not in `from_state` any more is left out.

    Raises:
        IntegrityError: a move is none of the table's; the database's trigger says so.
    """
    if moves.is_empty():
        return 0
    whole = moves.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in MOVE_COLUMNS.items() if name not in moves.columns
    ).with_columns(pl.col("action").fill_null("nothing"))
    for statement in _TEMPORARY.split(";"):
        connection.execute(sa.text(statement))
    write_frame(connection, whole.select(list(MOVE_COLUMNS)), "moving", list(MOVE_COLUMNS))
    if ways:
        rows = [(str(broker), *(way or (None, None)), email) for broker, (way, email) in ways.items()]
        names = dict.fromkeys(("broker_id", "channel", "contact", "email"), pl.String)
        write_frame(connection, pl.DataFrame(rows, names, orient="row"), "ways")
    if whole.height > ANALYSED_FROM:  # without figures Postgres takes it for a small table, and loops over it
        connection.execute(sa.text("ANALYZE moving"))
    connection.execute(sa.text(_DROP_STALE))
    connection.execute(sa.text(_EVENTS), {"actor": actor, "now": now})
    connection.execute(sa.text(_MESSAGES), {"now": now})
    done = connection.execute(sa.text(_UPDATE), {"now": now}).rowcount
    connection.execute(sa.text(_NOTICES), {"now": now, "category": Category.REMOVAL})
    return int(done)


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Moves as `apply` takes them, from dictionaries with some of its columns."""
    full = [{name: row.get(name) for name in MOVE_COLUMNS} for row in rows]
    return pl.DataFrame(full, schema=MOVE_COLUMNS)
