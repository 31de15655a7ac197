"""Measures what the alert rules are about, moves alerts, and tells operators through Apprise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.domain.operators.alert_rules import AlertRule, Severity, Told, move
from kordant_jobs.engine import attempt_counts
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import Settings
from kordant_jobs.store.operators import alerts

MAY_FAIL = 0.01
"""The share of attempts that may fail: the objective is 99 %."""
ATTEMPTS_MIN, REQUESTS_MIN = 10, 5
BAD, COUNTED = frozenset({"failure", "lost"}), frozenset({"success", "partial", "failure", "lost"})
NOTICE_S = 10.0

_BACKLOG = sa.text("""
SELECT w.job, w.due, w.oldest_s, coalesce(d.done, 0) FROM (
    SELECT job, count(*) AS due, extract(epoch FROM now() - min(run_at))::float8 AS oldest_s FROM kordant.job_requests r
    WHERE status = 'pending' AND run_at <= now() AND NOT EXISTS (SELECT FROM kordant.job_pauses p WHERE p.job = r.job)
    GROUP BY job
) w LEFT JOIN (
    SELECT job, count(*) AS done FROM kordant.job_requests
    WHERE ended_at > now() - interval '15 min' GROUP BY job
) d USING (job)
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
    "unknown_rising": sa.text("""
        WITH days AS (
            SELECT source, checked_on, count(*) FILTER (WHERE verdict = 'unknown')::float8 / count(*) AS share
            FROM kordant.source_verdicts WHERE checked_on > (now() AT TIME ZONE 'UTC')::date - 8 GROUP BY 1, 2
        ), past AS (
            SELECT source, greatest(percentile_cont(0.5) WITHIN GROUP (ORDER BY share), 0.01) AS usual FROM days
            WHERE checked_on < (now() AT TIME ZONE 'UTC')::date GROUP BY 1 HAVING count(*) >= 3
        )
        SELECT d.source, CASE WHEN d.share > 0.05 THEN d.share / p.usual ELSE 0 END
        FROM days d JOIN past p USING (source) WHERE d.checked_on = (now() AT TIME ZONE 'UTC')::date"""),
    "cleanup_missed": sa.text("""
        SELECT 'cleanup', extract(epoch FROM now() - max(clock))::float8 / 86400 FROM kordant.cleanup_reports
        WHERE NOT dry_run HAVING count(*) > 0"""),
}
_HEARTBEATS = sa.text("""
SELECT daemon_type, extract(epoch FROM now() AT TIME ZONE 'UTC' - max(timestamp))::float8 FROM dagster.daemon_heartbeats
WHERE daemon_type <> 'KORDANT_RETENTION' GROUP BY 1
""")


class Operators(Protocol):
    """Those who are told, by the place of their address."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def tell(self, place: int, title: str, text: str, *, urgent: bool) -> bool:
        """Tell one of them. False: it could not be delivered now."""
        ...


class AppriseOperators:
    """The addresses of KORDANT_ALERT_URLS, as Apprise reads them: mailto://, slack://, json://, … An error of a service
    is a notice that was not delivered; its text, which may hold the address, goes nowhere."""

    def __init__(self, addresses: Sequence[str]) -> None:
        import apprise

        self._types = apprise.NotifyType
        self._services = []
        for place, address in enumerate(addresses, start=1):
            service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
            if service is None:
                raise SettingsError(
                    f"KORDANT_ALERT_URLS: address {place} is none that Apprise knows. See https://appriseit.com/services/."
                )
            self._services.append(service)

    def __len__(self) -> int:
        return len(self._services)

    def tell(self, place: int, title: str, text: str, *, urgent: bool) -> bool:
        """See `Operators.tell`."""
        kind = self._types.FAILURE if urgent else self._types.WARNING
        with suppress(Exception):
            return bool(self._services[place].notify(body=text, title=title, notify_type=kind))
        return False


def open_operators(settings: Settings) -> AppriseOperators:
    """The operators of the settings; none set: nobody is told, and alerts are kept to be looked at.

    Raises:
        SettingsError: an address is none.
    """
    urls = settings.alert_urls.get_secret_value().split() if settings.alert_urls else []
    return AppriseOperators(urls)


def measured(connection: Connection, *, now: datetime) -> Iterator[tuple[str, str, float]]:
    """Every rule's subjects with their value now."""
    windows = {span: _bad_shares(connection, now - span, now) for span in _SPANS}
    for rule, (long, short) in _BURNS.items():
        for job, share in windows[long].items():
            yield rule, job, min(share, windows[short].get(job, 0.0)) / MAY_FAIL
    for job, due, oldest_s, done in connection.execute(_BACKLOG):
        drains_in_s = due / done * 900 if done else oldest_s
        yield "queue_backlog", job, max(drains_in_s if due > done else 0.0, oldest_s)
    hour = attempt_counts.between(connection, now - timedelta(hours=1), now)
    for job, some in groupby((one for one in hour if one.cause == "timeout"), lambda one: one.job):
        yield "execution_timeout", job, float(sum(one.attempts for one in some))
    for rule, query in _SUBJECTS.items():
        for subject, value in connection.execute(query):
            yield rule, subject, value
    if connection.execute(sa.text("SELECT to_regclass('dagster.daemon_heartbeats')")).scalar() is not None:
        for part, age in connection.execute(_HEARTBEATS):
            yield "daemon_silent", part, age


