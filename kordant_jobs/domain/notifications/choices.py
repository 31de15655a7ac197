"""Subscribers' choices about notifications, and the times that follow from them. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kordant_jobs.domain.notifications.alerts import Channel, Severity


class Category(StrEnum):
    """The subject of a notification; each category can be chosen or declined separately."""

    BREACH = "breach"
    HOME_TITLE = "home_title"
    VOICE = "voice"
    REMOVAL = "removal"
    REPORT = "report"
    FINANCE = "finance"


class Mode(StrEnum):
    """The time at which a subscriber wants messages of a category over a channel."""

    OFF = "off"
    AT_ONCE = "at_once"
    DAILY = "daily"
    WEEKLY = "weekly"


class Held(StrEnum):
    """The reason why a notification waits for others, to be sent in one message with them."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MANY = "many"
    """More came within an hour than one person should get as separate messages."""
    TOGETHER = "together"
    """It is sent at once, in one message with others: of the same breach, or beyond the cap."""


DEFAULT_MODE: dict[Channel, Mode] = dict.fromkeys(Channel, Mode.AT_ONCE)
"""The modes for subscribers who have not chosen. A subscriber has an address for a channel other than e-mail only if
they entered one."""

CATEGORY_MODE: dict[Category, Mode] = {Category.REMOVAL: Mode.DAILY}
"""Categories without immediate messages unless the subscriber chose them: a hundred brokers answer at different
times."""

LEAST_SEVERITY: dict[Channel, Severity] = {Channel.SMS: Severity.HIGH}
"""The lowest severity for a channel, whatever was chosen: a text message interrupts, and costs money."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """A subscriber's quiet hours and digest times, in their local time. A `quiet_from` later than `quiet_until` spans
    midnight; both None, or both equal: no quiet hours. `digest_weekday` counts from 1, Monday."""

    time_zone: str = "UTC"
    quiet_from: time | None = None
    quiet_until: time | None = None
    digest_at: time = time(8)
    digest_weekday: int = 1

    @property
    def zone(self) -> ZoneInfo:
        """The time zone; UTC for an unknown name."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            return ZoneInfo("UTC")


def quiet_until(now: datetime, hours: Hours) -> datetime | None:
    """The end of the quiet hours at `now`; None outside quiet hours.

    Local time decides. Quiet hours that end in the hour skipped for summer time end at its start on the new clock;
    those that end in a repeated hour end at the first occurrence still to come.

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
    """The time of the digest that includes a finding of `now`; never in quiet hours.

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
