"""Measures the values of the alert rules, updates alerts, and notifies operators through Apprise."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs.adapters.drop_folder import DropFolder, open_clip_place
from kordant_jobs.adapters.voice.drop_folder import left_behind
from kordant_jobs.catalog import CATALOG
from kordant_jobs.domain.operators.alert_rules import AlertRule, NoticeKind, Severity, move
from kordant_jobs.engine.control import attempt_counts
from kordant_jobs.errors import SettingsError
from kordant_jobs.observability import heartbeats, standing
from kordant_jobs.postgres.database import session_lock
from kordant_jobs.settings import Settings
from kordant_jobs.store.darkwatch import verdict_counts
from kordant_jobs.store.operators import alerts

if TYPE_CHECKING:
    import apprise

log = logging.getLogger(__name__)

SLAS = {
    "jobs": [row.name for row in CATALOG if row.sla_s],
    "slas": [row.sla_s for row in CATALOG if row.sla_s],
}
"""The parameters of `standing.SLA`."""
MAY_FAIL = 0.01
"""The share of attempts that may fail: the objective is 99 %."""
ATTEMPTS_MIN = 10
"""The fewest attempts in the longer window for which a failure rate is measured."""
FAILURES_MIN = 3
"""The fewest failures in that window: one failure of ten attempts in six hours is 10 %, but no trend."""

_BACKLOG = sa.text("""
SELECT w.job, w.due, w.oldest_s, w.pace_over_s, (
    SELECT count(*) FROM kordant.job_requests d
    WHERE d.job = w.job AND d.ended_at > now() - make_interval(secs => w.pace_over_s)
) FROM (
    SELECT job, count(*) AS due, extract(epoch FROM now() - min(run_at))::float8 AS oldest_s,
           least(greatest(extract(epoch FROM now() - min(run_at)), 60), 900)::float8 AS pace_over_s
    FROM kordant.job_requests r
    WHERE status = 'pending' AND run_at <= now() AND NOT EXISTS (SELECT FROM kordant.job_pauses p WHERE p.job = r.job)
    GROUP BY job
) w
""")
"""By job, its due requests, the age of the oldest, and the number of requests that ended in about that time (1 to 15
minutes), from which follows the time until the queue is empty."""

GREW_IN, OF_MINUTES = 12, 15
"""A queue grows if it was longer than a minute before in 12 of the last 15 minutes; a burst is not growth."""
_SAMPLE = sa.text("""
WITH old AS (DELETE FROM kordant.queue_depths WHERE minute < now() - interval '1 hour')
INSERT INTO kordant.queue_depths AS q (job, minute, due)
SELECT j.job, date_trunc('minute', now()), count(r.id) FROM unnest(CAST(:jobs AS text[])) j (job)
LEFT JOIN kordant.job_requests r ON r.job = j.job AND r.status = 'pending' AND r.run_at <= now() GROUP BY 1 ORDER BY 1
ON CONFLICT (job, minute) DO UPDATE SET due = excluded.due
""")
_GROWING = sa.text("""
SELECT job FROM (
    SELECT job, due > lag(due) OVER (PARTITION BY job ORDER BY minute) AS grew FROM kordant.queue_depths
    WHERE minute > now() - make_interval(mins => :minutes + 1)
) d WHERE grew GROUP BY job HAVING count(*) >= :times
""")

_SUBJECTS: Mapping[str, sa.TextClause] = {
    "job_failure_rate_high": sa.text("""
        SELECT requested_by, count(*) FILTER (WHERE status = 'dead')::float8 / count(*) FROM kordant.job_requests
        WHERE requested_by LIKE 'agent:%' AND ended_at > now() - interval '1 hour' AND status IN ('completed', 'dead')
        GROUP BY 1 HAVING count(*) >= 5"""),
    "dead_letters": sa.text("""
        SELECT job, count(*)::float8 FROM kordant.job_requests WHERE status = 'dead' AND acknowledged_at IS NULL
        GROUP BY 1"""),
    "source_stale": sa.text("""
        SELECT source, extract(epoch FROM now() - coalesce(last_ok_at, last_failed_at, now()))::float8
        FROM kordant.source_states WHERE open_until > now()"""),
    "outbox_late": sa.text("""
        SELECT channel, extract(epoch FROM now() - min(due_at))::float8 FROM kordant.notification_outbox o
        WHERE status IN ('queued', 'sending') AND due_at <= now() AND NOT EXISTS
              (SELECT FROM kordant.channel_pauses p WHERE p.channel = o.channel AND p.paused_until > now())
        GROUP BY 1"""),
    "channel_paused": sa.text("SELECT channel, pauses::float8 FROM kordant.channel_pauses"),
    "dumps_unread": sa.text("""
        SELECT status, count(*)::float8 FROM kordant.breach_dumps WHERE status IN ('quarantined', 'partial')
        GROUP BY 1"""),
    "county_unknown": sa.text("""
        SELECT w.county, count(*)::float8 FROM kordant.county_states c
        JOIN kordant.watched_properties w ON w.county = c.county AND w.removed_at IS NULL
        WHERE c.reason IS NOT NULL GROUP BY 1"""),
    "audit_broken": sa.text("SELECT 'audit_log', 1.0::float8 FROM kordant.audit_progress WHERE fault IS NOT NULL"),
    "cleanup_missed": sa.text("""
        SELECT 'cleanup', extract(epoch FROM now() - max(clock))::float8 / 86400 FROM kordant.cleanup_reports
        WHERE NOT dry_run HAVING count(*) > 0"""),
}

_UNKNOWN = sa.text("""
WITH days AS (
    SELECT source, checked_on, coalesce(sum(subscriptions) FILTER (WHERE verdict = 'unknown'), 0)::float8
           / sum(subscriptions)::float8 AS share
    FROM kordant.verdict_counts WHERE checked_on > (now() AT TIME ZONE 'UTC')::date - 8 GROUP BY 1, 2
    HAVING sum(subscriptions) > 0
), past AS (
    SELECT source, greatest(percentile_cont(0.5) WITHIN GROUP (ORDER BY share), 0.01) AS usual FROM days
    WHERE checked_on < (now() AT TIME ZONE 'UTC')::date GROUP BY 1 HAVING count(*) >= 3
)
SELECT d.source, CASE WHEN d.share > 0.05 THEN d.share / p.usual ELSE 0 END
FROM days d JOIN past p USING (source) WHERE d.checked_on = (now() AT TIME ZONE 'UTC')::date
""")


class NoticeRecipients(Protocol):
    """The recipients of notices. Each is identified by the index of its address in KORDANT_ALERT_URLS."""

    def __len__(self) -> int:
        """The number of recipients."""

    def notify(self, place: int, title: str, text: str, *, urgent: bool) -> bool:
        """Send a notice to one recipient. False: it could not be delivered now."""


class AppriseRecipients:
    """The addresses of KORDANT_ALERT_URLS in Apprise's form: mailto://, slack://, json://, … After an error of a
    service the notice counts as not delivered. The error's text is dropped, since it may hold the address."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._services: list[apprise.NotifyBase] = []
        if not addresses:
            return
        import apprise

        for place, address in enumerate(addresses, start=1):
            service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
            if service is None:
                raise SettingsError(
                    f"KORDANT_ALERT_URLS: address {place} is none that Apprise knows. See https://appriseit.com/services/."
                )
            self._services.append(service)

    def __len__(self) -> int:
        return len(self._services)

    def notify(self, place: int, title: str, text: str, *, urgent: bool) -> bool:
        """See `NoticeRecipients.notify`."""
        with suppress(Exception):
            return bool(
                self._services[place].notify(body=text, title=title, notify_type="failure" if urgent else "warning")
            )
        return False


