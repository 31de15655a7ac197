"""The senders of all channels: the writer, the transport, and whether the recipient sees a second copy. Push messages
and text messages are read on locked screens, so they name no identifier.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

from kordant_jobs.adapters.mail.dkim import DkimSigner
from kordant_jobs.adapters.messengers import Messengers
from kordant_jobs.domain.notifications.alerts import Channel, Severity
from kordant_jobs.domain.notifications.pending import AlertRow, PropertyRow, VoiceRow
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.notifications_send.alert_message import subject_of
from kordant_jobs.jobs.notifications_send.bundle import Bundle
from kordant_jobs.jobs.notifications_send.mail import MailFrom, compose
from kordant_jobs.jobs.notifications_send.news import finance_subject
from kordant_jobs.jobs.notifications_send.property_message import property_subject
from kordant_jobs.jobs.notifications_send.report_message import ReportLinks, report_subject
from kordant_jobs.jobs.notifications_send.unsubscribe import Unsubscribe
from kordant_jobs.jobs.notifications_send.voice_message import clip_subject
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
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line

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


BODY_MAX = 240
"""The most characters; phones show about four lines of 60. It also keeps a message far below the 4096 bytes that FCM,
APNs and Web Push accept."""


def _said(words: Wording, bundle: Bundle) -> str:
    if bundle.report:
        return report_subject(words, bundle.report)
    if bundle.finances:
        return finance_subject(words, bundle.finances)
    if len(bundle.rows) == 1 and bundle.findings:
        return property_subject(words, bundle.findings[0])
    if bundle.clips and len(bundle.clips) == len(bundle.rows):
        return clip_subject(words, bundle.clips)
    if len(bundle.rows) == 1:
        return subject_of(words, bundle.alerts[0])
    return words.count("Security alert: %(number)s finding", "Security alert: %(number)s findings", len(bundle.rows))


def _about(bundle: Bundle) -> dict[str, str]:
    if bundle.finances:
        return {"notice_id": str(bundle.finances[0].notice_id)}
    rows: list[AlertRow | PropertyRow | VoiceRow] = [*bundle.alerts, *bundle.findings, *bundle.clips]
    return {"alert_id": str(rows[0].alert_id)}


def compose_push(bundle: Bundle) -> OutgoingPush:
    """The push message for one bundle; the app finds the rest by the id of the alert or the report."""
    words = wording(Locale(bundle.first.locale))
    if bundle.report:
        advice, about = words.say("Open the app to read it."), {"report_id": str(bundle.report.report_id)}
    else:
        advice, about = (
            words.say("Open the app to see what to do."),
            _about(bundle),
        )
    return OutgoingPush(
        id=bundle.id,
        address=bundle.address,
        title="Kordant",
        body=one_line(f"{_said(words, bundle)}. {advice}", BODY_MAX),
        data={"notification_id": str(bundle.id), **about, "category": bundle.category},
        urgent=bundle.severity in {Severity.HIGH, Severity.CRITICAL},
    )


def compose_text(bundle: Bundle) -> OutgoingText:
    """The text message for one bundle. It has no link, since people are advised to distrust links in text messages."""
    words = wording(Locale(bundle.first.locale))
    advice = (
        words.say("Sign in to read it. We never ask for a password.")
        if bundle.report
        else words.say("Sign in to see what to do. We never ask for a password.")
    )
    return OutgoingText(
        id=bundle.id, address=bundle.address, text=one_line(f"Kordant. {_said(words, bundle)}. {advice}", BODY_MAX)
    )
