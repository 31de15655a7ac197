"""Subscribers' choices about notifications, and the moments that follow from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kordant_jobs.domain.notifications.alerts import Channel, Severity


class Category(StrEnum):
    """The subject of a notification; each can be chosen and left by itself."""

    BREACH = "breach"
    HOME_TITLE = "home_title"
    VOICE = "voice"
    REMOVAL = "removal"
    REPORT = "report"
    FINANCE = "finance"


class Mode(StrEnum):
    """The time at which a subscriber wants to hear of a category over a channel."""

    OFF = "off"
    AT_ONCE = "at_once"
    DAILY = "daily"
    WEEKLY = "weekly"


class Held(StrEnum):
    """Why a notification waits for others, to go out in one message with them."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MANY = "many"
    """More came within an hour than one person should get singly."""
    TOGETHER = "together"
    """It goes out at once, in one message with others: of the same breach, or beyond the cap."""


DEFAULT_MODE: dict[Channel, Mode] = dict.fromkeys(Channel, Mode.AT_ONCE)
"""The modes for subscribers who have not chosen. An address of a channel other than e-mail is only there when it was
given."""

CATEGORY_MODE: dict[Category, Mode] = {Category.REMOVAL: Mode.DAILY}
"""Categories that send no immediate message unless the subscriber chose so: a hundred brokers answer in their own time.
"""

LEAST_SEVERITY: dict[Channel, Severity] = {Channel.SMS: Severity.HIGH}
"""Below it a channel is not used, whatever was chosen: a text message interrupts, and costs."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """A subscriber's quiet hours and digest times: wall time where they live.

    `quiet_from` later than `quiet_until` reaches over midnight; both None, or both equal: never quiet.
    `digest_weekday` counts from 1, Monday.
    """

    time_zone: str = "UTC"
    quiet_from: time | None = None
    quiet_until: time | None = None
    digest_at: time = time(8)
    digest_weekday: int = 1

    @property
    def zone(self) -> ZoneInfo:
        """The zone; one that is unknown counts as UTC."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            return ZoneInfo("UTC")


def quiet_until(now: datetime, hours: Hours) -> datetime | None:
    """The end of the quiet hours in which `now` lies, None when it lies in none.

    Wall time decides. A quiet time that ends in the hour that summer time leaves out ends with that hour's start on
    the new clock; one that ends in an hour that comes twice ends at the first of them that is still to come.

    >>> hours = Hours(time_zone="America/New_York", quiet_from=time(22), quiet_until=time(7))
    >>> quiet_until(datetime(2026, 6, 2, 3, 30, tzinfo=UTC), hours)
    datetime.datetime(2026, 6, 2, 11, 0, tzinfo=datetime.timezone.utc)
    >>> quiet_until(datetime(2026, 6, 2, 12, 0, tzinfo=UTC), hours) is None
    True
    """
    start, end = hours.quiet_from, hours.quiet_until
    if start is None or end is None or start == end:
        return None
    local = now.astimezone(hours.zone)
    wall = local.time().replace(fold=0)
    quiet = start <= wall < end if start < end else wall >= start or wall < end
    if not quiet:
        return None
    return _next(local.date(), end, now, hours.zone)


def digest_moment(now: datetime, mode: Mode, hours: Hours) -> datetime:
    """The moment of the digest that a finding of `now` is part of; never in quiet hours.

    >>> digest_moment(datetime(2026, 6, 2, 12, tzinfo=UTC), Mode.WEEKLY, Hours(digest_weekday=5)).isoformat()
    '2026-06-05T08:00:00+00:00'
    """
    today = now.astimezone(hours.zone).date()
    if mode is Mode.WEEKLY:
        day = today + timedelta(days=(hours.digest_weekday - today.isoweekday()) % 7)
        step = timedelta(days=7)
    else:
        day, step = today, timedelta(days=1)
    moment = _next(day, hours.digest_at, now, hours.zone, step)
    return quiet_until(moment, hours) or moment


def _next(day: date, wall: time, after: datetime, zone: ZoneInfo, step: timedelta = timedelta(days=1)) -> datetime:
    """The first moment after `after` at which the clocks of `zone` show `wall`, on `day` or some steps later."""
    while True:
        for fold in (0, 1):
            moment = datetime.combine(day, wall.replace(fold=fold), tzinfo=zone).astimezone(UTC)
            if moment > after:
                return moment
        day += step