def open_operators(settings: Settings) -> AppriseRecipients:
    """The operators that are configured. Without any, no notices are sent; `alerts list` still shows alerts.

    Raises:
        SettingsError: an address is invalid.
    """
    urls = settings.alert_urls.get_secret_value().split() if settings.alert_urls else []
    return AppriseRecipients(urls)


Values = Iterator[tuple[str, str, float]]
"""Rule, subject, value."""

_BURNS = {
    "failure_rate_high": (timedelta(hours=1), timedelta(minutes=5)),
    "failure_rate_slow": (timedelta(hours=6), timedelta(minutes=30)),
}


def _failures(connection: Connection, now: datetime) -> Values:
    for rule, (long, short) in _BURNS.items():
        recently = attempt_counts.by_job(attempt_counts.between(connection, now - short, now))
        for job, counts in attempt_counts.by_job(attempt_counts.between(connection, now - long, now)).items():
            good, total = attempt_counts.good_share(counts)
            good_recently, _ = attempt_counts.good_share(recently.get(job, ()))
            if total >= ATTEMPTS_MIN and round((1 - good) * total) >= FAILURES_MIN:
                yield rule, job, (1 - max(good, good_recently)) / MAY_FAIL


def _timeouts(connection: Connection, now: datetime) -> Values:
    hour = attempt_counts.between(connection, now - timedelta(hours=1), now)
    for job, counts in attempt_counts.by_job([one for one in hour if one.cause == "timeout"]).items():
        yield "execution_timeout", job, float(sum(one.attempts for one in counts))


