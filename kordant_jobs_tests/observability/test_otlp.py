"""What is pushed by OTLP is what /metrics says, under dotted names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from kordant_jobs.observability.pulse import Pulse
from kordant_jobs_tests.observability.test_metrics import of, read, work
from kordant_jobs_tests.otlp import Collector, collecting


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{found.url}/v1/metrics")
        yield found


def labels(point: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in point.attributes}


def test_what_is_pushed_is_what_is_scraped(collector: Collector, db: Engine, database_url: str) -> None:
    work(db, 60, seed=9)
    said: list[str] = []
    Pulse(database_url, None, said.append).push(db)
    scraped = read(db)
    pushed = {one.name: one for one in collector.metrics}
    assert said == []
    assert {"background_jobs.execution_success_rate", "background_jobs.execution_time_ms",
            "background_jobs.queue_depth"} <= set(pushed)  # fmt: skip
    counter = pushed["background_jobs.executions"].sum
    assert counter.is_monotonic
    for point in counter.data_points:
        assert point.as_double == of(scraped, "executions_total", **labels(point))
    assert len(counter.data_points) > 2
    for point in pushed["background_jobs.execution_time_ms"].histogram.data_points:
        own = labels(point)
        assert (point.count, point.sum) == (
            of(scraped, "execution_time_ms_count", **own), pytest.approx(of(scraped, "execution_time_ms_sum", **own))
        )  # fmt: skip
        below = 0
        for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False):
            below += count
            assert below == of(scraped, "execution_time_ms_bucket", le=str(bound), **own)
        assert sum(point.bucket_counts) == point.count
    for point in pushed["background_jobs.execution_success_rate"].gauge.data_points:
        assert point.as_double == of(scraped, "execution_success_rate", **labels(point))


def test_a_collector_that_is_away_is_reported_once_and_so_is_its_return(
    collector: Collector, db: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    pulse = Pulse(database_url, None, said.append)
    monkeypatch.setattr("kordant_jobs.observability.otlp.TIMEOUT_S", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:9/v1/metrics")
    pulse.push(db)
    pulse.push(db)
    assert said == ["OTEL_EXPORTER_OTLP_ENDPOINT takes no metrics"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collector.url}/v1/metrics")
    pulse._metrics = None
    pulse.push(db)
    assert said[1:] == ["OTEL_EXPORTER_OTLP_ENDPOINT takes metrics again"]
