"""Reads due requests, and the facts that decide about them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.clocks import Law
from kordant_jobs.postgres.bulk import read_frame
from kordant_jobs.store.removals.moves import Way
from kordant_jobs.store.removals.tables import broker_contact_faults, brokers, removal_messages, removal_requests

ALONE = (RemovalChannel.DRP, RemovalChannel.FORM_POST, RemovalChannel.EMAIL)
"""Channels that work without a person."""

SCHEMA = {
    "id": pl.String(),
    "broker_id": pl.String(),
    "state": pl.String(),
    "reason": pl.String(),
    "channel": pl.String(),
    "attempts": pl.Int64(),
    "reminders": pl.Int64(),
    "asked_user": pl.Int64(),
    "answered": pl.Boolean(),
    "confirm_by_on": pl.Date(),
    "answer_by_on": pl.Date(),
    "extended_by_on": pl.Date(),
    "check_says": pl.String(),
    "checked_at": pl.Datetime("us", "UTC"),
    "state_since": pl.Datetime("us", "UTC"),
    "cool_until": pl.Datetime("us", "UTC"),
    "can_complain": pl.Boolean(),
}


def brokers_with_work(connection: Connection, now: datetime) -> list[tuple[UUID, int]]:
    """Brokers with due requests or waiting messages, with their number, the busiest first."""
    query = """
        SELECT broker_id, sum(n) AS n FROM (
            SELECT broker_id, count(*) AS n FROM kordant.removal_requests WHERE next_at <= :now GROUP BY 1
            UNION ALL
            SELECT broker_id, count(*) FROM kordant.removal_messages
            WHERE status IN ('queued', 'sending') AND due_at <= :now GROUP BY 1
            UNION ALL
            SELECT r.broker_id, count(*) FROM kordant.removal_replies p
            JOIN kordant.removal_requests r ON r.id = p.request_id WHERE p.link_encrypted IS NOT NULL GROUP BY 1
        ) found GROUP BY 1 ORDER BY 2 DESC, 1
    """
    return [(row.broker_id, int(row.n)) for row in connection.execute(sa.text(query), {"now": now})]


def ways(connection: Connection, broker_ids: Sequence[UUID], *, agent: bool) -> dict[UUID, dict[RemovalChannel, str]]:
    """The contacts of brokers on each channel, except those known not to work. `agent`: whether we can use the Data
    Rights Protocol."""
    faults: dict[UUID, set[str]] = {}
    table = broker_contact_faults.c
    for row in connection.execute(sa.select(table.broker_id, table.contact).where(table.broker_id.in_(broker_ids))):
        faults.setdefault(row.broker_id, set()).add(row.contact)
    found: dict[UUID, dict[RemovalChannel, str]] = {}
    query = sa.select(brokers.c.id, brokers.c.facts, brokers.c.channels).where(
        brokers.c.id.in_(broker_ids), brokers.c.retired_at.is_(None)
    )
    for row in connection.execute(query):
        recipe = row.facts["recipe"]
        dead = faults.get(row.id, set())
        contacts = {
            RemovalChannel.DRP: [recipe.get("drp_business_id")] if agent else [],
            RemovalChannel.FORM_POST: [(recipe.get("post") or {}).get("url")],
            RemovalChannel.EMAIL: row.facts["emails"],
            RemovalChannel.WEB_FORM: [row.facts["opt_out_url"]],
            RemovalChannel.DROP: [row.facts["opt_out_url"]],
        }
        works = {
            channel: contact
            for channel in map(RemovalChannel, row.channels)
            if (contact := next((one for one in contacts[channel] if one and one not in dead), None))
        }
        found[row.id] = works
    return found


def best(works: Mapping[RemovalChannel, str]) -> Way | None:
    """The preferred channel among those that work without a person."""
    return next(((channel, works[channel]) for channel in ALONE if channel in works), None)


def load(
    connection: Connection,
    broker_ids: Sequence[UUID],
    now: datetime,
    works: Mapping[UUID, Mapping[RemovalChannel, str]],
    *,
    only: UUID | None = None,
) -> pl.DataFrame:
    """The due requests to these brokers, with the columns that the rules need; `only` one of them."""
    table = removal_requests.c
    last = (
        sa.select(sa.func.max(removal_messages.c.begun_at))
        .where(removal_messages.c.request_id == table.id, removal_messages.c.kind == "request")
        .scalar_subquery()
    )
    cool = last + sa.func.make_interval(0, 0, 0, brokers.c.cool_down_days)
    query = (
        sa.select(
            table.id, table.broker_id, table.state, table.reason, table.channel, table.attempts, table.reminders,
            table.asked_user, table.answered, table.confirm_by_on, table.answer_by_on, table.extended_by_on,
            table.check_says, table.checked_at, table.state_since, cool.label("cool_until"),
            (table.law != Law.VOLUNTARY).label("can_complain"),
        )
        .join(brokers, brokers.c.id == table.broker_id)
        .where(
            table.broker_id == sa.func.any(sa.cast(list(map(str, broker_ids)), postgresql.ARRAY(sa.Uuid()))),
            table.next_at <= now,
        )
    )  # fmt: skip
    due = read_frame(connection, query if only is None else query.where(table.id == only), SCHEMA)
    searched = searchable(connection, broker_ids)
    facts = pl.DataFrame(
        [
            (str(one), best(works.get(one, {})) is not None, _needs_person(works.get(one, {})), one in searched)
            for one in broker_ids
        ],
        schema={"broker_id": pl.String, "can_ask": pl.Boolean, "has_form": pl.Boolean, "has_search": pl.Boolean},
        orient="row",
    )
    return due.join(facts, on="broker_id", how="left")


def _needs_person(works: Mapping[RemovalChannel, str]) -> bool:
    return RemovalChannel.WEB_FORM in works or RemovalChannel.DROP in works


_FRONTS = "SELECT 1 FROM kordant.brokers s WHERE s.handled_by = b.id AND s.has_search"
CAN_CHECK = f"b.has_search OR EXISTS ({_FRONTS}) AS can_check"
"""The same for broker `b` of a query, in SQL."""


def searchable(connection: Connection, broker_ids: Sequence[UUID]) -> set[UUID]:
    """Brokers whose site we can search, or a site of a broker that they handle."""
    table = brokers.c
    owner = sa.func.coalesce(table.handled_by, table.id)
    query = sa.select(owner).where(owner.in_(broker_ids), table.has_search).distinct()
    return set(connection.execute(query).scalars())


def day_start(now: datetime) -> datetime:
    """The start of the day (UTC), for daily caps."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


LEASE = timedelta(minutes=10)
"""The longest time for a batch of messages; then another process may claim it."""
