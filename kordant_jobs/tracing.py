"""Traces by OpenTelemetry. Off, and then free of cost, unless OTEL_EXPORTER_OTLP_ENDPOINT says where they go.

One trace leads from the request that came in to the message that went out:

    POST /api/jobs/requests    SERVER     the call; it continues the caller's `traceparent`
    └ send <job>               PRODUCER   the request enters the queue
      └ process <job>          CONSUMER   one attempt, from claim to end; a retry links to the attempt before it
        ├ receive <job>        CLIENT     from claim until the run's first statement
        ├ <op>                 INTERNAL
        │ └ GET | POST         CLIENT     one call of an outside source, bank, broker, push or text service
        └ settle <job>         CLIENT     its requests moved on
      send <channel>           CLIENT     one message of the outbox

Between processes the context travels as a W3C `traceparent` in the rows of the queue and of the outbox. The variables
are OpenTelemetry's own, read by its SDK: OTEL_EXPORTER_OTLP_ENDPOINT, …_HEADERS, OTEL_TRACES_SAMPLER,
OTEL_SDK_DISABLED. Names follow the semantic conventions for messaging and HTTP (1.44). Attributes are ids and closed
words; no URL, payload, SQL parameter or text of an error is ever one.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Span, Tracer

SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = "SERVER", "CLIENT", "PRODUCER", "CONSUMER", "INTERNAL"
SERVICE = "kordant-jobs"
LINKS_MAX = 128
FLUSH_S = 2.0
"""Seconds that a process waits at its end for a collector that does not answer."""
VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Given = TypeVar("Given")
Made = TypeVar("Made")
Attributes = Mapping[str, str | int | float | bool]


def is_on() -> bool:
    """True when spans are recorded in this process."""
    return any(map(os.environ.get, VARIABLES)) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def preload() -> None:
    """Import what the first span needs. No thread is started: this process may still fork."""
    if is_on():
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: F401 - to load it
        from opentelemetry.sdk.trace import export, id_generator  # noqa: F401 - as above


def messaging(operation: str, destination: str, *, message_id: object = None, count: int = 1) -> dict[str, str | int]:
    """The attributes of a span about messages: requests of a job, or notifications of a channel. `operation` is send,
    receive, process or settle."""
    return {
        "messaging.system": "kordant",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
        **({} if message_id is None or count > 1 else {"messaging.message.id": str(message_id)}),
        **({"messaging.batch.message_count": count} if count > 1 else {}),
    }


@contextmanager
def span(
    name: str,
    kind: str = INTERNAL,
    attributes: Attributes | None = None,
    *,
    parent: str | None = None,
) -> Iterator[Span | None]:
    """Record the body as a span, below the current span or `parent` (a traceparent). None while tracing is off. An
    error passes through; its type is recorded, its text is not."""
    if not is_on():
        yield None
        return
    from opentelemetry import trace

    above = _context(parent) if parent else trace.set_span_in_context(_current() or trace.INVALID_SPAN)
    made = _tracer().start_span(name, above, trace.SpanKind[kind], attributes, record_exception=False)
    token = _CURRENT.set(made)
    try:
        yield made
    except BaseException as error:
        _note_error(made, type(error).__name__)
        raise
    finally:
        _CURRENT.reset(token)
        made.end()


@contextmanager
def call(method: str, host: str) -> Iterator[Callable[[int], None]]:
    """Record one HTTP call as a client span; the body reports the answer's status. The caller decides which status is a
    failure: HIBP's 404 for an address means that it is clean."""
    with span(method, CLIENT, {"http.request.method": method, "server.address": host}) as made:

        def answered(status: int) -> None:
            if made is not None:
                made.set_attribute("http.response.status_code", status)

        yield answered


def record(
    name: str,
    kind: str,
    attributes: Attributes,
    *,
    began_at: datetime,
    ended_at: datetime,
    own: str | None = None,
    parent: str | None = None,
    links: Sequence[str] = (),
    error: str | None = None,
) -> None:
    """Record a span between two given times. `own` is the traceparent of the span itself, from `identity`; `error` is a
    code for the reason of its failure."""
    if not is_on():
        return
    began_ns, ended_ns = (int(moment.timestamp() * 1e9) for moment in (began_at, ended_at))
    made = _started(name, kind, own, parent, attributes=attributes, links=links, start_ns=began_ns)
    if error:
        _note_error(made, error)
    made.end(max(began_ns, ended_ns))