_BURNS = {
    "failure_rate_high": (timedelta(hours=1), timedelta(minutes=5)),
    "failure_rate_slow": (timedelta(hours=6), timedelta(minutes=30)),
}
_SPANS = [span for spans in _BURNS.values() for span in spans]


def _bad_shares(connection: Connection, since: datetime, until: datetime) -> dict[str, float]:
    shares = {}
    counts = [one for one in attempt_counts.between(connection, since, until) if one.outcome in COUNTED]
    for job, grouped in groupby(counts, lambda one: one.job):
        some = list(grouped)
        total = sum(one.attempts for one in some)
        enough = total >= (ATTEMPTS_MIN if until - since >= timedelta(hours=1) else 1)
        if enough:
            shares[job] = sum(one.attempts for one in some if one.outcome in BAD) / total
    return shares


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What one evaluation did."""

    fired: int = 0
    resolved: int = 0
    sent: int = 0
    failed: int = 0


def evaluate(db: Engine, operators: Operators) -> Evaluated:
    """Measure, move every alert, and tell operators what is to be told. Two at once wait for each other."""
    fired = resolved = 0
    with db.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kordant:operator alerts', 0))"))
        connection.execute(sa.text("SET LOCAL statement_timeout = '10s'"))
        now: datetime = connection.execute(sa.text("SELECT now()")).scalar_one()
        rules, known = alerts.rules(connection), alerts.open_alerts(connection)
        values = {(rule, subject): value for rule, subject, value in measured(connection, now=now)}
        quiet = alerts.silenced(connection, now=now)
        for key in sorted(set(values) | set(known)):
            if key[0] not in rules:
                continue
            value, before = values.get(key), known.get(key)
            made = move(rules[key[0]], None if before is None else before.standing, value, now=now)
            is_quiet = (key[0], None) in quiet or key in quiet
            fired += made.told is Told.FIRED
            resolved += made.told is Told.RESOLVED
            alerts.write(connection, key, before, made, value=value, targets=len(operators), silenced=is_quiet, now=now)
    sent, failed = _tell(db, operators, rules)
    return Evaluated(fired=fired, resolved=resolved, sent=sent, failed=failed)


def _tell(db: Engine, operators: Operators, rules: Mapping[str, AlertRule]) -> tuple[int, int]:
    """Send what waits, a transaction each. One that is killed between sending and its commit is sent again."""
    with db.connect() as connection:
        waiting = [row.id for row in alerts.to_tell(connection)]
    sent = failed = 0
    for notice_id in waiting:
        with db.begin() as connection:
            row = next((one for one in alerts.to_tell(connection) if one.id == notice_id), None)
            if row is None or row.rule not in rules or row.target >= len(operators):
                continue
            rule = rules[row.rule]
            title, text = words_of(rule, row.subject, Told(row.told), row.value)
            urgent = rule.severity is Severity.PAGE and row.told != Told.RESOLVED
            was_sent = operators.tell(row.target, title, text, urgent=urgent)
            alerts.note_try(connection, notice_id, was_sent=was_sent)
            sent, failed = sent + was_sent, failed + (not was_sent)
    return sent, failed


def words_of(rule: AlertRule, subject: str, told: Told, value: float | None) -> tuple[str, str]:
    """Title and text of a notice: the rule, what it is about, its figure, and the command to begin with."""
    if told is Told.RESOLVED:
        return f"resolved: {rule.name} {subject}", f"It has ended: {rule.what} ({subject})."
    still = "still " if told is Told.AGAIN else ""
    figure = "" if value is None else f"{value:,.4g} {rule.unit}; it fires at {rule.fires_at:,.4g}.\n"
    return (
        f"{still}{rule.severity}: {rule.name} {subject}",
        f"{rule.what[:1].upper()}{rule.what[1:]} ({subject}).\n{figure}To begin with: {rule.mend}",
    )
