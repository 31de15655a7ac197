"""Requests to a source over HTTP: limited in time and size, without redirects. Every failure has a reason.

SourceFailed is raised for one request without a usable answer, with an `UnknownReason` and when to ask again.

The text of an answer, of an address and of a library's error never leaves this module, since each may hold the
identifier.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from kordant_jobs import tracing
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.ports import Answer, Finding, Question, SourceTerms
from kordant_jobs.redaction import storable

if TYPE_CHECKING:
    import httpx

USER_AGENT = "kordant-jobs"
"""HIBP answers 403 without one; other services appreciate it."""

RETRY_AFTER_MOST_S = 3600.0
"""The longest Retry-After in seconds that is followed; after it the source is asked again, so that one header cannot
stop a source for a day."""

T = TypeVar("T")

for _name in ("httpx", "httpcore"):  # they log the address of every request, which may hold an identifier
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    """The limits of one request. `total_s` limits the whole request, however slowly bytes arrive; `max_bytes` counts
    the unpacked answer."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 20.0
    max_bytes: int = 8 << 20
    at_once: int = 8


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A complete answer with a usable status. Any other status raises `SourceFailed`."""

    status: int
    content_type: str
    body: bytes
    retry_after_s: float | None = None

    def read_as(self, model: TypeAdapter[T]) -> T:
        """The body as JSON of this model. The model decides whether unknown keys are allowed.

        Raises:
            SourceFailed: the body is not JSON of this model.
        """
        try:
            return model.validate_json(self.body)
        except (ValidationError, ValueError):
            raise SourceFailed(UnknownReason.UNREADABLE) from None

    @property
    def looks_like_a_page(self) -> bool:
        """True for an HTML page for people, as a proxy or a portal sends, also with status 404."""
        return "html" in self.content_type or self.body.lstrip()[:1] == b"<"


class SourceFailed(SourceUnavailable):
    """One request had no usable answer."""

    def __init__(self, reason: UnknownReason, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"the source gave no usable answer ({reason}).", retry_after_s=retry_after_s)
        self.reason = reason


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds in a Retry-After header, given as a number or a date (RFC 9110 §10.2.3); None when it is neither.

    >>> retry_after("7", datetime(2026, 1, 1, tzinfo=UTC))
    7.0
    >>> retry_after("Thu, 01 Jan 2026 00:01:00 GMT", datetime(2026, 1, 1, tzinfo=UTC))
    60.0
    """
    text = (header or "").strip()
    if not text:
        return None
    try:
        wanted = float(text) if text.isascii() and text.isdecimal() else _seconds_until(text, now)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, wanted), RETRY_AFTER_MOST_S)


def _seconds_until(text: str, now: datetime) -> float:
    moment = parsedate_to_datetime(text)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()


_STATUSES = {
    400: UnknownReason.BAD_REQUEST,
    401: UnknownReason.KEY_REFUSED,
    403: UnknownReason.FORBIDDEN,
    422: UnknownReason.BAD_REQUEST,
    429: UnknownReason.RATE_LIMITED,
}


USABLE = frozenset({200, 404})
"""Statuses whose answers are read, unless a caller passes others."""


def _failure_of(status: int, headers: httpx.Headers, usable: frozenset[int]) -> SourceFailed | None:
    if status in usable:
        return None
    if 300 <= status < 400:
        return SourceFailed(UnknownReason.REDIRECTED)
    reason = _STATUSES.get(status, UnknownReason.UNAVAILABLE if status >= 500 else UnknownReason.UNREADABLE)
    wait_s = retry_after(headers.get("retry-after"), datetime.now(UTC))
    return SourceFailed(reason, retry_after_s=wait_s)


