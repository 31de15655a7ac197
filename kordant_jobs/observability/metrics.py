"""The metrics of `/metrics`, read from Postgres at each scrape, so that every process gives the same values.

Label values are from fixed lists (jobs, priorities, outcomes, causes, sources, channels), never a tenant, person or id.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from itertools import accumulate, groupby

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from sqlalchemy import Connection, Engine

from kordant_jobs.bootstrap.version import version_of
from kordant_jobs.catalog import CATALOG
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import attempt_counts
from kordant_jobs.observability import heartbeats, standing
from kordant_jobs.observability.alerting import SLAS
from kordant_jobs.store.audit import log
from kordant_jobs.store.operators import counts
from kordant_jobs.store.operators.counts import HTTP_S

P = "background_jobs_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WINDOWS = {"1h": timedelta(hours=1), "24h": timedelta(days=1)}

_OUTBOX = """
SELECT channel, count(*), coalesce(extract(epoch FROM now() - min(due_at) FILTER (
    WHERE status <> 'deferred' AND due_at <= now() AND NOT EXISTS (
        SELECT FROM kordant.channel_pauses p WHERE p.channel = o.channel AND p.paused_until > now()))), 0)
FROM kordant.notification_outbox o WHERE status IN ('queued', 'deferred', 'sending') GROUP BY 1 ORDER BY 1
"""
_OTHERS = """
SELECT (SELECT coalesce(max(seq), 0) FROM kordant.audit_log),
       (SELECT coalesce(extract(epoch FROM max(ended_at)), 0) FROM kordant.cleanup_reports WHERE NOT dry_run),
       (SELECT count(*) FROM kordant.breach_dumps WHERE status = 'quarantined'),
       (SELECT count(*) FROM kordant.breach_dumps WHERE status = 'partial')
"""
_DENIALS = "SELECT rule, role, denials FROM kordant.policy_denials ORDER BY 1, 2"
_LEASES = """
SELECT CASE WHEN name LIKE 'job:%' THEN substr(name, 5) ELSE '' END, count(*) FROM kordant.job_leases
WHERE expires_at > now() GROUP BY 1 ORDER BY 1
"""
_PAUSES = "SELECT channel, pauses FROM kordant.channel_pauses ORDER BY 1"


def render(db: Engine) -> bytes:
    """The metrics in Prometheus' text format, from one snapshot. A statement that takes over 2 s is an error."""
    registry = CollectorRegistry()
    with db.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        connection.execute(sa.text("SET LOCAL statement_timeout = '2s'"))
        now: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
        registry.register(_Once(collect(connection, now)))
    return generate_latest(registry)


def collect(connection: Connection, now: datetime) -> Sequence[Metric]:
    """Every metric with its current value from the tables."""
    measures = (_attempts(connection, now), _starts(connection), _queue(connection), _parts(connection, now),
                _served(connection))  # fmt: skip
    return [family for families in measures for family in families]


