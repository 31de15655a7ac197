"""Rules of alerts as data, and the moves of one alert.

Thresholds of `failure_rate_high` are burn rates of a 99 % objective over two windows (Google's SRE workbook, chapter
5): 14.4 times over an hour and five minutes, notified at once. A rule clears at another value than it fires at, so that
it does not flap.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


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
    mend: str
    """The command to start the repair with."""
    enabled: bool = True


DEFAULT_RULES = (
    AlertRule(
        name="failure_rate_high",
        severity=Severity.PAGE,
        fires_at=14.4,
        clears_at=7.2,
        unit="times the 1 % that may fail, over an hour and over five minutes (10 attempts, 3 failures or more)",
        what="attempts of a job fail",
        mend="kordant-jobs dead list",
    ),
    AlertRule(
        name="failure_rate_slow",
        severity=Severity.TICKET,
        fires_at=6.0,
        clears_at=3.0,
        unit="times the 1 % that may fail, over six hours and over half an hour (10 attempts, 3 failures or more)",
        what="attempts of a job fail for hours",
        mend="kordant-jobs dead list",
    ),
    AlertRule(
        name="queue_backlog",
        severity=Severity.PAGE,
        fires_at=900.0,
        clears_at=450.0,
        for_s=60.0,
        unit="seconds that the oldest due request waits; of a queue that grew in 12 of 15 minutes, also those until it "
        "is empty at its present pace",
        what="requests of a job wait",
        mend="kordant-jobs status",
    ),
    AlertRule(
        name="execution_timeout",
        severity=Severity.TICKET,
        fires_at=1.0,
        clears_at=1.0,
        unit="attempts of the last hour that were ended for taking too long",
        what="a job takes longer than it may",
        mend="kordant-jobs requests list --cause timeout",
    ),
    AlertRule(
        name="sla_exceeded",
        severity=Severity.TICKET,
        fires_at=1.0,
        clears_at=1.0,
        unit="times as long as it may take from due to done, a request that is open or ended within the hour",
        what="a job is later than promised",
        mend="kordant-jobs requests list",
    ),
    AlertRule(
        name="job_failure_rate_high",
        severity=Severity.TICKET,
        fires_at=0.5,
        clears_at=0.2,
        unit="of an agent's requests of the last hour have failed (5 or more)",
        what="what an agent starts fails",
        mend="kordant-jobs agents show AGENT",
    ),
    AlertRule(
        name="dead_letters",
        severity=Severity.TICKET,
        fires_at=1.0,
        clears_at=1.0,
        unit="dead letters that are not acknowledged",
        what="work was given up",
        mend="kordant-jobs dead list",
    ),
    AlertRule(
        name="source_stale",
        severity=Severity.TICKET,
        fires_at=3600.0,
        clears_at=60.0,
        unit="seconds since an outside source last answered, while it is switched off",
        what="an outside source is off",
        mend="kordant-jobs sources list",
    ),
    AlertRule(
        name="unknown_rising",
        severity=Severity.TICKET,
        fires_at=3.0,
        clears_at=1.5,
        unit="times the median share of the last week is unknown today (and over 5 %)",
        what="verdicts are unknown",
        mend="kordant-jobs sources list",
    ),
    AlertRule(
        name="daemon_silent",
        severity=Severity.PAGE,
        fires_at=120.0,
        clears_at=60.0,
        unit="seconds since a daemon's last sign of life",
        what="a daemon is silent",
        mend="kordant-jobs logs daemon",
    ),
    AlertRule(
        name="standby_missing",
        severity=Severity.TICKET,
        fires_at=1.0,
        clears_at=1.0,
        for_s=120.0,
        unit="daemon process is there; with a second one that stands by, nothing is missed when the first is killed",
        what="no second daemon stands by",
        mend="kordant-jobs logs daemon-standby",
    ),
    AlertRule(
        name="audit_broken",
        severity=Severity.PAGE,
        fires_at=1.0,
        clears_at=1.0,
        unit="row of the audit log, or more, is not what was written",
        what="the audit log was changed",
        mend="kordant-jobs audit verify",
    ),
    AlertRule(
        name="disk",
        severity=Severity.PAGE,
        fires_at=0.95,
        clears_at=0.93,
        for_s=60.0,
        unit="of the bytes or inodes of the file system is taken; Postgres stops on a full one",
        what="a folder of ours is almost full",
        mend="kordant-jobs doctor",
    ),
    AlertRule(
        name="replica_clock",
        severity=Severity.PAGE,
        fires_at=1.0,
        clears_at=0.5,
        for_s=60.0,
        unit="seconds between this machine's clock and the database's: schedules count by one, leases by the other",
        what="the clock of a machine is wrong",
        mend="kordant-jobs doctor",
    ),
    AlertRule(
        name="cleanup_missed",
        severity=Severity.PAGE,
        fires_at=15.0,
        clears_at=15.0,
        unit="days since the last clean-up",
        what="what should be deleted is not",
        mend="kordant-jobs cleanup history",
    ),
    AlertRule(
        name="outbox_late",
        severity=Severity.PAGE,
        fires_at=3600.0,
        clears_at=600.0,
        for_s=60.0,
        unit="seconds that the oldest due notification of a channel waits",
        what="notifications are late",
        mend="kordant-jobs notifications list",
    ),
    AlertRule(
        name="channel_paused",
        severity=Severity.PAGE,
        fires_at=2.0,
        clears_at=1.0,
        unit="pauses in a row, without a message that was accepted",
        what="a channel cannot send: its set-up or its provider is wrong",
        mend="kordant-jobs status",
    ),
    AlertRule(
        name="dumps_unread",
        severity=Severity.TICKET,
        fires_at=1.0,
        clears_at=1.0,
        unit="dumps that were not read, or only in part: verdicts are unknown until an operator decides",
        what="a dump waits for a person",
        mend="kordant-jobs dumps list",
    ),
    AlertRule(
        name="county_unknown",
        severity=Severity.TICKET,
        fires_at=1.0,
        clears_at=1.0,
        unit="watches in a county that cannot be read, has published nothing for longer than its latency, or was not "
        "understood: their verdict is unknown",
        what="a watched county gives no answer",
        mend="kordant-jobs counties list",
    ),
    AlertRule(
        name="clips_unclaimed",
        severity=Severity.TICKET,
        fires_at=1.0,
        clears_at=1.0,
        unit="files that no run imports, an hour after they were dropped: they lie there in clear, and no alert comes "
        "of them",
        what="files in the drop folder of clips belong to no subscription",
        mend="kordant-jobs doctor",
    ),
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
