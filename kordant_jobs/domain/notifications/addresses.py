"""Checks that a text can be an address of a channel, when it is entered. Pure."""

import base64
import binascii
import re
from urllib.parse import urlsplit

import idna
from email_validator import EmailNotValidError, validate_email

from kordant_jobs import outside_json
from kordant_jobs.domain.notifications.alerts import Channel


class BadAddress(ValueError):
    """No message can be sent to this address. The text gives the reason and never repeats the address."""


ENDPOINT_MAX = 2048
"""The most characters of a push endpoint; browsers' have 100 to 500."""
SUBSCRIPTION_MAX = 4096

_TOKENS = {
    Channel.FCM: (re.compile(r"[\x21-\x7e]{1,4096}"), "1 to 4096 ASCII characters without blanks"),
    # Apple: "variable length"; 64 hexadecimal digits today.
    Channel.APNS: (re.compile(r"[0-9a-fA-F]{1,200}"), "up to 200 hexadecimal digits"),
    Channel.SMS: (re.compile(r"\+[1-9][0-9]{6,14}"), "a number in E.164, as +12025550143"),
}


def check_address(channel: Channel, address: str) -> None:
    """Check that `address` can be an address of `channel`.

    Raises:
        BadAddress: it cannot.

    >>> check_address(Channel.SMS, "+12025550143")
    >>> check_address(Channel.SMS, "call me")
    Traceback (most recent call last):
    kordant_jobs.domain.notifications.addresses.BadAddress: it should be a number in E.164, as +12025550143
    """
    if channel is Channel.EMAIL:
        _check_mail(address)
    elif channel is Channel.WEB_PUSH:
        _check_subscription(address)
    else:
        pattern, wanted = _TOKENS[channel]
        if not pattern.fullmatch(address):
            raise BadAddress(f"it should be {wanted}")


def _check_mail(address: str) -> None:
    try:
        validate_email(address.strip(), check_deliverability=False, globally_deliverable=False, test_environment=True)
    except (EmailNotValidError, UnicodeError):
        raise BadAddress("it should be one e-mail address, as name, at sign, domain") from None


def _check_subscription(text: str) -> None:
    if len(text) > SUBSCRIPTION_MAX:
        raise BadAddress(f"it has more than {SUBSCRIPTION_MAX} characters")
    try:
        found = outside_json.loads(text)
        endpoint, keys = found["endpoint"], found["keys"]
        lengths = {name: len(_decoded(keys[name])) for name in ("p256dh", "auth")}
    except (ValueError, KeyError, TypeError):
        raise BadAddress("it should be a browser's PushSubscription as JSON, with endpoint and keys") from None
    if lengths != {"p256dh": 65, "auth": 16}:
        raise BadAddress("its keys should have 65 (p256dh) and 16 (auth) bytes")
    if not isinstance(endpoint, str) or not _is_web_address(endpoint):
        raise BadAddress("its endpoint should be a web address of a push service")


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _is_web_address(text: str) -> bool:
    """True for a host of at most 253 characters, in labels of at most 63 (RFC 1035 §2.3.4)."""
    if len(text) > ENDPOINT_MAX or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
        idna.encode(host, uts46=True)
    except (ValueError, UnicodeError):
        return False
    return parts.scheme in {"https", "http"} and bool(host)