class _Once(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _attempts(connection: Connection, now: datetime) -> Iterator[Metric]:
    counts = attempt_counts.totals(connection)
    executions = CounterMetricFamily(f"{P}executions", "attempts that ended", labels=["job_name", "outcome", "cause"])
    for ended, alike in groupby(counts, lambda one: (one.job, one.outcome, one.cause)):
        executions.add_metric(list(ended), sum(one.attempts for one in alike))
    yield executions
    cpu = CounterMetricFamily(f"{P}cpu_seconds", "CPU time of runs, shared among their requests", labels=["job_name"])
    for job, of_job in attempt_counts.by_job(counts).items():
        cpu.add_metric([job], sum(one.cpu_s for one in of_job))
    yield cpu
    yield _durations(counts)
    rate = GaugeMetricFamily(
        f"{P}execution_success_rate",
        "background_jobs.execution_success_rate: share of attempts that ended well",
        labels=["job_name", "window"],
    )
    for window, span in WINDOWS.items():
        for job, recent in attempt_counts.by_job(attempt_counts.between(connection, now - span, now)).items():
            share, total = attempt_counts.good_share(recent)
            if total:
                rate.add_metric([job, window], share)
    yield rate


def _durations(counts: Sequence[attempt_counts.AttemptCount]) -> Metric:
    family = HistogramMetricFamily(
        f"{P}execution_time_ms",
        "background_jobs.execution_time_ms: wall time of an attempt",
        labels=["job_name", "outcome"],
    )
    for (job, outcome), grouped in groupby(counts, lambda one: (one.job, one.outcome)):
        found = list(grouped)
        buckets = _histogram(attempt_counts.DURATIONS_MS, ((one.bucket, one.attempts) for one in found))
        family.add_metric([job, outcome], buckets, sum(one.sum_ms for one in found))
    return family


def _histogram(bounds: Sequence[float], counts: Iterable[tuple[int, int]]) -> list[tuple[str, float]]:
    """Buckets in Prometheus' form: the number up to each bound. `counts`: the index of a bucket, and a number."""
    by_bucket = [0] * (len(bounds) + 1)
    for place, count in counts:
        by_bucket[place] += count
    return list(zip([*map(str, map(float, bounds)), "+Inf"], map(float, accumulate(by_bucket)), strict=True))


def _starts(connection: Connection) -> Iterator[Metric]:
    lag = HistogramMetricFamily(f"{P}start_lag_seconds", "from due to started", labels=["job_name"])
    for job, grouped in groupby(attempt_counts.start_lags(connection), lambda one: one.job):
        found = list(grouped)
        buckets = _histogram(attempt_counts.LAGS_S, ((one.bucket, one.starts) for one in found))
        lag.add_metric([job], buckets, sum(one.sum_s for one in found))
    yield lag
    late = CounterMetricFamily(
        f"{P}sla_breaches", "requests completed later than their job promises", labels=["job_name"]
    )
    for job, breaches in attempt_counts.sla_breaches(connection).items():
        late.add_metric([job], breaches)
    yield late


def _served(connection: Connection) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        f"{P}http_requests", "calls of the API and the console", labels=["method", "route", "status"]
    )
    took = HistogramMetricFamily(f"{P}http_seconds", "how long they took", labels=["route"])
    calls = counts.calls(connection)
    for (method, route, status), alike in groupby(calls, lambda one: (one.method, one.route, one.status)):
        requests.add_metric([method, route, str(status)], sum(one.calls for one in alike))
    for route, alike in groupby(sorted(calls, key=lambda one: one.route), lambda one: one.route):
        found = list(alike)
        took.add_metric([route], _histogram(HTTP_S, ((one.bucket, one.calls) for one in found)),
                        sum(one.sum_s for one in found))  # fmt: skip
    yield from (requests, took)
    denials = CounterMetricFamily(f"{P}policy_denials", "what the policy refused", labels=["rule", "role"])
    for rule, role, number in connection.execute(sa.text(_DENIALS)):
        denials.add_metric([rule, role], number)
    yield denials
    build = GaugeMetricFamily(f"{P}build_info", "always 1", labels=["version", "dagster"])
    build.add_metric([version_of(), version("dagster")], 1)
    yield build


