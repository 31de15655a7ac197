"""Text messages through Twilio's Messages resource, which takes no idempotency key: a repeated message is another."""

import base64
import hashlib
import hmac
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field

import httpx

from kordant_jobs.adapters.http_delivery import (
    Act,
    ErrorTable,
    codes_of,
    deliver_each,
    json_of,
    retry_after_s,
    uncertain,
    unreachable,
)
from kordant_jobs.ports import Delivery, DeliveryOutcome, OutgoingText

BASE_URL = "https://api.twilio.com"
BODY_MAX = 1600


@dataclass(frozen=True, kw_only=True)
class TwilioAccount:
    """An account, its token, and the sender of the texts: a number, or a messaging service (MG…)."""

    sid: str
    token: str = field(repr=False)
    sender: str


class TwilioTransport:
    """Sends from one number or service. Twilio reports the outcome of each message to `callback_url`, with the
    message's id appended, since a callback may arrive before our own row has Twilio's id of the message."""

    def __init__(self, account: TwilioAccount, *, callback_url: str | None = None, base_url: str = BASE_URL) -> None:
        self._account = account
        self._callback_url = callback_url
        self._url = f"{base_url}/2010-04-01/Accounts/{account.sid}/Messages.json"

    def deliver(self, messages: Iterable[OutgoingText], /) -> Generator[Delivery, None, None]:
        """See `Transport.deliver`."""
        auth = (self._account.sid, self._account.token)
        yield from deliver_each(messages, self._send, auth=auth)

    def _send(self, client: httpx.Client, message: OutgoingText) -> Delivery:
        sender = self._account.sender
        form = {
            "To": message.address,
            "MessagingServiceSid" if sender.startswith("MG") else "From": sender,
            "Body": message.text[:BODY_MAX],
        }
        if self._callback_url:
            form["StatusCallback"] = f"{self._callback_url}/{message.id}"
        try:
            response = client.post(self._url, data=form)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise unreachable("twilio") from None
        except httpx.HTTPError:
            return uncertain(message.id, "twilio")
        said = json_of(response)
        if response.status_code == 201:
            return Delivery(mail_id=message.id, outcome=DeliveryOutcome.DELIVERED, provider_id=said.get("sid"))
        return TWILIO.delivery(
            message.id, str(said.get("code", "")), response.status_code, retry_after_s=retry_after_s(response)
        )


def signature_of(token: str, url: str, form: Mapping[str, str]) -> str:
    """X-Twilio-Signature of a callback to `url` with this form.

    >>> form = {"CallSid": "CA1234567890ABCDE", "Caller": "+12349013030", "Digits": "1234", "From": "+12349013030",
    ...         "To": "+18005551212"}
    >>> signature_of("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", form)
    '0/KCTR6DLpKmkAf8muzZqo1nDgQ='
    """
    content = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), content.encode(), hashlib.sha1).digest()).decode()


TWILIO = ErrorTable(service="twilio", codes=codes_of("twilio"))

LATER: Mapping[str, Act] = codes_of("twilio later")
"""The reactions to codes of a message that was accepted and did not arrive. Any other code is for an operator."""
