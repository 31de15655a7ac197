"""The alert rules for Prometheus and the two dashboards for Grafana, made from our rules and metrics.

`kordant-jobs alerts export` writes the files of `docs/observability`; a test checks that they are current. Rules whose
value is not a metric (by agent, medians of a week, a machine's disks and clock) are evaluated by us only. The backlog
rule for Prometheus uses only the age of the oldest request.
"""

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
    """The growth of a counter by job, as PromQL. Not `increase`, which ignores the first value of a series and misses
    the first failure of a cause. If nothing was scraped `span` ago, the growth counts from the first value."""
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
    "standby_missing": f"({P}daemons == 1) >= {{at}}",
    "audit_broken": f"{P}audit_broken >= {{at}}",
    "outbox_late": f"{P}outbox_oldest_seconds >= {{at}}",
    "channel_paused": f"{P}channel_pauses >= {{at}}",
    "dumps_unread": f"({P}dumps_quarantined + {P}dumps_partial) >= {{at}}",
}
"""By rule, its condition in PromQL; `{at}` stands for the value at which it fires."""


def _rule(rule: AlertRule) -> dict[str, Any]:
    return {
        "alert": rule.name,
        "expr": EXPRESSIONS[rule.name].replace("{at}", f"{rule.fires_at:g}"),
        "for": f"{max(rule.for_s, 60.0):g}s",
        "labels": {"severity": rule.severity.value},
        "annotations": {"summary": rule.what, "description": f"{rule.unit}. To begin with: {rule.first_step}"},
    }


def prometheus_rules() -> str:
    """The rule file for Prometheus, with the rules that it can evaluate."""
    rules = [_rule(rule) for rule in DEFAULT_RULES if rule.enabled and rule.name in EXPRESSIONS]
    return str(yaml.safe_dump({"groups": [{"name": "kordant_jobs", "rules": rules}]}, sort_keys=False, width=1000))


_SEEN = {f"{P}audit_entries_total": "0+1x600"}
_GOOD, _FAILED, _TIMED_OUT = (
    f'{P}executions_total{{job_name="a",outcome="{outcome}",cause="{cause}"}}'
    for outcome, cause in (("success", ""), ("failure", "exception"), ("failure", "timeout"))
)
_FAULTS: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, str]]] = {
    "failure_rate_high": ("90m", {"job_name": "a"}, _SEEN | {_GOOD: "0+10x90", _FAILED: "0x30 0+5x60"}),
    "failure_rate_slow": ("420m", {"job_name": "a"}, _SEEN | {_GOOD: "0+10x420", _FAILED: "0+1x420"}),
    "queue_backlog": ("10m", {"job_name": "a"}, {f'{P}queue_oldest_seconds{{job_name="a",priority="low"}}': "1000x30"}),
    "execution_timeout": ("20m", {"job_name": "a"}, _SEEN | {_TIMED_OUT: "0x10 1x60"}),
    "sla_exceeded": ("10m", {"job_name": "a"}, {f'{P}sla_ratio{{job_name="a"}}': "1.5x30"}),
    "dead_letters": ("10m", {"job_name": "a"}, {f'{P}dead{{job_name="a"}}': "1x30"}),
    "source_stale": ("180m", {"source": "s"}, {f'{_ANSWERED}{{source="s"}}': "1x180",
                                               f'{P}source_state{{source="s"}}': "0x180"}),
    "daemon_silent": ("10m", {"part": "SENSOR"}, {f'{P}heartbeat_timestamp_seconds{{part="SENSOR"}}': "1x30"}),
    "cleanup_missed": ("16d", {}, {_CLEANED: "1x23040"}),
    "standby_missing": ("10m", {}, {f"{P}daemons": "1x30"}),
    "audit_broken": ("10m", {}, {f"{P}audit_broken": "1x30"}),
    "outbox_late": ("10m", {"channel": "email"}, {f'{P}outbox_oldest_seconds{{channel="email"}}': "4000x30"}),
    "channel_paused": ("10m", {"channel": "email"}, {f'{P}channel_pauses{{channel="email"}}': "2x30"}),
    "dumps_unread": ("10m", {}, {f"{P}dumps_quarantined": "1x30", f"{P}dumps_partial": "0x30"}),
}  # fmt: skip
"""By rule, a time at which it fires, the labels of the alert, and the series that raise it."""
_WELL = _SEEN | {
    _GOOD: "0+10x600",
    _FAILED: "0x300 1x300",
    f'{P}queue_oldest_seconds{{job_name="a",priority="low"}}': "5+1x600",
    f'{P}sla_ratio{{job_name="a"}}': "0.4x600",
    f'{_ANSWERED}{{source="s"}}': "1+60x600",
    f'{P}source_state{{source="s"}}': "1x600",
    f'{P}heartbeat_timestamp_seconds{{part="SENSOR"}}': "1+60x600",
    f'{P}heartbeat_timestamp_seconds{{part="KORDANT_RETENTION"}}': "1x600",
    _CLEANED: "1x600",
    f"{P}daemons": "2x600",
    f"{P}audit_broken": "0x600",
    f'{P}outbox_oldest_seconds{{channel="email"}}': "30x600",
    f'{P}channel_pauses{{channel="sms"}}': "1x600",
    f"{P}dumps_quarantined": "0x600",
    f"{P}dumps_partial": "0x600",
}
"""Ten hours without an alert, in which one attempt fails and a daemon is silent during long work."""


def _series(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": value} for name, value in values.items()]


def prometheus_tests() -> str:
    """Tests for `promtool test rules`: each rule fires on its fault, and none fires in ten good hours."""
    tests: list[dict[str, Any]] = []
    for rule in DEFAULT_RULES:
        if rule.name in EXPRESSIONS:
            at, labels, values = _FAULTS[rule.name]
            made = _rule(rule)
            expected = {"exp_labels": labels | made["labels"], "exp_annotations": made["annotations"]}
            case = {"eval_time": at, "alertname": rule.name, "exp_alerts": [expected]}
            tests.append({"interval": "1m", "input_series": _series(values), "alert_rule_test": [case]})
    quiet: list[dict[str, Any]] = [
        {"eval_time": at, "alertname": name, "exp_alerts": []} for name in EXPRESSIONS for at in ("10m", "310m", "10h")
    ]
    tests.append({"interval": "1m", "input_series": _series(_WELL), "alert_rule_test": quiet})
    body = {"rule_files": ["prometheus-rules.yml"], "evaluation_interval": "5m", "tests": tests}
    return str(yaml.safe_dump(body, sort_keys=False, width=1000))


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
    """The files of `docs/observability`, by name."""
    return {
        "prometheus-rules.yml": prometheus_rules(),
        "prometheus-rules-test.yml": prometheus_tests(),
        "background_jobs_health.json": _dashboard("kordant-health", "background_jobs_health", _HEALTH),
        "background_jobs_performance.json": _dashboard(
            "kordant-performance", "background_jobs_performance", _PERFORMANCE
        ),
    }
