"""Messages handed over by HTTP, a few at a time: what all push and text services have in common."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol, TypeVar
from uuid import UUID

import httpx

from kordant_jobs import tracing
from kordant_jobs.adapters.http_client import HttpClient
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.ports import Delivery, DeliveryOutcome

IN_FLIGHT = 8
"""Messages under way at once, each over a connection of its own: a service answers in 50 to 200 ms, so about 80
messages a second."""

TIMEOUT = httpx.Timeout(20.0, connect=10.0)


class Act(StrEnum):
    """The reaction that an error code asks for."""

    RETRY = "retry"
    """Later, the same message."""
    GONE = "gone"
    """Never this address again."""
    MISMATCH = "mismatch"
    """The address does not fit our key, topic or project: never again, unless it is our set-up that is wrong."""
    OPERATOR = "operator"
    """This message is refused for a reason that a person has to check."""
    DOWN = "down"
    """Nothing goes out this way until a person corrects a key or setting: the batch is put back."""


OUTCOMES = {
    Act.RETRY: DeliveryOutcome.DEFERRED,
    Act.GONE: DeliveryOutcome.NO_SUCH_ADDRESS,
    Act.MISMATCH: DeliveryOutcome.MISMATCH,
    Act.OPERATOR: DeliveryOutcome.REFUSED,
}


@dataclass(frozen=True, kw_only=True)
class ErrorTable:
    """The reactions to one service's error codes. A code that is not in it goes by its HTTP status, since services add
    codes: 401 and 403 `denied`, 429 and 5xx retry, other 4xx an operator."""

    service: str
    codes: Mapping[str, Act]
    denied: Act = Act.DOWN

    def act(self, code: str, status: int) -> Act:
        """Return the reaction to an error."""
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
        """The outcome that an answer stands for.

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


def retry_after_s(response: httpx.Response) -> float | None:
    """The seconds that Retry-After asks for, as a number or as a date (RFC 9110 §10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()) if value else None
    except (ValueError, TypeError, OverflowError):
        return None


def uncertain(mail_id: UUID, service: str) -> Delivery:
    """Handed over, and no answer came."""
    return Delivery(mail_id=mail_id, outcome=DeliveryOutcome.UNCERTAIN, code=f"{service} gave no answer")


def unreachable(service: str) -> SourceUnavailable:
    """The service was not reached: nothing was handed over."""
    return SourceUnavailable(f"{service} cannot be reached. Check the network of this machine; messages stay queued.")


class HasId(Protocol):
    """A message, as far as it matters here."""

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
    *,
    in_flight: int = IN_FLIGHT,
    **options: Any,
) -> Generator[Delivery, None, None]:
    """`send` each, some at once; give the outcomes in the messages' order. Each thread has an `HttpClient` of its own,
    made with `options`: two threads on one HTTP/2 connection of httpx can send their streams in the wrong order, at
    which the service ends it.

    Any other exception of `send` is its message's own: the message is refused, and the others go on.

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
    with clients, ThreadPoolExecutor(in_flight, "deliver", initializer=open_own) as pool:
        under_way: deque[Future[Delivery]] = deque()
        while True:
            if failed is None:
                for message in islice(waiting, in_flight - len(under_way)):
                    under_way.append(pool.submit(traced, message))
            if not under_way:
                break
            try:
                yield under_way.popleft().result()
            except (SourceUnavailable, SettingsError) as error:
                failed = error
    if failed is not None:
        raise failed
