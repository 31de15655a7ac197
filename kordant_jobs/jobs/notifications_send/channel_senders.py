"""The senders of all channels: the writer, the transport, and whether the recipient sees a second copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

from kordant_jobs.adapters.mail.dkim import DkimSigner
from kordant_jobs.adapters.messengers import Messengers
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.jobs.notifications_send.bundle import Bundle
from kordant_jobs.jobs.notifications_send.mail import MailFrom, compose
from kordant_jobs.jobs.notifications_send.report_message import ReportLinks
from kordant_jobs.jobs.notifications_send.short import compose_push, compose_text
from kordant_jobs.jobs.notifications_send.unsubscribe import Unsubscribe
from kordant_jobs.ports import (
    MailTransport,
    OutgoingMail,
    OutgoingPush,
    OutgoingText,
    PushTransport,
    TextTransport,
    Transport,
)
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals.links import done_link

Message = TypeVar("Message", bound=OutgoingMail | OutgoingPush | OutgoingText)

MARK_MAILS_EVERY = 20
"""The number of mails between two writes of their status. A crash repeats at most this many mails, each once, under the
same Message-ID; a write costs about 1 ms, so that more frequent writes would gain little."""


@dataclass(frozen=True, kw_only=True)
class ChannelSender(Generic[Message]):
    """One configured channel. `copies_show`: the provider cannot detect a second copy, so that the recipient would see
    both. Then the status of each message is written separately, before and after sending, and a message with an unknown
    outcome is sent again at most once."""

    channel: Channel
    transport: Transport[Message]
    write: Callable[[Bundle], Message]
    copies_show: bool

    @property
    def mark_every(self) -> int:
        """The number of messages between two writes of their status."""
        return 1 if self.copies_show else MARK_MAILS_EVERY


def mail_sender(transport: MailTransport, sender: MailFrom) -> ChannelSender[OutgoingMail]:
    """The sender of e-mail. A copy has the same Message-ID."""

    def write(bundle: Bundle) -> OutgoingMail:
        return compose(bundle, sender=sender, now=datetime.now(UTC))

    return ChannelSender(channel=Channel.EMAIL, transport=transport, write=write, copies_show=False)


def push_sender(channel: Channel, transport: PushTransport) -> ChannelSender[OutgoingPush]:
    """The sender of a push service. On Apple's devices (apns-collapse-id) and in browsers (Topic) a copy replaces the
    first message; FCM does not promise that for a message that was already shown."""
    return ChannelSender(channel=channel, transport=transport, write=compose_push, copies_show=channel is Channel.FCM)


def text_sender(transport: TextTransport) -> ChannelSender[OutgoingText]:
    """The sender of text messages. Twilio accepts no idempotency key for them."""
    return ChannelSender(channel=Channel.SMS, transport=transport, write=compose_text, copies_show=True)


def mail_from_of(settings: Settings, keyring: Keyring, signer: DkimSigner | None) -> MailFrom:
    """The From of mails, with their signature and links, as the settings configure them."""
    unsubscribe = reports = removals = None
    if settings.public_url:
        unsubscribe = Unsubscribe(keyring=keyring, public_url=settings.public_url, mail_to=settings.unsubscribe_mailto)
        reports = ReportLinks(keyring=keyring, public_url=settings.public_url)
        removals = partial(done_link, keyring, settings.public_url)
    return MailFrom(header=settings.mail_from, unsubscribe=unsubscribe, reports=reports, removals=removals, sign=signer)


def channel_senders(mail: MailTransport, sender: MailFrom, messengers: Messengers) -> list[ChannelSender[Any]]:
    """The senders of all configured channels."""
    senders: list[ChannelSender[Any]] = [mail_sender(mail, sender)]
    senders += [push_sender(channel, transport) for channel, transport in messengers.push.items()]
    if messengers.text:
        senders.append(text_sender(messengers.text))
    return senders
