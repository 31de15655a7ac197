"""Links that end a category of notifications with one click (RFC 8058). Pure; the key is an argument."""

import base64
import binascii
import hmac
from dataclasses import dataclass
from uuid import UUID

from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.choices import Category
from kordant_jobs.jobs.notifications_send.bundle import Bundle
from kordant_jobs.store.people.keyring import Keyring

PURPOSE = "unsubscribe"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The meaning of a link: this subscriber wants no more notifications of this category over this channel."""

    subscriber_id: UUID
    category: Category
    channel: Channel


class BadLink(ValueError):
    """The link is not ours, or was changed."""


@dataclass(frozen=True, kw_only=True)
class Unsubscribe:
    """Makes and reads the links. They do not expire: a mail may be kept for years, and its link must still work.
    `public_url` is the public address of the callbacks. `mail_to` is an address that accepts unsubscriptions by mail,
    None when there is none."""

    keyring: Keyring
    public_url: str
    mail_to: str | None = None

    def link(self, bundle: Bundle) -> str:
        """The link of a bundle's category and channel."""
        choice = Choice(
            subscriber_id=bundle.first.subscriber_id, category=bundle.category, channel=Channel(bundle.first.channel)
        )
        return f"{self.public_url.rstrip('/')}/unsubscribe/{token_of(self.keyring, choice)}"

    def headers(self, bundle: Bundle) -> dict[str, str]:
        """The two headers of RFC 8058. A DKIM signature has to cover both."""
        ways = [f"<{self.link(bundle)}>", *([f"<mailto:{self.mail_to}?subject=unsubscribe>"] if self.mail_to else [])]
        return {"List-Unsubscribe": ",\r\n ".join(ways), "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def token_of(keyring: Keyring, choice: Choice) -> str:
    """The token in the link: the subscriber's id, the choice, and a signature over both."""
    content = choice.subscriber_id.bytes + f"{choice.category} {choice.channel}".encode()
    return base64.urlsafe_b64encode(keyring.sign(PURPOSE, content) + content).rstrip(b"=").decode()


def read_token(keyring: Keyring, token: str) -> Choice:
    """The choice in a token.

    Raises:
        BadLink: it is not as we made it.
    """
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        signature, content = raw[:16], raw[16:]
        if not hmac.compare_digest(signature, keyring.sign(PURPOSE, content)):
            raise BadLink
        category, channel = content[16:].decode().split()
        return Choice(subscriber_id=UUID(bytes=content[:16]), category=Category(category), channel=Channel(channel))
    except (binascii.Error, ValueError):
        raise BadLink from None
