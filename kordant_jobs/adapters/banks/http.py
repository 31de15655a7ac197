"""Calls to a bank provider: each within its limits of calls, time and size; answers are JSON with Decimal numbers.

A status other than success becomes a `BankFailed`, by the table below; so does an answer that violates its contract.
`Windows` chooses the days to read where the historic list of an account is rationed.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from kordant_jobs import outside_json
from kordant_jobs.adapters.sources.http import HttpLimits, Reply, Session, SourceFailed
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.domain.finance.states import ErrorClass
from kordant_jobs.domain.finance.values import BadRow, BadSeen
from kordant_jobs.ports import BankCalls, BankFailed, KnownAccount

LIMITS = HttpLimits(read_s=20.0, total_s=45.0, max_bytes=64 << 20, at_once=4)
PAGES_MAX = 2_000
"""The most pages of one list: a million rows in pages of 500. A server that sends more repeats its pages."""
_ALL = frozenset(range(200, 600))

_CLASSES = {
    400: (ErrorClass.PERMANENT, "bad_request"),
    401: (ErrorClass.OURS, "unauthorised"),
    403: (ErrorClass.USER, "forbidden"),
    404: (ErrorClass.PERMANENT, "not_found"),
    408: (ErrorClass.TRANSIENT, "timed_out"),
    409: (ErrorClass.TRANSIENT, "conflict"),
    410: (ErrorClass.PERMANENT, "gone"),
    422: (ErrorClass.PERMANENT, "unprocessable"),
    423: (ErrorClass.TRANSIENT, "locked"),
    428: (ErrorClass.USER, "mfa_needed"),
    429: (ErrorClass.TRANSIENT, "rate_limited"),
    529: (ErrorClass.TRANSIENT, "overloaded"),
}
"""The failure by status. Any other 5xx is transient, any other status permanent."""

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""Exceptions that reading a row raises when its fields are not what its contract says."""

T = TypeVar("T")


def failure_of(status: int, retry_after_s: float | None) -> BankFailed:
    """The failure that a status stands for."""
    unknown = ErrorClass.TRANSIENT if status >= 500 else ErrorClass.PERMANENT
    error_class, code = _CLASSES.get(status, (unknown, f"http_{status}"))
    return BankFailed(error_class, code, retry_after_s=retry_after_s, refused=True)


def rows_of(
    found: Iterable[Any], read: Callable[[Mapping[str, Any]], T | None]
) -> tuple[tuple[T, ...], tuple[BadSeen, ...]]:
    """The values that `read` makes of rows, and the rows that it cannot understand, each with its reason."""
    good, bad = list[T](), list[BadSeen]()
    for raw in found:
        try:
            if not isinstance(raw, Mapping):
                raise BadRow("row_is_no_object")
            made = read(raw)
        except MALFORMED as why:  # one row's fault is that row's alone
            reason = str(why) if isinstance(why, BadRow) else "field_has_a_wrong_type"
            bad.append(BadSeen(reason=reason, raw=raw if isinstance(raw, Mapping) else {"value": str(raw)}))
        else:
            if made is not None:
                good.append(made)
    return tuple(good), tuple(bad)


class Unlimited:
    """Calls without a limit: requests that end a connection are never deferred."""

    def one(self, endpoint: str, subject: str = "") -> AbstractAsyncContextManager[None]:
        """One call. See `ports.BankCalls`."""
        return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Server:
    """One provider's server during one read. `headers` makes the headers of each request."""

    session: Session
    base_url: str
    calls: BankCalls
    headers: Callable[[], Mapping[str, str]]
    check: Callable[[Reply, Mapping[str, str]], None] = lambda reply, sent: None
    """Raises BankFailed for an answer that breaks a rule of this provider."""

    async def ask(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        endpoint: str,
        subject: str = "",
        method: str = "GET",
        body: object = None,
        accepted: frozenset[int] = frozenset({200}),
    ) -> dict[str, Any]:
        """The object in the answer. The answer to a deletion is not read.

        Raises:
            BankFailed: the answer has no object.
        """
        async with self.calls.one(endpoint, subject):
            sent = dict(self.headers())
            try:
                reply = await self.session.send(
                    method, self.base_url + path, params=params, headers=sent, json=body, usable=_ALL
                )
            except SourceFailed as failure:
                lasts = failure.reason in {UnknownReason.REDIRECTED, UnknownReason.TOO_LARGE}
                kind = ErrorClass.PERMANENT if lasts else ErrorClass.TRANSIENT
                raise BankFailed(kind, failure.reason.value, retry_after_s=failure.retry_after_s) from None
            if reply.status not in accepted:
                raise failure_of(reply.status, reply.retry_after_s)
            self.check(reply, sent)
            return object_of(reply) if method != "DELETE" else {}


def object_of(reply: Reply) -> dict[str, Any]:
    """The JSON object of an answer; empty where there is no content.

    Raises:
        BankFailed: the answer is not a JSON object.
    """
    if reply.status == 204:
        return {}
    try:
        value = outside_json.loads(reply.body, parse_float=Decimal)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BankFailed(ErrorClass.TRANSIENT, "unreadable")
    return value


def list_of(value: Mapping[str, Any], name: str) -> list[Any]:
    """The list `name` of an answer.

    Raises:
        BankFailed: it has none: an empty list is said as one.
    """
    found = value.get(name)
    if not isinstance(found, list):
        raise BankFailed(ErrorClass.PERMANENT, "unreadable")
    return found


def part_of(value: Any, name: str) -> Mapping[str, Any]:
    """The object `name` within an object; empty when there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


HISTORY = timedelta(days=364)
HISTORIC_EVERY = timedelta(days=8)
"""The shortest time between two historic reads: four a month."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The reads of one account. `recent` is the time that the cheap list covers; `cursor` is updated: the last day
    read, and the last historic read."""

    provider_id: str
    known: KnownAccount | None
    cursor: dict[str, Any]
    today: date
    recent: timedelta

    def choose(self) -> tuple[date, bool]:
        """The first day to read, and whether that takes the historic list: the first time, after a gap longer than the
        cheap list covers, and at intervals while an older row is not final."""
        last, historic = self.cursor.get(self.provider_id), self.cursor.get(f"history {self.provider_id}")
        if self.known is None or not isinstance(last, str):
            return self.today - HISTORY, True
        recent, waiting = self.today - self.recent, self.known.oldest_provisional_on or self.today
        is_silent = date.fromisoformat(last) < recent
        may = not isinstance(historic, str) or date.fromisoformat(historic) <= self.today - HISTORIC_EVERY
        if not is_silent and (waiting >= recent or not may):
            return recent, False
        return max(min(date.fromisoformat(last), waiting) - self.recent, self.today - HISTORY), True

    async def read(self, fetch: Callable[[date, bool], Awaitable[list[Any]]]) -> tuple[list[Any], date]:
        """The rows that `fetch` returns for a first day (True: from the historic list), and that day. When the month's
        historic reads are used up, only the last days are read, and the gap remains for a later read.

        Raises:
            BankFailed: they could not be read.
        """
        begin, is_historic = self.choose()
        try:
            found = await fetch(begin, is_historic)
        except BankFailed as failure:
            if not (is_historic and failure.code == "budget" and self.known is not None):
                raise
            begin = self.today - self.recent
            return await fetch(begin, False), begin
        if is_historic:
            self.cursor[f"history {self.provider_id}"] = self.today.isoformat()
        self.cursor[self.provider_id] = self.today.isoformat()
        return found, begin
