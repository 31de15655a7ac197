"""Addresses are checked when they are entered."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kordant_jobs.domain.notifications.addresses import BadAddress, check_address
from kordant_jobs.domain.notifications.alerts import Channel


def subscription(endpoint: Any = "https://fcm.googleapis.com/fcm/send/x", p256dh: int = 65, auth: int = 16) -> str:
    keys = {"p256dh": b"\x04" * p256dh, "auth": b"a" * auth}
    encoded = {name: base64.urlsafe_b64encode(key).decode() for name, key in keys.items()}
    return json.dumps({"endpoint": endpoint, "keys": encoded})


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        (Channel.EMAIL, "ann@mail.example"),
        (Channel.EMAIL, "jürgen@bücher.example"),
        (Channel.SMS, "+12025550143"),
        (Channel.APNS, "ab01" * 16),
        (Channel.FCM, "c1:APA91b" + "x" * 150),
        (Channel.WEB_PUSH, subscription()),
    ],
)
def test_what_can_be_reached_is_taken(channel: Channel, address: str) -> None:
    check_address(channel, address)


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        (Channel.EMAIL, "not-an-address"),
        (Channel.EMAIL, "a@b.example\r\nBcc: eve@evil.example"),
        (Channel.EMAIL, "a@" + "b" * 70 + ".example"),
        (Channel.EMAIL, "\ud800@b.example"),
        (Channel.SMS, "2025550199"),
        (Channel.SMS, "+1 202 555 0143"),
        (Channel.SMS, "+" + "1" * 16),
        (Channel.APNS, "a" * 100_000),
        (Channel.APNS, "../../3/device"),
        (Channel.FCM, "a b"),
        (Channel.FCM, ""),
        (Channel.WEB_PUSH, subscription("https://" + "a" * 70 + ".push.apple.com/")),
        (Channel.WEB_PUSH, subscription("https://" + "a.a" * 100 + ".push.apple.com/")),
        (Channel.WEB_PUSH, subscription("https://push.apple.com:99999/")),
        (Channel.WEB_PUSH, subscription("https://[push.apple.com/")),
        (Channel.WEB_PUSH, subscription("https:///x")),
        (Channel.WEB_PUSH, subscription("ftp://push.apple.com/")),
        (Channel.WEB_PUSH, subscription(7)),
        (Channel.WEB_PUSH, subscription(p256dh=64)),
        (Channel.WEB_PUSH, subscription(auth=0)),
        (Channel.WEB_PUSH, "[" * 4000),
        (Channel.WEB_PUSH, "{}"),
    ],
)
def test_what_can_never_be_reached_is_refused_and_not_repeated(channel: Channel, address: str) -> None:
    with pytest.raises(BadAddress) as caught:
        check_address(channel, address)
    assert len(str(caught.value)) < 100
    assert len(address) < 5 or address not in str(caught.value)
