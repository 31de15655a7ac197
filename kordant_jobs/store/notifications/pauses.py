"""Paused channels, which cannot work at the moment: until when, and why."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.store.notifications.tables import channel_pauses


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A channel's pause. `pauses` counts consecutive ones; one that has ended stays until a message is accepted."""

    channel: Channel
    pauses: int
    paused_until: datetime
    reason: str
    since: datetime
    is_over: bool


def pauses(connection: Connection) -> dict[Channel, Pause]:
    """The pauses of all channels that have one."""
    table = channel_pauses.c
    over = (table.paused_until <= sa.func.clock_timestamp()).label("is_over")
    rows = connection.execute(sa.select(channel_pauses, over).order_by(table.channel))
    found = [Pause(**{**row._mapping, "channel": Channel(row.channel)}) for row in rows]
    return {one.channel: one for one in found}


def pause(connection: Connection, channel: Channel, reason: str, length: timedelta) -> None:
    """Pause a channel for this time: nothing is claimed for it."""
    until = sa.func.clock_timestamp() + sa.cast(f"{length.total_seconds()} seconds", sa.Interval)
    values = {"paused_until": until, "reason": reason}
    statement = insert(channel_pauses).values(channel=channel, pauses=1, **values)
    more = {**values, "pauses": channel_pauses.c.pauses + 1}
    connection.execute(statement.on_conflict_do_update(index_elements=["channel"], set_=more))


def resume(connection: Connection, channel: Channel) -> bool:
    """End a channel's pause, and reset its count. False when there was none."""
    gone = connection.execute(sa.delete(channel_pauses).where(channel_pauses.c.channel == channel))
    return bool(gone.rowcount)
