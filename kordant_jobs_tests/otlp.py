"""A collector: takes OTLP over HTTP as protobuf, and keeps the spans and metrics that came."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kordant_jobs import tracing


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A span as it came."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    is_error: bool
    began_ns: int
    ended_ns: int


@dataclass
class Collector:
    """What came so far."""

    url: str
    spans: list[Seen] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[Seen]:
        return sorted((one for one in self.spans if one.name == name), key=lambda one: one.began_ns)

    def take(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    self.metrics.extend(scope.metrics)
            return
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for one in (span for scope in resource.scope_spans for span in scope.spans):
                values = {
                    each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
                    for each in one.attributes
                }
                self.spans.append(
                    Seen(
                        name=one.name,
                        kind=one.kind,
                        trace=one.trace_id.hex(),
                        id=one.span_id.hex(),
                        parent=one.parent_span_id.hex(),
                        links=tuple(each.span_id.hex() for each in one.links),
                        attributes=values,
                        is_error=one.status.code == 2,
                        began_ns=one.start_time_unix_nano,
                        ended_ns=one.end_time_unix_nano,
                    )
                )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.take(self.path, gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(url=f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Traces are on, and go to a collector of this test's own."""
    tracing._provider.cache_clear()
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found
        tracing._provider().shutdown()
    tracing._provider.cache_clear()
