"""Delivers messages over HTTP, a few at a time: the code that all push and text services share."""

import threading
import tomllib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.resources import files
from itertools import islice
from typing import Any, Protocol, TypeVar
from uuid import UUID

import httpx

from kordant_jobs import outside_json, tracing
from kordant_jobs.adapters.http_client import HttpClient
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.ports import Delivery, DeliveryOutcome

IN_FLIGHT = 8
"""The most messages sent at once, each over its own connection. A service answers in 50 to 200 ms, so that is about 80
messages a second."""

TIMEOUT = httpx.Timeout(20.0, connect=10.0)


class Act(StrEnum):
    """The reaction to an error code."""

    RETRY = "retry"
    """Send the same message again later."""
    GONE = "gone"
    """Never use this address again."""
    MISMATCH = "mismatch"
    """The address does not fit our key, topic or project: never use it again, unless our set-up is wrong."""
    OPERATOR = "operator"
    """This message was refused for a reason that a person has to check."""
    DOWN = "down"
    """Nothing can be sent this way until a person corrects a key or setting: the batch is released."""


OUTCOMES = {
    Act.RETRY: DeliveryOutcome.DEFERRED,
    Act.GONE: DeliveryOutcome.NO_SUCH_ADDRESS,
    Act.MISMATCH: DeliveryOutcome.MISMATCH,
    Act.OPERATOR: DeliveryOutcome.REFUSED,
}


@dataclass(frozen=True, kw_only=True)
class ErrorTable:
    """The reactions to one service's error codes. The reaction to an unknown code depends on its HTTP status, since
    services add codes: 401 and 403 `denied`, 429 and 5xx retry, other 4xx an operator."""

    service: str
    codes: Mapping[str, Act]
    denied: Act = Act.DOWN

    def act(self, code: str, status: int) -> Act:
        """The reaction to an error."""
        if code in self.codes:
            return self.codes[code]
        if status in {401, 403}:
            return self.denied
        return Act.RETRY if status in {408, 425, 429} or status >= 500 else Act.OPERATOR

    def delivery(
        self,
        mail_id: UUID,
        code: str,
        status: int,
        *,
        retry_after_s: float | None = None,
        gone_at: datetime | None = None,
    ) -> Delivery:
        """The delivery outcome of an answer.

        Raises:
            SettingsError: the answer concerns all messages.
        """
        act = self.act(code, status)
        said = f"{self.service} {status} {code}".strip()
        if act is Act.DOWN:
            raise SettingsError(
                f"{self.service} refuses our key or settings ({said}). Correct them: `kordant-jobs settings` names "
                "them; messages stay queued."
            )
        return Delivery(mail_id=mail_id, outcome=OUTCOMES[act], code=said, retry_after_s=retry_after_s, gone_at=gone_at)


_CODES = tomllib.loads(files(__package__).joinpath("error_codes.toml").read_text("utf-8"))


def codes_of(service: str) -> dict[str, Act]:
    """The known error codes of a service, each with the reaction to it."""
    return {code: Act(act) for act, codes in _CODES[service].items() for code in codes}


def retry_after_s(response: httpx.Response) -> float | None:
    """The seconds in a Retry-After header, given as a number or a date (RFC 9110 §10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()) if value else None
    except (ValueError, TypeError, OverflowError):
        return None


def json_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer; empty where there is none (a 502 may be HTML)."""
    try:
        found = outside_json.loads(response.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def uncertain(mail_id: UUID, service: str) -> Delivery:
    """The outcome of a message that was handed over without an answer."""
    return Delivery(mail_id=mail_id, outcome=DeliveryOutcome.UNCERTAIN, code=f"{service} gave no answer")


def unreachable(service: str) -> SourceUnavailable:
    """The error for a service that was not reached: nothing was handed over."""
    return SourceUnavailable(f"{service} cannot be reached. Check the network of this machine; messages stay queued.")


class HasId(Protocol):
    """A message with an id."""

    @property
    def id(self) -> UUID:
        """The id under which its outcome is reported."""
        ...


M = TypeVar("M", bound=HasId)


def _guarded(send: Callable[[httpx.Client, M], Delivery], client: httpx.Client, message: M) -> Delivery:
    try:
        return send(client, message)
    except (SourceUnavailable, SettingsError):
        raise
    except Exception as error:  # noqa: BLE001 - an address from outside can break any library in a way of its own
        return Delivery(
            mail_id=message.id, outcome=DeliveryOutcome.REFUSED, code=f"it cannot be sent ({type(error).__name__})"
        )


def deliver_each(
    messages: Iterable[M],
    send: Callable[[httpx.Client, M], Delivery],
    **options: Any,
) -> Generator[Delivery, None, None]:
    """`send` each message, several at once, and yield the outcomes in the messages' order.

    Each thread has an `HttpClient` of its own, made with `options`: two threads on one HTTP/2 connection of httpx can
    send their streams in the wrong order, and the service then ends the connection. Any other exception of `send`
    concerns its message only: that message is refused, and the others continue.

    Raises:
        SourceUnavailable, SettingsError: `send` raised it. No further message was begun, and what the others under way
            came to was given before.
    """
    waiting = iter(messages)
    failed: SourceUnavailable | SettingsError | None = None
    own = threading.local()
    clients = ExitStack()

    def open_own() -> None:
        own.client = clients.enter_context(HttpClient(timeout=TIMEOUT, **options))

    def deliver(message: M) -> Delivery:
        return _guarded(send, own.client, message)

    traced = tracing.carried(deliver)
    with clients, ThreadPoolExecutor(IN_FLIGHT, "deliver", initializer=open_own) as pool:
        under_way: deque[Future[Delivery]] = deque()
        while True:
            if failed is None:
                for message in islice(waiting, IN_FLIGHT - len(under_way)):
                    under_way.append(pool.submit(traced, message))
            if not under_way:
                break
            try:
                yield under_way.popleft().result()
            except (SourceUnavailable, SettingsError) as error:
                failed = error
    if failed is not None:
        raise failed