def _queue(connection: Connection) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        f"{P}queue_depth", "background_jobs.queue_depth: requests that are due", labels=["job_name", "priority"]
    )
    later = GaugeMetricFamily(f"{P}queue_later", "requests for a later time", labels=["job_name"])
    oldest = GaugeMetricFamily(
        f"{P}queue_oldest_seconds", "how long the oldest due request waits", labels=["job_name", "priority"]
    )
    waits: dict[str, int] = {row.name: 0 for row in CATALOG}
    for job, priority, due, not_due, age in connection.execute(sa.text(standing.QUEUE)):
        depth.add_metric([job, Priority(priority).word], due)
        oldest.add_metric([job, Priority(priority).word], float(age))
        waits[job] = waits.get(job, 0) + not_due
    for job, count in sorted(waits.items()):
        later.add_metric([job], count)
    yield from (depth, later, oldest)
    sla = GaugeMetricFamily(
        f"{P}sla_ratio", "time from due to done of the slowest recent request, of what its job allows",
        labels=["job_name"],
    )  # fmt: skip
    for job, ratio in connection.execute(sa.text(standing.SLA), SLAS):
        sla.add_metric([job], ratio)
    yield sla
    yield _gauge(connection, standing.RUNNING, "running", "requests that run", ["job_name"])
    yield _gauge(connection, standing.DEAD, "dead", "dead letters that are not acknowledged yet", ["job_name"])
    yield _gauge(connection, standing.PAUSED_JOBS, "paused", "jobs that are paused", ["job_name"])
    yield _gauge(connection, _LEASES, "leases", "slots that are held; empty: not a job's", ["job_name"])


def _gauge(connection: Connection, query: str, name: str, words: str, labels: list[str]) -> Metric:
    family = GaugeMetricFamily(f"{P}{name}", words, labels=labels)
    for *values, figure in connection.execute(sa.text(query)):
        family.add_metric(list(map(str, values)), float(figure))
    return family


def _parts(connection: Connection, now: datetime) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(f"{P}outbox_waiting", "notifications that wait", labels=["channel"])
    oldest = GaugeMetricFamily(
        f"{P}outbox_oldest_seconds", "how long the oldest due one waits that may go out", labels=["channel"]
    )
    for channel, count, age in connection.execute(sa.text(_OUTBOX)):
        waiting.add_metric([channel], count)
        oldest.add_metric([channel], float(age))
    yield from (waiting, oldest)
    state = GaugeMetricFamily(f"{P}source_state", "1: asked, 0: switched off after failures", labels=["source"])
    good = GaugeMetricFamily(f"{P}source_ok_timestamp_seconds", "when a source last answered", labels=["source"])
    for source, is_on, last_ok in connection.execute(sa.text(standing.SOURCES)):
        state.add_metric([source], is_on)
        good.add_metric([source], float(last_ok))
    yield from (state, good)
    labels = ["source", "verdict", "reason"]
    yield _gauge(connection, standing.VERDICTS, "source_verdicts", "verdicts of today (UTC), by subscription", labels)
    beats = GaugeMetricFamily(f"{P}heartbeat_timestamp_seconds", "heartbeats of daemons", labels=["part"])
    for part, age_s in heartbeats.ages_s(connection).items():
        beats.add_metric([part], now.timestamp() - age_s)
    yield beats
    audit, cleaned, quarantined, partial = connection.execute(sa.text(_OTHERS)).one()
    verified_at, _, fault = log.known_fault(connection)
    yield GaugeMetricFamily(f"{P}audit_broken", "1: the audit log was changed", value=fault is not None)
    yield GaugeMetricFamily(f"{P}audit_verified_timestamp_seconds", "when the whole audit log was last without a fault",
                            value=verified_at.timestamp() if verified_at else 0)  # fmt: skip
    yield GaugeMetricFamily(f"{P}daemons", "daemon processes, the one that leads and those that stand by",
                            value=heartbeats.processes(connection))  # fmt: skip
    yield CounterMetricFamily(f"{P}audit_entries", "entries of the audit log", value=audit)
    yield GaugeMetricFamily(f"{P}cleanup_timestamp_seconds", "when the last clean-up ended", value=float(cleaned))
    yield GaugeMetricFamily(f"{P}dumps_quarantined", "dumps that were not read", value=quarantined)
    yield GaugeMetricFamily(f"{P}dumps_partial", "dumps that were read in part", value=partial)
    yield _gauge(connection, _PAUSES, "channel_pauses", "pauses of a channel without a message between", ["channel"])