def identity(key: str, *, trace_key: str, parent: str | None) -> str:
    """The traceparent of a span that several processes record. It is derived from `key`, so that a process that reports
    a killed run refers to the parent span of the run's ops. Without a parent the trace is derived from `trace_key`."""
    made = _started("", INTERNAL, _ids_of(key, trace_key, parent), parent)  # asks the sampler; it is never ended
    return _carrier(made) or ""


def current() -> str | None:
    """The traceparent of the current span; None while there is none."""
    found = _current()
    return None if found is None else _carrier(found)


def carried(function: Callable[[Given], Made]) -> Callable[[Given], Made]:
    """The function for use in other threads: its spans are children of the span that is current here."""
    above = _CURRENT.get()

    def below_it(given: Given) -> Made:
        token = _CURRENT.set(above)
        try:
            return function(given)
        finally:
            _CURRENT.reset(token)

    return below_it


def flush() -> None:
    """Export the recorded spans, within `FLUSH_S`, whatever the collector does."""
    if _provider.cache_info().currsize:
        _provider().force_flush(int(FLUSH_S * 1000))


# OpenTelemetry's side. Nothing is set globally: spans of libraries, whose attributes are not ours, go nowhere.

_CURRENT: ContextVar[Span | None] = ContextVar("kordant_span", default=None)
_IDS: ContextVar[tuple[int, int] | None] = ContextVar("kordant_span_ids", default=None)


def _current() -> Span | None:
    return _CURRENT.get()


@lru_cache(maxsize=1)
def _provider() -> TracerProvider:
    """The provider, made with the first span: the exporter's thread must not exist in a process that forks."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random ids, but for the span that `_started` gives its own."""

        def generate_trace_id(self) -> int:
            given = _IDS.get()
            return super().generate_trace_id() if given is None else given[0]

        def generate_span_id(self) -> int:
            given = _IDS.get()
            return super().generate_span_id() if given is None else given[1]

    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE)})
    made = TracerProvider(id_generator=Ids(), resource=resource, shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=FLUSH_S), schedule_delay_millis=1000))
    atexit.register(flush)
    return made


def _tracer() -> Tracer:
    return _provider().get_tracer("kordant_jobs")


def _context(traceparent: str) -> Context:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def _carrier(made: Span) -> str | None:
    found = made.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}" if found.is_valid else None


def _ids_of(key: str, trace_key: str, parent: str | None) -> str:
    digest = blake2b(key.encode(), digest_size=8).hexdigest()
    trace_id = parent.split("-")[1] if parent else blake2b(trace_key.encode(), digest_size=16).hexdigest()
    return f"00-{trace_id}-{digest}-01"


def _started(
    name: str,
    kind: str,
    own: str | None,
    parent: str | None,
    *,
    attributes: Attributes | None = None,
    links: Sequence[str] = (),
    start_ns: int | None = None,
) -> Span:
    from opentelemetry import context, trace

    above = _context(parent) if parent else context.Context()
    _, trace_id, span_id, _ = own.split("-") if own else ("", "", "", "")
    token = _IDS.set((int(trace_id, 16), int(span_id, 16)) if own else None)
    try:
        made: Span = _tracer().start_span(
            name, above, trace.SpanKind[kind], attributes, links=list(_links(links)), start_time=start_ns
        )
    finally:
        _IDS.reset(token)
    return made


def _links(traceparents: Sequence[str]) -> Iterator[Link]:
    from opentelemetry import trace

    for one in dict.fromkeys(traceparents[:LINKS_MAX]):
        found = trace.get_current_span(_context(one)).get_span_context()
        if found.is_valid:
            yield trace.Link(found)


def _note_error(made: Span, kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    made.set_attribute("error.type", kind)
    made.set_status(Status(StatusCode.ERROR))
