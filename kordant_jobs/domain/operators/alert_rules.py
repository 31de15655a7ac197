"""Rules of alerts as data, and the moves of one alert.

Thresholds of `failure_rate_high` are burn rates of a 99 % objective over two windows (Google's SRE workbook, chapter
5): 14.4 times over an hour and five minutes, notified at once. A rule clears at another value than it fires at, so that
it does not flap.
"""

import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from importlib.resources import files


class Severity(StrEnum):
    """The urgency of an alert."""

    PAGE = "page"
    TICKET = "ticket"


class AlertState(StrEnum):
    """The state of an alert. PENDING has not lasted long enough to notify operators."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class NoticeKind(StrEnum):
    """The kind of notice that operators get for an alert."""

    FIRED = "fired"
    AGAIN = "again"
    RESOLVED = "resolved"


REPEAT = timedelta(hours=4)
"""The time after which an alert that is not acknowledged is notified again."""


@dataclass(frozen=True, kw_only=True)
class AlertRule:
    """Fires for a subject when its value has been at least `fires_at` for `for_s`, and clears below `clears_at`."""

    name: str
    severity: Severity
    fires_at: float
    clears_at: float
    for_s: float = 0.0
    unit: str
    what: str
    first_step: str
    """The command to start the repair with."""
    enabled: bool = True


DEFAULT_RULES = tuple(
    AlertRule(**{**raw, "name": name, "severity": Severity(raw["severity"])})
    for name, raw in tomllib.loads(files(__package__).joinpath("alert_rules.toml").read_text("utf-8")).items()
)
"""The rules that apply until an operator sets another value: `kordant-jobs alerts set`."""

BY_NAME = {rule.name: rule for rule in DEFAULT_RULES}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The current state of an alert. `notified_at`: when operators last got a notice of it."""

    state: AlertState
    since: datetime
    notified_at: datetime | None = None
    is_acknowledged: bool = False


@dataclass(frozen=True, kw_only=True)
class Move:
    """The next state of an alert, and the notice to operators."""

    state: AlertState | None
    """None: there is no alert any more, and no operator got a notice of it."""
    notice: NoticeKind | None = None


def move(rule: AlertRule, standing: Standing | None, value: float | None, *, now: datetime) -> Move:
    """Decide the next state of the alert on a subject from its current value; None: the subject has none. Without a
    value, a firing alert ends as it does with a low value."""
    is_over = value is not None and value >= rule.fires_at and rule.enabled
    if standing is None:
        if not is_over:
            return Move(state=None)
        return Move(state=AlertState.PENDING) if rule.for_s else Move(state=AlertState.FIRING, notice=NoticeKind.FIRED)
    if standing.state is AlertState.PENDING:
        if not is_over:
            return Move(state=None)
        has_lasted = (now - standing.since).total_seconds() >= rule.for_s
        return Move(state=AlertState.FIRING, notice=NoticeKind.FIRED) if has_lasted else Move(state=AlertState.PENDING)
    if value is None or value < rule.clears_at or not rule.enabled:
        return Move(state=AlertState.RESOLVED, notice=NoticeKind.RESOLVED)
    if standing.is_acknowledged:
        return Move(state=AlertState.FIRING)
    if standing.notified_at is None:  # it began while it was silenced
        return Move(state=AlertState.FIRING, notice=NoticeKind.FIRED)
    return Move(state=AlertState.FIRING, notice=NoticeKind.AGAIN if now - standing.notified_at >= REPEAT else None)