def _backlog(connection: Connection, now: datetime) -> Values:
    connection.execute(_SAMPLE, {"jobs": [row.name for row in CATALOG]})
    growing = set(connection.execute(_GROWING, {"minutes": OF_MINUTES, "times": GREW_IN}).scalars())
    for job, due, oldest_s, pace_over_s, ended in connection.execute(_BACKLOG):
        until_gone_s = due * pace_over_s / ended if ended and job in growing else 0.0
        yield "queue_backlog", job, max(oldest_s, until_gone_s)


def _sla(connection: Connection, now: datetime) -> Values:
    for job, ratio in connection.execute(sa.text(standing.SLA), SLAS):
        yield "sla_exceeded", job, ratio


def _unknown(connection: Connection, now: datetime) -> Values:
    verdict_counts.fold(connection)
    for source, times in connection.execute(_UNKNOWN):
        yield "unknown_rising", source, times


def _heartbeats(connection: Connection, now: datetime) -> Values:
    for part, age_s in heartbeats.ages_s(connection).items():
        if part not in heartbeats.SLOW:
            yield "daemon_silent", part, age_s


def _standby(connection: Connection, now: datetime) -> Values:
    if heartbeats.processes(connection) == 1:
        yield "standby_missing", "daemon", 1.0


def _by_query(rule: str) -> Measure:
    def measure(connection: Connection, now: datetime) -> Values:
        for subject, value in connection.execute(_SUBJECTS[rule]):
            yield rule, subject, value

    return measure


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The measures of the machine that evaluates the rules. `folders`: the folders that we write to, by name."""

    folders: Mapping[str, Path] = field(default_factory=dict)
    voice_drop: Path | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    name: str = field(default_factory=platform.node)

    def disk(self, connection: Connection, now: datetime) -> Values:
        """The used share of each file system, under the name of the first folder on it."""
        seen = set()
        for name, folder in self.folders.items():
            if folder.exists() and (device := folder.stat().st_dev) not in seen:
                seen.add(device)
                room = os.statvfs(folder)
                inodes = room.f_favail / room.f_files if room.f_files else 1.0
                yield "disk", name, 1 - min(room.f_bavail / room.f_blocks, inodes)

    def count_unaccepted_clips(self, connection: Connection, now: datetime) -> Values:
        """The number of files in the drop folder of clips that no run accepts, by reason."""
        if self.voice_drop is not None:
            for why, count in left_behind(DropFolder(self.voice_drop), now).items():
                yield UNCLAIMED, why, float(count)

    def apart_s(self, connection: Connection, now: datetime) -> Values:
        """The seconds between this clock and the database's, without the duration of the query."""
        before = self.clock()
        there = connection.execute(sa.text("SELECT pg_catalog.clock_timestamp()")).scalar_one()
        apart = max(before - there, there - self.clock(), timedelta())
        yield "replica_clock", self.name, apart.total_seconds()


UNCLAIMED = "clips_unclaimed"
"""The rule on the drop folder of clips; only a machine with that folder evaluates it."""
HERE = Machine()
"""This machine, without folders."""


def machine_of(settings: Settings) -> Machine:
    """This machine, with the folders that are configured. Of clips in an object store only the doctor tells: an
    evaluation is one transaction, in which no call waits for a network."""
    names = {"state": settings.state_dir, "drop": settings.drop, "corpus": settings.corpus, "reports": settings.reports}
    place = open_clip_place(settings)
    return Machine(folders=names, voice_drop=place.folder if isinstance(place, DropFolder) else None)


Measure = Callable[[Connection, datetime], Values]
MEASURES: Mapping[tuple[str, ...], Measure] = {
    tuple(_BURNS): _failures,
    ("execution_timeout",): _timeouts,
    ("queue_backlog",): _backlog,
    ("sla_exceeded",): _sla,
    ("unknown_rising",): _unknown,
    ("daemon_silent",): _heartbeats,
    ("standby_missing",): _standby,
    **{(rule,): _by_query(rule) for rule in _SUBJECTS},
}
"""The measure of each group of rules, except those of `Machine`."""


def measures(machine: Machine) -> Mapping[tuple[str, ...], Measure]:
    """The function that measures each group of alert rules that this machine can evaluate; dropped clips only where
    their folder exists."""
    found = {**MEASURES, ("disk",): machine.disk, ("replica_clock",): machine.apart_s}
    if machine.voice_drop is not None and machine.voice_drop.is_dir():
        found[(UNCLAIMED,)] = machine.count_unaccepted_clips
    return found


