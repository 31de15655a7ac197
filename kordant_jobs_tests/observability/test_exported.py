"""The files for Prometheus and Grafana: as the rules say today, and of metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.domain.operators.alert_rules import BY_NAME
from kordant_jobs.observability import metrics
from kordant_jobs.observability.exported import EXPRESSIONS, files


def test_the_files_of_the_checkout_are_made_from_the_rules_of_today() -> None:
    for name, text in files().items():
        assert (CHECKOUT / "docs" / "observability" / name).read_text() == text, "run `kordant-jobs alerts export`"


def test_each_rule_fires_at_its_own_value_and_every_query_names_metrics_that_there_are(db: Engine) -> None:
    made = files()
    rules = yaml.safe_load(made["prometheus-rules.yml"])["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules} == set(EXPRESSIONS)
    for rule in rules:
        assert f">= {BY_NAME[rule['alert']].fires_at:g}" in rule["expr"]
        assert rule["labels"]["severity"] == BY_NAME[rule["alert"]].severity
    queries = [rule["expr"] for rule in rules]
    for name in ("background_jobs_health.json", "background_jobs_performance.json"):
        queries += [panel["targets"][0]["expr"] for panel in json.loads(made[name])["panels"]]
    kinds = {one.name: one.type for one in text_string_to_metric_families(metrics.render(db).decode())}
    there = {f"{name}_total" if kind == "counter" else name for name, kind in kinds.items()}
    there |= {f"{name}_bucket" for name, kind in kinds.items() if kind == "histogram"}
    named = set(re.findall(r"background_jobs_\w+", " ".join(queries)))
    assert named <= there, named - there
    for query in queries:
        for opens, closes in ("()", "{}", "[]"):
            assert query.count(opens) == query.count(closes), query


@pytest.mark.long
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus")
def test_prometheus_raises_each_rule_by_its_fault_and_none_in_ten_good_hours() -> None:
    for words in (["check", "rules", "prometheus-rules.yml"], ["test", "rules", "prometheus-rules-test.yml"]):
        done = subprocess.run(["promtool", *words], cwd=CHECKOUT / "docs" / "observability", capture_output=True,
                              text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_of_prometheus_has_its_fault_in_the_tests_of_the_rules() -> None:
    body = yaml.safe_load(files()["prometheus-rules-test.yml"])
    raised = {case["alertname"] for one in body["tests"] for case in one["alert_rule_test"] if case["exp_alerts"]}
    assert raised == set(EXPRESSIONS)
