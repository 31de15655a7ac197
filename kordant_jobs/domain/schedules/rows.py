"""Rows of the price list for a job and a tier: when, how often, and what to do when a tick is missed or overlaps. Pure.

A row either runs for everybody at once (cadence `every_tick`), or serves each subscription of its tier daily, weekly or
monthly: its cron then gives the ticks of a day, over which the day's subscriptions are distributed evenly.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.cron import Fold, Gap, checked_cron, checked_zone, wall_times
from kordant_jobs.engine import Priority
from kordant_jobs.errors import PermanentError

NIGHT = "*/15 2-5 * * *"
"""The ticks that serve tiers: sixteen each night, over which a day's subscriptions are distributed."""

CATCH_UP_MOST_S = 366 * 86_400
EVERYBODY = "all"
"""The tier's name in a row without a tier."""


class Cadence(StrEnum):
    """The period in which a subscription is served. EVERY_TICK: the job runs as a whole at each tick of the cron."""

    EVERY_TICK = "every_tick"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class Anchor(StrEnum):
    """The day of a week or month: each subscription's own, or Monday and the first for all subscriptions."""

    ANNIVERSARY = "anniversary"
    CALENDAR = "calendar"


class CatchUp(StrEnum):
    """The treatment of ticks that passed while nothing ran: dropped, only the newest is run, or all within a window
    are."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """The action of a tick while a run of the same row is still active."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    QUEUE_ALL = "queue_all"
    CANCEL_OTHER = "cancel_other"