def measured(
    connection: Connection, *, now: datetime, machine: Machine = HERE
) -> tuple[Mapping[tuple[str, str], float], set[str]]:
    """Values by rule and subject, and the rules that could not be measured. After an error the others go on."""
    values: dict[tuple[str, str], float] = {}
    measured_here = measures(machine)
    missed: set[str] = set() if (UNCLAIMED,) in measured_here else {UNCLAIMED}
    for rules, measure in measured_here.items():
        try:
            with connection.begin_nested():
                values |= {(rule, subject): value for rule, subject, value in measure(connection, now)}
        except (DBAPIError, OSError) as error:
            log.warning("%s could not be measured: %s", ", ".join(rules), _kind_of(error))
            missed.update(rules)
    return values, missed


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The result of one evaluation: alerts that fired and were resolved, notices that were sent and that failed."""

    fired: int = 0
    resolved: int = 0
    sent: int = 0
    failed: int = 0
    began: tuple[tuple[str, str], ...] = ()
    """Rule and subject of the alerts that fired."""


def _kind_of(error: Exception) -> str:
    return type(error.orig if isinstance(error, DBAPIError) else error).__name__


def evaluate(db: Engine, recipients: NoticeRecipients, machine: Machine = HERE) -> Evaluated:
    """Measure, update every alert, and send pending notices. Concurrent evaluations wait for each other."""
    resolved, began = 0, list[tuple[str, str]]()
    with db.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kordant:operator alerts', 0))"))
        connection.execute(sa.text("SET LOCAL statement_timeout = '10s'"))
        now: datetime = connection.execute(sa.text("SELECT now()")).scalar_one()
        rules, known = alerts.rules(connection), alerts.open_alerts(connection)
        values, missed = measured(connection, now=now, machine=machine)
        quiet = alerts.silenced(connection, now=now)
        for key in sorted(set(values) | set(known)):
            if key[0] not in rules or key[0] in missed:
                continue
            value, before = values.get(key), known.get(key)
            made = move(rules[key[0]], None if before is None else before.standing, value, now=now)
            is_quiet = (key[0], None) in quiet or key in quiet
            if made.notice is NoticeKind.FIRED and not is_quiet:
                began.append(key)
            resolved += made.notice is NoticeKind.RESOLVED
            alerts.write(
                connection, key, before, made, value=value, targets=len(recipients), silenced=is_quiet, now=now
            )
    sent, failed = _send_notices(db, recipients, rules)
    return Evaluated(fired=len(began), resolved=resolved, sent=sent, failed=failed, began=tuple(began))


def _send_notices(db: Engine, recipients: NoticeRecipients, rules: Mapping[str, AlertRule]) -> tuple[int, int]:
    """Send pending notices outside any transaction, unless another process does so now. After a crash between sending a
    notice and recording that, it is sent again."""
    sent = failed = 0
    with session_lock(db, "kordant:operator notices", wait=False) as is_alone:
        if not is_alone:
            return 0, 0
        with db.connect() as connection:
            waiting = alerts.pending_notices(connection)
        for one in waiting:
            rule = rules.get(one.rule)
            was_sent = False
            if rule is not None and one.target < len(recipients):
                title, text = notice_text(rule, one.subject, NoticeKind(one.told), one.value)
                urgent = rule.severity is Severity.PAGE and one.told != NoticeKind.RESOLVED
                was_sent = recipients.notify(one.target, title, text, urgent=urgent)
            with db.begin() as connection:
                alerts.note_try(connection, one.id, was_sent=was_sent)
            sent, failed = sent + was_sent, failed + (not was_sent)
    return sent, failed


def notice_text(rule: AlertRule, subject: str, kind: NoticeKind, value: float | None) -> tuple[str, str]:
    """Title and text of a notice: the rule, its subject, the value, and the command to begin with."""
    if kind is NoticeKind.RESOLVED:
        return f"resolved: {rule.name} {subject}", f"It has ended: {rule.what} ({subject})."
    still = "still " if kind is NoticeKind.AGAIN else ""
    figure = "" if value is None else f"{value:,.4g} {rule.unit}; it fires at {rule.fires_at:,.4g}.\n"
    return (
        f"{still}{rule.severity}: {rule.name} {subject}",
        f"{rule.what[:1].upper()}{rule.what[1:]} ({subject}).\n{figure}To begin with: {rule.first_step}",
    )


_LATE_RULES = frozenset({"sla_exceeded"})


def run_for_alert(connection: Connection, rule: str, subject: str) -> str | None:
    """The run to which an alert is added: the newest failed run of the job, or for a late job its longest active run.
    None: the alert is not about a job, or there is no such run."""
    if rule in _LATE_RULES:
        query = (
            "SELECT run_id FROM kordant.job_requests WHERE job = :job AND status = 'running' ORDER BY run_at LIMIT 1"
        )
    else:
        query = (
            "SELECT run_id FROM kordant.job_requests WHERE job = :job AND status IN ('dead', 'pending') "
            "AND cause IS NOT NULL AND run_id IS NOT NULL ORDER BY started_at DESC LIMIT 1"
        )
    found: str | None = connection.execute(sa.text(query), {"job": subject}).scalar()
    return found