class Session:
    """The connections of one batch."""

    def __init__(self, client: httpx.AsyncClient, limits: HttpLimits) -> None:
        self._client = client
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.at_once)

    async def get(
        self, url: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """The whole answer to a GET. See `send`."""
        return await self.send("GET", url, params=params, headers=headers)

    async def send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        json: object = None,
        usable: frozenset[int] = USABLE,
    ) -> Reply:
        """The whole answer, if its status is `usable`. `form` is sent as a form, `json` as JSON.

        Raises:
            SourceFailed: there is none that could be used.
        """
        import httpx

        try:
            async with self._slots, asyncio.timeout(self._limits.total_s):
                ours = self._client.build_request(method, url, params=params, headers=headers, data=form, json=json)
                with tracing.call(method, ours.url.host) as answered:
                    return await self._read(ours, usable, answered)
        except (TimeoutError, httpx.TimeoutException):
            raise SourceFailed(UnknownReason.TIMED_OUT) from None
        except httpx.DecodingError:
            raise SourceFailed(UnknownReason.UNREADABLE) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            raise SourceFailed(UnknownReason.UNREACHABLE) from None

    async def _read(self, request: httpx.Request, usable: frozenset[int], answered: Callable[[int], None]) -> Reply:
        answer = await self._client.send(request, stream=True)
        answered(answer.status_code)
        async with aclosing(answer):
            failure = _failure_of(answer.status_code, answer.headers, usable)
            if failure is not None:
                raise failure
            body = bytearray()
            async for block in answer.aiter_bytes():
                body += block
                if len(body) > self._limits.max_bytes:
                    raise SourceFailed(UnknownReason.TOO_LARGE)
            kind = answer.headers.get("content-type", "").lower()
            asked = answer.headers.get("retry-after") or answer.headers.get("ratelimit-reset")
            wait_s = retry_after(asked, datetime.now(UTC))
            return Reply(status=answer.status_code, content_type=kind, body=bytes(body), retry_after_s=wait_s)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The TLS context, made once in each process, since reading the certificates takes 20 ms and more."""
    import httpx

    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@asynccontextmanager
async def open_session(
    limits: HttpLimits, headers: Mapping[str, str], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Session]:
    """Connections that end with the block; `headers` are sent with every request. `tls` has a client certificate, for
    servers that require one."""
    import httpx

    async with httpx.AsyncClient(
        headers={"user-agent": USER_AGENT, **headers},
        timeout=httpx.Timeout(limits.read_s, connect=limits.connect_s),
        follow_redirects=False,
        verify=tls or _tls(),
        limits=httpx.Limits(max_connections=limits.at_once),
    ) as client:
        yield Session(client, limits)


class HttpSource(ABC):
    """The base of sources over HTTP: a batch is asked over few connections, and each question gets its own answer."""

    source: Source
    name_of_service: str

    def __init__(self, base_url: str, *, limits: HttpLimits | None = None) -> None:
        self._base = base_url.rstrip("/")
        self._limits = limits or HttpLimits()

    @abstractmethod
    def _headers(self) -> Mapping[str, str]:
        """The headers of every request, the key included."""

    @abstractmethod
    async def _findings(self, session: Session, question: Question) -> Sequence[Finding]:
        """The findings on the identifier; empty only after a complete, well-formed answer.

        Raises:
            SourceFailed: it could not be known.
        """

    @abstractmethod
    def requests_for(self, kind: IdentifierKind) -> int:
        """The number of requests for one question of this kind; 0: the source does not accept the kind."""

    def cost(self, question: Question) -> int:
        """The number of requests for its kind."""
        return self.requests_for(question.kind)

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, in their order. See `ports.ExposureSource`."""
        return asyncio.run(self._ask_all(questions))

    async def _ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        async with open_session(self._limits, self._headers()) as session:
            return list(await asyncio.gather(*(self._answer(session, question) for question in questions)))

    async def _answer(self, session: Session, question: Question) -> Answer:
        item_id = question.item_id
        if not self.requests_for(question.kind):
            return Answer(item_id=item_id, verdict=Verdict.UNKNOWN, reason=UnknownReason.BAD_REQUEST)
        try:
            found = await self._findings(session, question)
        except SourceFailed as failure:
            return Answer(
                item_id=item_id,
                verdict=Verdict.UNKNOWN,
                reason=failure.reason,
                retry_after_s=failure.retry_after_s,
            )
        if any(one.reference != storable(one.reference) for one in found):
            return Answer(item_id=item_id, verdict=Verdict.UNKNOWN, reason=UnknownReason.UNREADABLE)
        once = tuple({finding.reference: finding for finding in found}.values())
        return Answer(item_id=item_id, verdict=Verdict.EXPOSED if once else Verdict.CLEAN, findings=once)

    def terms(self) -> SourceTerms | None:
        """None: the source has no terms to read."""
        return None

    def under(self, terms: SourceTerms) -> Self:
        """The same source."""
        return self

    def fetch(self, path: str, *, params: Mapping[str, str] | None = None) -> Reply:
        """One answer outside a batch.

        Raises:
            SourceUnavailable: there is none, for the reason said.
        """

        async def fetch_one() -> Reply:
            async with open_session(self._limits, self._headers()) as session:
                return await session.get(self._base + path, params=params)

        try:
            return asyncio.run(fetch_one())
        except SourceFailed as failure:
            raise SourceUnavailable(
                f"{self.name_of_service} gave no usable answer ({failure.reason}). "
                "`kordant-jobs sources check` says how it stands.",
                retry_after_s=failure.retry_after_s,
            ) from None
