"""Opens the channels that the settings configure. A channel without keys is off; one with unusable keys is broken.

`check` lists all problems, so that `up` can refuse to start. A run with a broken channel pauses it and serves the
others.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kordant_jobs.adapters.mail import open_transport as open_mail_transport
from kordant_jobs.adapters.mail.dkim import DkimSigner, read_signer
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.errors import SettingsError
from kordant_jobs.ports import Delivery, MailTransport, PushTransport, TextTransport
from kordant_jobs.settings import Settings

NEEDED = {
    Channel.FCM: "KORDANT_FCM_SERVICE_ACCOUNT",
    Channel.APNS: "KORDANT_APNS_KEY_PATH",
    Channel.WEB_PUSH: "KORDANT_VAPID_KEY_PATH",
    Channel.SMS: "KORDANT_TWILIO_ACCOUNT_SID",
}
"""The setting that turns each channel on. E-mail is always on."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A channel with unusable settings: it raises the error as soon as a message should be sent."""

    error: SettingsError

    def deliver(self, messages: Iterable[Any], /) -> Generator[Delivery, None, None]:
        """See `Transport.deliver`."""
        yield from ()
        for _ in messages:
            raise self.error


@dataclass(frozen=True, kw_only=True)
class Messengers:
    """The transports of push and text messages, for the configured channels."""

    push: Mapping[Channel, PushTransport] = field(default_factory=dict)
    text: TextTransport | None = None

    @property
    def off(self) -> tuple[Channel, ...]:
        """The channels that are off."""
        return tuple(one for one in NEEDED if one not in self.push and not (one is Channel.SMS and self.text))


def channels_on(settings: Settings) -> list[Channel]:
    """The channels that the settings have keys for; no key is read."""
    on = {
        Channel.EMAIL: True,
        Channel.FCM: settings.fcm_service_account is not None,
        Channel.APNS: settings.apns_key_path is not None,
        Channel.WEB_PUSH: settings.vapid_key_path is not None,
        Channel.SMS: settings.twilio_account_sid is not None,
    }
    return [channel for channel, is_on in on.items() if is_on]


def open_messengers(settings: Settings) -> Messengers:
    """Open the configured channels with their keys; a channel with unusable keys becomes broken. Nothing is connected
    yet."""
    on = channels_on(settings)
    push = {channel: _opened(partial(opener, settings)) for channel, opener in _PUSH.items() if channel in on}
    return Messengers(push=push, text=_opened(lambda: _text(settings)) if Channel.SMS in on else None)


def check(settings: Settings) -> None:
    """Check all settings of mails, push and text messages, without connecting.

    Raises:
        SettingsError: one cannot, or several: a line each.
    """
    on = channels_on(settings)
    openers: list[Callable[[], object]] = [lambda: open_mail_transport(settings), lambda: open_signer(settings)]
    openers += [partial(opener, settings) for channel, opener in _PUSH.items() if channel in on]
    if Channel.SMS in on:
        openers.append(lambda: _text(settings))
    problems = []
    for opener in openers:
        try:
            opener()
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))


T = TypeVar("T")


def _opened(opener: Callable[[], T]) -> T | Broken:
    try:
        return opener()
    except SettingsError as error:
        return Broken(error=error)


def _fcm(settings: Settings) -> PushTransport:
    from kordant_jobs.adapters.push.fcm import FcmTransport, read_service_account

    assert settings.fcm_service_account is not None  # noqa: S101 - asked by the caller
    return FcmTransport(read_service_account(settings.fcm_service_account))


def _web_push(settings: Settings) -> PushTransport:
    from kordant_jobs.adapters.push.web_push import WebPushTransport

    assert settings.vapid_key_path is not None  # noqa: S101 - asked by the caller
    key = _read(settings.vapid_key_path, "KORDANT_VAPID_KEY_PATH")
    services = [host.strip() for host in settings.web_push_services.split(",") if host.strip()]
    return WebPushTransport(key, contact=settings.vapid_contact, services=services)


def _apns(settings: Settings) -> PushTransport:
    from kordant_jobs.adapters.push.apns import BASE_URL, SANDBOX_URL, ApnsKey, ApnsTransport

    assert settings.apns_key_path is not None  # noqa: S101 - asked by the caller
    if not (settings.apns_key_id and settings.apns_team_id and settings.apns_topic):
        raise SettingsError(
            "APNs needs KORDANT_APNS_KEY_ID, KORDANT_APNS_TEAM_ID and KORDANT_APNS_TOPIC beside KORDANT_APNS_KEY_PATH. "
            "Set them, or unset the key to turn APNs off."
        )
    key = ApnsKey(
        private_key=_read(settings.apns_key_path, "KORDANT_APNS_KEY_PATH"),
        key_id=settings.apns_key_id,
        team_id=settings.apns_team_id,
        topic=settings.apns_topic,
    )
    return ApnsTransport(key, base_url=SANDBOX_URL if settings.apns_sandbox else BASE_URL)


_PUSH: Mapping[Channel, Callable[[Settings], PushTransport]] = {
    Channel.FCM: _fcm,
    Channel.APNS: _apns,
    Channel.WEB_PUSH: _web_push,
}


def _text(settings: Settings) -> TextTransport:
    from kordant_jobs.adapters.sms.twilio import TwilioAccount, TwilioTransport

    assert settings.twilio_account_sid is not None  # noqa: S101 - asked by the caller
    if settings.twilio_auth_token is None or not settings.twilio_sender:
        raise SettingsError(
            "Twilio needs KORDANT_TWILIO_AUTH_TOKEN and KORDANT_TWILIO_SENDER beside KORDANT_TWILIO_ACCOUNT_SID. Set "
            "them, or unset the account to turn SMS off."
        )
    account = TwilioAccount(
        sid=settings.twilio_account_sid,
        token=settings.twilio_auth_token.get_secret_value(),
        sender=settings.twilio_sender,
    )
    back = f"{settings.public_url.rstrip('/')}/callbacks/twilio" if settings.public_url else None
    return TwilioTransport(account, callback_url=back)


def open_mail(settings: Settings) -> MailTransport:
    """The mail transport of the settings; a broken one where they are unusable."""
    return _opened(lambda: open_mail_transport(settings))


def open_signer(settings: Settings) -> DkimSigner | None:
    """The signer of mails, None when they are sent unsigned.

    Raises:
        SettingsError: the key is not readable.
    """
    if settings.dkim_key_path is None:
        return None
    domain = parseaddr(settings.mail_from)[1].rpartition("@")[2]
    return read_signer(domain, settings.dkim_selector, settings.dkim_key_path)


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            f"{name} names no readable key file. Correct the path and give the file mode 0600."
        ) from None
