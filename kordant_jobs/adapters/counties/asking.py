"""Requests to a county's server: limited in time and size, with few retries. An error sent with status 200 is an
error."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kordant_jobs import outside_json
from kordant_jobs.adapters.sources.http import HttpLimits, Reply, SourceFailed, open_session
from kordant_jobs.domain.darkwatch.exposures import UnknownReason

RETRY_WAITS_S = (0.5, 2.0)
"""Seconds before the second and third attempt after a short failure (reset, 500, 429, still processing). A time-out is
not retried: two minutes are lost already, and the next scan reads again."""
RETRY_AFTER_MOST_S = 10.0
"""The longest wait that a server may ask for. Beyond it the read fails, and the next scan reads again."""
_HICCUPS = frozenset({UnknownReason.UNAVAILABLE, UnknownReason.RATE_LIMITED, UnknownReason.UNREACHABLE})
_PAGE_LIMITS = HttpLimits(read_s=30.0, total_s=120.0, max_bytes=256 << 20, at_once=1)


class TooMuchAtOnce(SourceFailed):
    """The server could not make so large a page within its time limit; ask for a smaller one."""


@dataclass
class Server:
    """One county's server. `requests` counts the requests sent. `pause` waits; tests replace it."""

    headers: Mapping[str, str] = field(default_factory=dict)
    limits: HttpLimits = _PAGE_LIMITS
    retry_waits_s: tuple[float, ...] = RETRY_WAITS_S
    pause: Callable[[float], None] = time.sleep
    requests: int = 0

    def ask(self, url: str, params: Mapping[str, str], *, post: bool = False, body: Any = None) -> Any:
        """The JSON of the answer, checked for an error in it.

        Raises:
            TooMuchAtOnce: a smaller page may work.
            SourceFailed: there is none, after a few attempts.
        """
        for wait_s in (*self.retry_waits_s, None):
            try:
                return self._once(url, params, post=post, body=body)
            except TooMuchAtOnce:
                raise
            except SourceFailed as failure:
                if wait_s is None or failure.reason not in _HICCUPS:
                    raise
                wanted = failure.retry_after_s or wait_s
                if wanted > RETRY_AFTER_MOST_S:
                    raise
                self.pause(wanted)
        raise SourceFailed(UnknownReason.UNAVAILABLE)

    def _once(self, url: str, params: Mapping[str, str], *, post: bool, body: Any) -> Any:
        self.requests += 1

        async def one() -> Reply:
            async with open_session(self.limits, self.headers) as session:
                usable = frozenset({200, 202, 400, 404, 429})
                if body is not None:
                    return await session.send("POST", url, params=params, json=body, usable=usable)
                if post:
                    return await session.send("POST", url, form=params, usable=usable)
                return await session.send("GET", url, params=params, usable=usable)

        return _value_of(asyncio.run(one()))


def _value_of(reply: Reply) -> Any:
    if reply.status == 202:
        raise SourceFailed(UnknownReason.UNAVAILABLE)
    if reply.status == 200 and (reply.looks_like_a_page or not reply.body):
        raise SourceFailed(UnknownReason.UNREADABLE)
    try:
        value = outside_json.loads(reply.body)
    except ValueError:
        value = None
    if reply.status != 200:
        raise _refusal(reply, value)
    if value is None:
        raise SourceFailed(UnknownReason.UNREADABLE)
    if isinstance(value, dict) and value.get("error"):
        raise _error_in(value["error"])
    return value


def _refusal(reply: Reply, value: Any) -> SourceFailed:
    text = reply.body[:2000].decode("utf-8", "replace").lower()
    if "timeout" in text or "timed out" in text:  # CARTO says both limits with 429, and time-outs with 400, too
        return TooMuchAtOnce(UnknownReason.TIMED_OUT)
    if reply.status == 429:
        return SourceFailed(UnknownReason.RATE_LIMITED, retry_after_s=reply.retry_after_s)
    if reply.status == 400:
        return SourceFailed(UnknownReason.BAD_REQUEST)
    return SourceFailed(UnknownReason.UNREADABLE if value is None else UnknownReason.BAD_REQUEST)


def _error_in(error: Any) -> SourceFailed:
    """The failure that an ArcGIS error means, which comes with status 200: 498 and 499 ask for a token, 500 may
    pass."""
    code = error.get("code") if isinstance(error, dict) else None
    if code in {498, 499, 403}:
        return SourceFailed(UnknownReason.FORBIDDEN)
    return SourceFailed(UnknownReason.UNAVAILABLE if code in {500, 503, 504} else UnknownReason.BAD_REQUEST)
