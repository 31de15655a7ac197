"""Spans of sent messages, in the trace that their notification belongs to."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from kordant_jobs import tracing
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.pending import Claim
from kordant_jobs.ports import Delivery, DeliveryOutcome


def noting_starts(messages: Iterator[Any], began_at: dict[UUID, datetime]) -> Iterator[Any]:
    """The messages; `began_at` gets the time at which the transport took each."""
    for message in messages:
        began_at[message.id] = datetime.now(UTC)
        yield message


def record_delivery(channel: Channel, claims: Sequence[Claim], delivery: Delivery, began_at: datetime | None) -> None:
    """Record whether a message was handed over. The span of a message with notifications of several traces is a child
    of the sending run's and links to them."""
    if not tracing.is_on():
        return
    now, run = datetime.now(UTC), tracing.current()
    carriers = list(dict.fromkeys(claim.traceparent for claim in claims if claim.traceparent))
    tracing.record(
        f"send {channel.value}",
        tracing.CLIENT,
        tracing.messaging("send", channel.value, message_id=delivery.mail_id, count=len(claims)),
        began_at=began_at or now,
        ended_at=now,
        parent=carriers[0] if len(carriers) == 1 else run,
        links=[run] if run and len(carriers) == 1 else carriers,
        error=None if delivery.outcome is DeliveryOutcome.DELIVERED else delivery.outcome.value,
    )
