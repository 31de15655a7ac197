"""Which channels are open, by the settings: a channel without keys is off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from pathlib import Path

from kordant_jobs.adapters.mail.dkim import DkimSigner, read_signer
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.errors import SettingsError
from kordant_jobs.ports import PushTransport, TextTransport
from kordant_jobs.settings import Settings

NEEDED = {
    Channel.FCM: "KORDANT_FCM_SERVICE_ACCOUNT",
    Channel.APNS: "KORDANT_APNS_KEY_PATH",
    Channel.WEB_PUSH: "KORDANT_VAPID_KEY_PATH",
    Channel.SMS: "KORDANT_TWILIO_ACCOUNT_SID",
}
"""The setting that turns a channel on. E-mail is always on."""


@dataclass(frozen=True, kw_only=True)
class Messengers:
    """Whoever takes push and text messages, for the channels that are on."""

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
    """Read the keys of the channels that are on. Nothing is connected yet.

    Raises:
        SettingsError: a key is not readable, or something beside it is missing.
    """
    push: dict[Channel, PushTransport] = {}
    if settings.fcm_service_account:
        from kordant_jobs.adapters.push.fcm import FcmTransport, read_service_account

        push[Channel.FCM] = FcmTransport(read_service_account(settings.fcm_service_account))
    if settings.apns_key_path:
        push[Channel.APNS] = _apns(settings)
    if settings.vapid_key_path:
        from kordant_jobs.adapters.push.web_push import WebPushTransport

        key = _read(settings.vapid_key_path, "KORDANT_VAPID_KEY_PATH")
        services = [host.strip() for host in settings.web_push_services.split(",") if host.strip()]
        push[Channel.WEB_PUSH] = WebPushTransport(key, contact=settings.vapid_contact, services=services)
    return Messengers(push=push, text=_text(settings))


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


def _text(settings: Settings) -> TextTransport | None:
    if not settings.twilio_account_sid:
        return None
    from kordant_jobs.adapters.sms.twilio import TwilioAccount, TwilioTransport

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


def open_signer(settings: Settings) -> DkimSigner | None:
    """What signs mails, None when they go out unsigned.

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
