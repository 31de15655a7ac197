"""Pushes the metrics of `/metrics` by OTLP, for installations that do not scrape: same values, dotted names.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT (or …_METRICS_ENDPOINT) is set. `up` pushes, not the daemon, so that metrics
still arrive when the daemon is dead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from prometheus_client.core import Metric as Family
from sqlalchemy import Connection, Engine

from kordant_jobs import tracing
from kordant_jobs.observability import metrics

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
EVERY_S = 60.0
"""Seconds between pushes unless OTEL_METRIC_EXPORT_INTERVAL (milliseconds) is set; OpenTelemetry's default."""
TIMEOUT_S = 10.0


def is_on() -> bool:
    """True when metrics are pushed."""
    return any(map(os.environ.get, VARIABLES)) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def interval_s() -> float:
    """Seconds between two pushes."""
    given = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    return float(given) / 1000 if given.isdecimal() and int(given) > 0 else EVERY_S


class MetricsPush:
    """Pushes metrics to the collector over one connection."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        self._exporter = OTLPMetricExporter(timeout=TIMEOUT_S)

    def push(self, db: Engine) -> bool:
        """Push the current values. False: the collector did not accept them; the next push has newer values."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        with db.connect() as connection:
            data = read(connection)
        return self._exporter.export(data) is MetricExportResult.SUCCESS


def read(connection: Connection) -> MetricsData:
    """Every metric in OpenTelemetry's form."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    connection.execute(sa.text("SET LOCAL statement_timeout = '2s'"))
    now = connection.execute(sa.select(sa.func.now())).scalar_one()
    found = [_metric(family, time.time_ns()) for family in metrics.collect(connection, now)]
    scope = ScopeMetrics(scope=InstrumentationScope("kordant_jobs"), metrics=found, schema_url="")
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", tracing.SERVICE)})
    return MetricsData(resource_metrics=[ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])


def _metric(family: Family, at_ns: int) -> Metric:
    from opentelemetry.sdk.metrics import export

    data: Any
    if family.type == "histogram":
        data = export.Histogram(list(_histograms(family, at_ns)), export.AggregationTemporality.CUMULATIVE)
    else:
        points = [
            export.NumberDataPoint(
                sample.labels, start_time_unix_nano=0, time_unix_nano=at_ns, value=float(sample.value)
            )
            for sample in family.samples
        ]
        is_counter = family.type == "counter"
        data = (
            export.Sum(points, export.AggregationTemporality.CUMULATIVE, is_monotonic=True)
            if is_counter
            else export.Gauge(points)
        )
    name = family.name.replace(metrics.P, metrics.P.removesuffix("_") + ".", 1)
    return export.Metric(name=name, description=family.documentation, unit=None, data=data)


def _histograms(family: Family, at_ns: int) -> Iterator[Any]:
    """Histograms in OpenTelemetry's form: counts between two bounds, where Prometheus counts below each bound."""
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    def labels(sample: Any) -> Sequence[tuple[str, str]]:
        return sorted((name, value) for name, value in sample.labels.items() if name != "le")

    for own, alike in groupby(family.samples, labels):
        samples = list(alike)
        below = [(sample.labels["le"], int(sample.value)) for sample in samples if sample.name.endswith("_bucket")]
        total = next(sample.value for sample in samples if sample.name.endswith("_sum"))
        counts = [count - before for (_, count), (_, before) in zip(below, [("", 0), *below], strict=False)]
        yield HistogramDataPoint(
            attributes=dict(own), start_time_unix_nano=0, time_unix_nano=at_ns, count=below[-1][1], sum=total,
            bucket_counts=counts, explicit_bounds=[float(bound) for bound, _ in below[:-1]],
            min=float("inf"), max=float("-inf"),
        )  # fmt: skip