class StartKind(StrEnum):
    """The result of a tick: started, or dropped by catch-up or overlap."""

    STARTED = "started"
    DROPPED = "dropped"


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """One line of the price list; `tier` None: it has no tier."""

    job: str
    tier: Tier | None = None
    cadence: Cadence = Cadence.EVERY_TICK
    cron: str
    time_zone: str = "UTC"
    anchor: Anchor = Anchor.ANNIVERSARY
    spread: bool = True
    """Distribute a day's subscriptions over its ticks; otherwise all are served at the first."""
    gap: Gap = Gap.SHIFT
    fold: Fold = Fold.ONCE
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window_s: int = 7 * 86_400
    overlap: Overlap = Overlap.QUEUE_ONE
    priority: Priority = Priority.NORMAL
    realtime: bool = False
    """New data (a dump, a breach, a watched identifier) is scanned at once for this tier, in addition to the
    cadence."""
    enabled: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """The key in the database."""
        return self.job, self.tier or EVERYBODY

    @property
    def name(self) -> str:
        """The name in Dagster. Sorted by name, the schedules are grouped by tier.

        >>> ScheduleRow(job="darkwatch_scan", tier=Tier.PREMIUM, cron="0 2 * * *").name
        'premium_darkwatch_scan'
        """
        return f"{self.tier}_{self.job}" if self.tier else f"{self.job}_schedule"

    @property
    def words(self) -> str:
        """The row as a sentence for a price list."""
        more = "; new data at once" if self.realtime else ""
        if self.cadence is Cadence.EVERY_TICK:
            return f"{self.job} for everybody{more}"
        own = {Cadence.WEEKLY: ", each subscription on its own weekday", Cadence.MONTHLY: ", each on its own day"}
        fixed = {
            Cadence.WEEKLY: " on Monday, for the week before",
            Cadence.MONTHLY: " on the first, for the month before",
        }
        days = (own if self.anchor is Anchor.ANNIVERSARY else fixed).get(self.cadence, "")
        return f"{str(self.tier).capitalize()}: {self.job} {self.cadence}{days}{more}"

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON, with the priority as a word."""
        return {**asdict(self), "tier": self.tier or EVERYBODY, "priority": self.priority.word}


COLUMNS = tuple(one.name for one in fields(ScheduleRow))


def row_from(values: Mapping[str, Any]) -> ScheduleRow:
    """A checked row from plain values: from the database, a file or the command line. Unknown names are ignored.

    Raises:
        PermanentError: a value is not one of its set, or two values contradict each other; the text says what to write
        instead.
    """
    given = {name: values[name] for name in COLUMNS if name in values}
    for name, kind in {
        "cadence": Cadence, "anchor": Anchor, "gap": Gap, "fold": Fold, "catch_up": CatchUp, "overlap": Overlap,
    }.items():  # fmt: skip
        if name in given:
            given[name] = _member(kind, name, given[name])
    for name in ("spread", "realtime", "enabled"):
        if not isinstance(given.get(name, True), bool):
            raise PermanentError(f"{name} {given[name]!r} is neither: write true or false.")
    for name in ("cron", "time_zone"):
        if not isinstance(given.get(name, ""), str):
            raise PermanentError(f"{name} {given[name]!r} is no text.")
    given["catch_up_window_s"] = _seconds(given.get("catch_up_window_s", ScheduleRow.catch_up_window_s))
    tier = given.get("tier")
    given["tier"] = None if tier in {None, EVERYBODY} else _member(Tier, "tier", tier)
    given["priority"] = _priority(given.get("priority", Priority.NORMAL))
    return checked(ScheduleRow(**given))


def _member(kind: Any, name: str, value: Any) -> Any:
    if value not in set(kind):
        raise PermanentError(f"{name} {value!r} is none; write one of {', '.join(kind)}.")
    return kind(value)


def _seconds(value: Any) -> int:
    if type(value) is not int or not 0 < value <= CATCH_UP_MOST_S:
        raise PermanentError(
            f"catch_up_window_s {value!r} is no number of seconds up to {CATCH_UP_MOST_S} (a year); write 604800 for a "
            "week."
        )
    return value


def _priority(value: Any) -> Priority:
    if type(value) is int and value in set(Priority):
        return Priority(value)
    if str(value).upper() not in Priority.__members__:
        raise PermanentError(f"priority {value!r} is none; write one of {', '.join(one.word for one in Priority)}.")
    return Priority[str(value).upper()]


def checked(row: ScheduleRow) -> ScheduleRow:
    """The row with its cron in standard form, after checking that its values fit together.

    Raises:
        PermanentError: they do not; says why, and what to write instead.
    """
    cron = checked_cron(row.cron)
    checked_zone(row.time_zone)
    if row.catch_up_window_s <= 0:
        raise PermanentError("catch_up_window_s must be above 0; write 604800 for a week.")
    if row.cadence is not Cadence.EVERY_TICK:
        _check_served(row, cron)
    elif row.tier is not None:
        raise PermanentError(f"a row of tier {row.tier} needs a cadence; write daily, weekly or monthly.")
    elif row.realtime:
        raise PermanentError("real time is for a tier's subscriptions; leave realtime out of a row that is of no tier.")
    return ScheduleRow(**{**{name: getattr(row, name) for name in COLUMNS}, "cron": cron})


def _check_served(row: ScheduleRow, cron: str) -> None:
    minute, hour, *days = cron.split()
    if row.tier is None:
        raise PermanentError(f"cadence {row.cadence} serves a tier's subscriptions; name a tier, or write every_tick.")
    if days != ["*", "*", "*"]:
        raise PermanentError(
            f"cron {cron!r} must strike every day for the cadence {row.cadence}: which day is a subscription's is "
            f"said by cadence and anchor. Write {minute} {hour} * * *."
        )
    if row.fold is Fold.TWICE:
        raise PermanentError("a subscription is served once a day: write fold once.")
    if row.catch_up is CatchUp.ALL and row.overlap is Overlap.SKIP:
        raise PermanentError("catch_up all with overlap skip would skip what it catches up: write overlap queue_all.")
    if sum(1 for _ in wall_times(cron, date(2024, 1, 1), date(2024, 1, 1))) > 288:
        raise PermanentError(f"cron {cron!r} strikes more often than every five minutes. Write */15 {hour} * * *.")


@dataclass(frozen=True, kw_only=True)
class Pause:
    """The pause of a row: its reason, and its end (None: until it is resumed by hand)."""

    reason: str
    by: str
    since: datetime
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """True while the pause applies at `now`."""
        return self.until is None or now < self.until


@dataclass(frozen=True, kw_only=True)
class StoredScheduleRow:
    """A row of the price list as stored in the database, with its version and its pause."""

    row: ScheduleRow
    version: int
    changed_at: datetime
    changed_by: str
    pause: Pause | None = None

    def inactive_reason(self, now: datetime) -> str | None:
        """The reason why it starts nothing at `now`; None when it does."""
        if not self.row.enabled:
            return "disabled"
        if self.pause is not None and self.pause.holds(now):
            until = f" until {self.pause.until:%Y-%m-%d %H:%M} UTC" if self.pause.until else ""
            return f"paused{until}: {self.pause.reason}"
        return None
