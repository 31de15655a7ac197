"""Push messages to Apple's devices, over HTTP/2. A repeated message has the same apns-id and apns-collapse-id, so that
the device shows it in place of the first."""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import jwt

from kordant_jobs.adapters.http_delivery import (
    ErrorTable,
    codes_of,
    deliver_each,
    json_of,
    retry_after_s,
    uncertain,
    unreachable,
)
from kordant_jobs.errors import SettingsError
from kordant_jobs.ports import Delivery, DeliveryOutcome, OutgoingPush

BASE_URL = "https://api.push.apple.com"
SANDBOX_URL = "https://api.sandbox.push.apple.com"
APNS = ErrorTable(service="apns", codes=codes_of("apns"))
TOKEN_LASTS_S = 40 * 60
"""Apple accepts tokens between 20 and 60 minutes old."""


@dataclass(frozen=True, kw_only=True)
class ApnsKey:
    """An authentication key (`.p8`) with its id, the team that it belongs to, and the app's bundle id."""

    private_key: str = field(repr=False)
    key_id: str
    team_id: str
    topic: str


class ApnsTransport:
    """Sends to the app `key.topic`. The provider token is renewed after 40 minutes, or when Apple reports it as
    expired."""

    def __init__(self, key: ApnsKey, *, base_url: str = BASE_URL, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._base_url = base_url
        self._clock = clock
        self._lock = threading.Lock()
        self._made: tuple[float, str] | None = None
        try:
            self._token()
        except (ValueError, TypeError, jwt.PyJWTError):
            raise SettingsError(
                "KORDANT_APNS_KEY_PATH holds no key that Apple's ES256 tokens can be signed with. Give the .p8 file of "
                "an APNs authentication key."
            ) from None

    def deliver(self, messages: Iterable[OutgoingPush], /) -> Generator[Delivery, None, None]:
        """See `Transport.deliver`."""
        yield from deliver_each(messages, self._send, http1=False, http2=True)

    def _token(self, refused: str | None = None) -> str:
        """The token to use; `refused` is a token that Apple reported as expired."""
        with self._lock:
            now = self._clock()
            if self._made is None or now - self._made[0] > TOKEN_LASTS_S or self._made[1] == refused:
                made = jwt.encode(
                    {"iss": self._key.team_id, "iat": int(now)},
                    self._key.private_key,
                    algorithm="ES256",
                    headers={"kid": self._key.key_id},
                )
                self._made = (now, made)
            return self._made[1]

    def _send(self, client: httpx.Client, message: OutgoingPush) -> Delivery:
        if not message.address.isalnum():
            return APNS.delivery(message.id, "BadDeviceToken", 400)
        refused: str | None = None
        for _ in range(2):
            token = self._token(refused)
            try:
                response = client.post(
                    f"{self._base_url}/3/device/{message.address}",
                    headers=self._headers(message, token),
                    content=_body(message),
                )
            except (httpx.ConnectError, httpx.ConnectTimeout):
                raise unreachable("apns") from None
            except httpx.HTTPError:
                return uncertain(message.id, "apns")
            said = json_of(response)
            if said.get("reason") != "ExpiredProviderToken":
                break
            refused = token
        if response.status_code == 200:
            return Delivery(
                mail_id=message.id, outcome=DeliveryOutcome.DELIVERED, provider_id=response.headers.get("apns-id")
            )
        since = said.get("timestamp")
        return APNS.delivery(
            message.id,
            str(said.get("reason", "")),
            response.status_code,
            retry_after_s=retry_after_s(response),
            gone_at=datetime.fromtimestamp(since / 1000, UTC) if isinstance(since, int) else None,
        )

    def _headers(self, message: OutgoingPush, token: str) -> dict[str, str]:
        return {
            "authorization": f"bearer {token}",
            "apns-topic": self._key.topic,
            "apns-push-type": "alert",
            "apns-id": str(message.id),
            "apns-collapse-id": str(message.id),
            "apns-expiration": str(int(self._clock()) + message.ttl_s),
            "apns-priority": "10" if message.urgent else "5",
        }


def _body(message: OutgoingPush) -> bytes:
    alert = {"title": message.title, "body": message.body}
    return json.dumps({"aps": {"alert": alert, "sound": "default"}, **message.data}, ensure_ascii=False).encode()
