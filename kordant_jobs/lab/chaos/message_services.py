"""The fakes of push and text services in a process of their own, as the services are: `python -m …message_services`.

Prints, as a line of JSON, how each is reached; for each line that it reads, the ledgers: who got a message, in order.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric import ec

from kordant_jobs.adapters.push import ApnsTransport, FcmTransport, WebPushTransport
from kordant_jobs.adapters.push.apns import ApnsKey
from kordant_jobs.adapters.sms import TwilioTransport
from kordant_jobs.adapters.sms.twilio import TwilioAccount
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.jobs.notifications_send.channel_senders import ChannelSender, push_sender, text_sender
from kordant_jobs.lab.fakes.push import FakeApns, FakeFcm, FakeWebPush, pem
from kordant_jobs.lab.fakes.sms import FakeTwilio

CHANNELS = (Channel.FCM, Channel.APNS, Channel.WEB_PUSH, Channel.SMS)
_NAME = "NAME"


@dataclass(frozen=True, kw_only=True)
class Services:
    """The addresses of the services, and the messages that they took."""

    addresses: dict[str, Any]
    asks: IO[str]
    answers: IO[str]

    def senders(self) -> list[ChannelSender[Any]]:
        """A way out to each, with a connection of its own."""
        addresses, vapid = self.addresses, pem(ec.generate_private_key(ec.SECP256R1()))
        web = WebPushTransport(vapid, contact="mailto:ops@kordant.example", services=["127.0.0.1"], insecure=True)
        apns = ApnsTransport(ApnsKey(**addresses["apns"]["key"]), base_url=addresses["apns"]["url"])
        twilio = TwilioTransport(TwilioAccount(**addresses["sms"]["account"]), base_url=addresses["sms"]["url"])
        return [
            push_sender(Channel.FCM, FcmTransport(addresses["fcm"]["account"], base_url=addresses["fcm"]["url"])),
            push_sender(Channel.APNS, apns),
            push_sender(Channel.WEB_PUSH, web),
            text_sender(twilio),
        ]

    def address(self, channel: Channel, number: int) -> tuple[str, str]:
        """The address of one receiver, and what the ledger calls it."""
        named = {Channel.APNS: f"{number:064x}", Channel.SMS: f"+1202555{number:04d}"}.get(channel, f"device-{number}")
        if channel is Channel.WEB_PUSH:
            return self.addresses["web_push"]["subscription"].replace(_NAME, named), named
        return named, named

    def ledgers(self) -> dict[str, list[str]]:
        """The recipients of messages by channel, in order."""
        self.asks.write("\n")
        self.asks.flush()
        found: dict[str, list[str]] = json.loads(self.answers.readline())
        return found


@contextmanager
def services() -> Iterator[Services]:
    """The services while the block lasts."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None  # noqa: S101 - for the type; pipes were asked for
        assert process.stdout is not None  # noqa: S101 - as above
        yield Services(addresses=json.loads(process.stdout.readline()), asks=process.stdin, answers=process.stdout)
        process.stdin.close()


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(_: Sequence[str] = ()) -> None:
    """Serve until standard input ends."""
    with FakeFcm() as fcm, FakeApns() as apns, FakeWebPush() as web, FakeTwilio() as twilio:
        _say(
            {
                "fcm": {"url": fcm.url, "account": fcm.account},
                "apns": {"url": apns.url, "key": asdict(apns.key)},
                "web_push": {"url": web.url, "subscription": web.subscription(_NAME)},
                "sms": {"url": twilio.url, "account": asdict(twilio.account)},
            }
        )
        for _line in sys.stdin:
            fakes = zip(CHANNELS, (fcm, apns, web, twilio), strict=True)
            _say({channel.value: fake.delivered for channel, fake in fakes})


if __name__ == "__main__":
    main()
