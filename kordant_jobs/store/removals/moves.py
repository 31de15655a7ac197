"""The only way in which requests move: with an event for each, messages to brokers and notices to subscribers.

All in the caller's transaction and set-based. A request that another process moved is skipped.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils import uuid7

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
"""The columns of a move. `to_state` null: the request stays. `evidence` is JSON of codes, ids and days."""

_TYPES = {
    "id": "uuid", "next_at": "timestamptz", "sent_on": "date", "confirm_by_on": "date", "answer_by_on": "date",
    "extended_by_on": "date", "answered": "boolean", "event_id": "uuid",
}  # fmt: skip
_NAMES = (*MOVE_COLUMNS, "event_id")
_TYPED = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in _NAMES)

_FEW = f"SELECT * FROM jsonb_to_recordset(cast(:moves AS jsonb)) AS given ({_TYPED})"  # noqa: S608 - from constants
_MANY = "SELECT * FROM moving_given"
_TEMPORARY = f"""
CREATE TEMP TABLE IF NOT EXISTS moving_given ({_TYPED}) ON COMMIT DELETE ROWS;
DELETE FROM moving_given
"""  # noqa: S608 - put together from constants
"""The temporary table stays with the connection: creating one in every transaction would bloat Postgres's catalogue."""

FEW = 100
"""The most moves passed as one parameter of one statement. More go by COPY, with statistics for Postgres's planner,
which would otherwise assume a small table and loop over it."""

_WRITE = """
WITH ways AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(cast(:ways AS jsonb))
        AS given (broker_id uuid, channel text, contact text, email text)
), moving AS MATERIALIZED (
    SELECT g.*, r.broker_id, r.subscription_id
    FROM ({given}) g JOIN kordant.removal_requests r ON r.id = g.id AND r.state = g.from_state {among}
    ORDER BY r.id FOR UPDATE OF r
), events AS (
    INSERT INTO kordant.removal_events (id, request_id, from_state, to_state, reason, evidence, actor, at)
    SELECT m.event_id, m.id, m.from_state, coalesce(m.to_state, m.from_state), m.reason,
           cast(coalesce(m.evidence, '{{}}') AS jsonb), :actor, :now
    FROM moving m WHERE m.to_state IS NOT NULL OR m.action <> 'nothing'
), messages AS (
    INSERT INTO kordant.removal_messages (id, request_id, broker_id, kind, channel, contact, created_at, due_at)
    SELECT m.event_id, m.id, m.broker_id, 'request', w.channel, w.contact, :now, :now
    FROM moving m JOIN ways w ON w.broker_id = m.broker_id
    WHERE m.action = 'request' AND w.channel IS NOT NULL
    UNION ALL
    SELECT m.event_id, m.id, m.broker_id, 'reminder', 'email', w.email, :now, :now
    FROM moving m JOIN ways w ON w.broker_id = m.broker_id
    WHERE m.action = 'remind' AND w.email IS NOT NULL
), notices AS (
    INSERT INTO kordant.notification_outbox (id, removal_event_id, subscription_id, category, channel, due_at)
    SELECT gen_random_uuid(), m.event_id, m.subscription_id, :category, 'email', :now
    FROM moving m WHERE m.action IN ('ask_user', 'tell_user', 'complain')
)
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
    reminders = CASE m.action WHEN 'request' THEN 0
                    WHEN 'remind' THEN r.reminders + CASE WHEN w.email IS NULL THEN 0 ELSE 1 END
                    ELSE r.reminders END,
    asked_user = CASE WHEN m.to_state IN ('needs_user_action', 'needs_identity') THEN 1
                      WHEN m.action = 'ask_user' THEN r.asked_user + 1 ELSE r.asked_user END,
    answered = m.action <> 'request' AND (r.answered OR coalesce(m.answered, false)),
    broker_says = coalesce(m.broker_says, r.broker_says),
    outside_id = CASE m.action WHEN 'request' THEN NULL ELSE coalesce(m.outside_id, r.outside_id) END,
    channel = coalesce(m.channel, CASE m.action WHEN 'request' THEN w.channel END, r.channel)
FROM moving m LEFT JOIN ways w ON w.broker_id = m.broker_id
WHERE m.id = r.id {among}
"""
"""One statement: Postgres's triggers see its events when it ends."""
_AMONG = "AND r.broker_id = ANY(cast(:brokers AS uuid[]))"
"""For many moves of requests to known brokers: without it Postgres's planner reads the whole table, twice."""


def apply(
    connection: Connection,
    moves: pl.DataFrame,
    *,
    now: datetime,
    actor: str,
    ways: Mapping[UUID, tuple[Way | None, str | None]] | None = None,
    brokers: Sequence[UUID] | None = None,
) -> int:
    """Write moves: a frame with columns of `MOVE_COLUMNS`, missing ones are null. Returns the number written; requests
    that are no longer in `from_state` are skipped. `ways` has a broker's contact, and the e-mail address for a
    reminder: without it none is sent and none is counted. `brokers`: those that the requests are to, where the caller
    knows them; that makes many moves faster.

    Raises:
        IntegrityError: a move is not in `REMOVAL_MOVES`; the database's trigger raises this.
    """
    if moves.is_empty():
        return 0
    whole = moves.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in MOVE_COLUMNS.items() if name not in moves.columns
    ).with_columns(pl.col("action").fill_null("nothing"))
    to = [
        {"broker_id": broker, "channel": way and way[0], "contact": way and way[1], "email": email}
        for broker, (way, email) in (ways or {}).items()
    ]
    event_ids = [str(uuid7()) for _ in range(whole.height)]  # in the order of time: each index grows at its end
    whole = whole.with_columns(pl.Series("event_id", event_ids))
    values = {"now": now, "actor": actor, "category": Category.REMOVAL, "ways": json.dumps(to, default=str)}
    if whole.height <= FEW:
        values["moves"] = json.dumps(whole.select(_NAMES).to_dicts(), default=str)
        return int(connection.execute(sa.text(_WRITE.format(given=_FEW, among="")), values).rowcount)
    for statement in _TEMPORARY.split(";"):
        connection.execute(sa.text(statement))
    write_frame(connection, whole, "moving_given", _NAMES)
    connection.execute(sa.text("ANALYZE moving_given"))
    if brokers is not None:
        values["brokers"] = list(map(str, brokers))
    statement = _WRITE.format(given=_MANY, among="" if brokers is None else _AMONG)
    return int(connection.execute(sa.text(statement), values).rowcount)


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Moves as a frame for `apply`, from dictionaries with some of its columns."""
    full = [{name: row.get(name) for name in MOVE_COLUMNS} for row in rows]
    return pl.DataFrame(full, schema=MOVE_COLUMNS)
