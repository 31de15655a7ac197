"""The alert rules for Prometheus and the two dashboards for Grafana, made from our rules and metrics.

`docs/observability` holds what `write` makes of the shipped rules; a test compares. Rules whose value no metric has
(those by agent, medians of weeks) are evaluated by us alone; backlog is exported by the age of the oldest alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from kordant_jobs.domain.operators.alert_rules import DEFAULT_RULES, AlertRule
from kordant_jobs.observability import heartbeats
from kordant_jobs.observability.alerting import ATTEMPTS_MIN, FAILURES_MIN, MAY_FAIL
from kordant_jobs.observability.metrics import P

_BAD = f'{P}executions_total{{outcome=~"failure|lost"}}'
_CLEANED = f"{P}cleanup_timestamp_seconds"
_ANSWERED = f"{P}source_ok_timestamp_seconds"
_ALL = f'{P}executions_total{{outcome=~"success|partial|failure|lost"}}'


def _grown(counter: str, span: str) -> str:
    """By how much a counter of ours grew, by job. Not `increase`: that leaves out what a series begins with, so the
    first failure of a cause. Where nothing was scraped that long ago, it counts from the first value."""
    first = f"min_over_time({counter}[{span}]) unless on () ({P}audit_entries_total offset {span})"
    return f"sum by (job_name) ({counter} - ({counter} offset {span} or ({first}) or {counter} * 0))"


def _burn(long: str, short: str) -> str:
    def share(span: str) -> str:
        return f"{_grown(_BAD, span)} / {_grown(_ALL, span)}"

    enough = f"({_grown(_ALL, long)} >= {ATTEMPTS_MIN}) and ({_grown(_BAD, long)} >= {FAILURES_MIN})"
    return f"(({share(long)}) / {MAY_FAIL:g} >= {{at}} and ({share(short)}) / {MAY_FAIL:g} >= {{at}}) and {enough}"


EXPRESSIONS: Mapping[str, str] = {
    "failure_rate_high": _burn("1h", "5m"),
    "failure_rate_slow": _burn("6h", "30m"),
    "queue_backlog": f"(max by (job_name) ({P}queue_oldest_seconds) unless on (job_name) {P}paused) >= {{at}}",
    "execution_timeout": _grown(f'{P}executions_total{{cause="timeout"}}', "1h") + " >= {at}",
    "sla_exceeded": f"{P}sla_ratio >= {{at}}",
    "dead_letters": f"sum by (job_name) ({P}dead) >= {{at}}",
    "source_stale": f"((time() - {_ANSWERED}) and {_ANSWERED} > 0 and on (source) ({P}source_state == 0)) >= {{at}}",
    "daemon_silent": f'time() - {P}heartbeat_timestamp_seconds{{part!~"{"|".join(heartbeats.SLOW)}"}} >= {{at}}',
    "cleanup_missed": f"((time() - {_CLEANED}) / 86400 and {_CLEANED} > 0) >= {{at}}",
    "outbox_late": f"{P}outbox_oldest_seconds >= {{at}}",
    "channel_paused": f"{P}channel_pauses >= {{at}}",
    "dumps_unread": f"({P}dumps_quarantined + {P}dumps_partial) >= {{at}}",
}
"""By rule, its condition; `{at}` is the value it fires at."""


def _rule(rule: AlertRule) -> dict[str, Any]:
    return {
        "alert": rule.name,
        "expr": EXPRESSIONS[rule.name].replace("{at}", f"{rule.fires_at:g}"),
        "for": f"{max(rule.for_s, 60.0):g}s",
        "labels": {"severity": rule.severity.value},
        "annotations": {"summary": rule.what, "description": f"{rule.unit}. To begin with: {rule.mend}"},
    }


def prometheus_rules() -> str:
    """The rules that Prometheus can evaluate, as its rule file."""
    rules = [_rule(rule) for rule in DEFAULT_RULES if rule.enabled and rule.name in EXPRESSIONS]
    return str(yaml.safe_dump({"groups": [{"name": "kordant_jobs", "rules": rules}]}, sort_keys=False, width=1000))


_HEALTH = (
    ("Success, last hour", f'{P}execution_success_rate{{window="1h"}}', "{{job_name}}", "percentunit"),
    ("Due requests", f"sum by (job_name) ({P}queue_depth)", "{{job_name}}", "short"),
    ("Oldest due request", f"max by (job_name) ({P}queue_oldest_seconds)", "{{job_name}}", "s"),
    ("Running", f"{P}running", "{{job_name}}", "short"),
    ("Dead letters, unseen", f"{P}dead", "{{job_name}}", "short"),
    ("Sources that are asked", f"{P}source_state", "{{source}}", "short"),
    ("Since a daemon's last sign", f"time() - {P}heartbeat_timestamp_seconds", "{{part}}", "s"),
    ("Oldest notification", f"{P}outbox_oldest_seconds", "{{channel}}", "s"),
)
_TIMES = f"sum by (job_name, le) (rate({P}execution_time_ms_bucket[1h]))"
_PERFORMANCE = (
    ("Duration, p50", f"histogram_quantile(0.5, {_TIMES})", "{{job_name}}", "ms"),
    ("Duration, p95", f"histogram_quantile(0.95, {_TIMES})", "{{job_name}}", "ms"),
    ("Attempts a second", f"sum by (job_name) (rate({P}executions_total[5m]))", "{{job_name}}", "ops"),
    ("Failures a second by cause", f"sum by (job_name, cause) (rate({_BAD}[5m]))", "{{job_name}} {{cause}}", "ops"),
    ("CPU", f"rate({P}cpu_seconds_total[5m])", "{{job_name}}", "short"),
)


def _dashboard(uid: str, title: str, panels: tuple[tuple[str, str, str, str], ...]) -> str:
    source = {"type": "prometheus", "uid": "${datasource}"}
    made = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": name,
            "datasource": source,
            "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [{"refId": "A", "datasource": source, "expr": query, "legendFormat": legend}],
        }
        for number, (name, query, legend, unit) in enumerate(panels)
    ]
    choice = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    body = {
        "uid": uid,
        "title": title,
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [choice]},
        "panels": made,
    }
    return json.dumps(body, indent=2) + "\n"


def files() -> Mapping[str, str]:
    """What `docs/observability` holds, by name."""
    return {
        "prometheus-rules.yml": prometheus_rules(),
        "background_jobs_health.json": _dashboard("kordant-health", "background_jobs_health", _HEALTH),
        "background_jobs_performance.json": _dashboard(
            "kordant-performance", "background_jobs_performance", _PERFORMANCE
        ),
    }
