"""Push messages through Firebase Cloud Messaging, HTTP v1. It accepts no idempotency key: a repeated message is a
second one, though its `tag` makes an Android device show it in place of the first."""

import threading
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
from google.auth.exceptions import GoogleAuthError
from google.auth.transport import Request, Response
from google.oauth2 import service_account

from kordant_jobs import outside_json
from kordant_jobs.adapters.http_delivery import (
    TIMEOUT,
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

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
BASE_URL = "https://fcm.googleapis.com"
FCM = ErrorTable(service="fcm", codes=codes_of("fcm"))
FCM_QUOTA_WAIT_S = 60.0
"""The shortest wait in seconds after QUOTA_EXCEEDED, even if the answer asks for less ("FCM error codes")."""


def read_service_account(path: Path) -> dict[str, Any]:
    """The content of a service account's key file, as Google issues it.

    Raises:
        SettingsError: it is not readable, or no such file.
    """
    try:
        found = outside_json.loads(path.read_text("utf-8"))
        if {"client_email", "private_key", "project_id", "token_uri"} <= set(found):
            return dict(found)
    except (OSError, ValueError, TypeError):
        pass
    raise SettingsError(
        "KORDANT_FCM_SERVICE_ACCOUNT names no readable key file of a Google service account. Download one in the "
        "Firebase console (Project settings, Service accounts) and give it mode 0600."
    )


class FcmTransport:
    """Sends as the project of a service account. Its OAuth token is fetched when needed, and renewed before it
    expires."""

    def __init__(self, account: Mapping[str, Any], *, base_url: str = BASE_URL) -> None:
        try:
            make: Any = service_account.Credentials.from_service_account_info  # google-auth gives it no types
            self._credentials = make(dict(account), scopes=[SCOPE])
        except ValueError:
            raise SettingsError(
                "KORDANT_FCM_SERVICE_ACCOUNT holds no usable private key. Download the key file again."
            ) from None
        self._url = f"{base_url}/v1/projects/{account['project_id']}/messages:send"
        self._lock = threading.Lock()

    def deliver(self, messages: Iterable[OutgoingPush], /) -> Generator[Delivery, None, None]:
        """See `Transport.deliver`."""
        yield from deliver_each(messages, self._send, http2=self._url.startswith("https"))

    def _send(self, client: httpx.Client, message: OutgoingPush) -> Delivery:
        for fresh in (False, True):
            headers = {"Authorization": f"Bearer {self._token(client, fresh=fresh)}"}
            try:
                response = client.post(self._url, headers=headers, json={"message": _body(message)})
            except (httpx.ConnectError, httpx.ConnectTimeout):
                raise unreachable("fcm") from None
            except httpx.HTTPError:
                return uncertain(message.id, "fcm")
            if response.status_code != 401 or _code(response) == "THIRD_PARTY_AUTH_ERROR":
                break
        if response.status_code == 200:
            return Delivery(
                mail_id=message.id, outcome=DeliveryOutcome.DELIVERED, provider_id=json_of(response).get("name")
            )
        code, wait = _code(response), retry_after_s(response)
        if code == "QUOTA_EXCEEDED":
            wait = max(wait or 0.0, FCM_QUOTA_WAIT_S)
        return FCM.delivery(message.id, code, response.status_code, retry_after_s=wait)

    def _token(self, client: httpx.Client, *, fresh: bool) -> str:
        with self._lock:
            if fresh or not self._credentials.valid:
                try:
                    self._credentials.refresh(_GoogleRequest(client))
                except GoogleAuthError as error:
                    raise SettingsError(
                        f"Google gave no token for FCM ({type(error).__name__}). Check the key file that "
                        "KORDANT_FCM_SERVICE_ACCOUNT names and the clock of this machine; messages stay queued."
                    ) from None
            return str(self._credentials.token)


def _body(message: OutgoingPush) -> dict[str, Any]:
    name = str(message.id)
    return {
        "token": message.address,
        "notification": {"title": message.title, "body": message.body},
        "data": dict(message.data),
        "android": {
            "ttl": f"{message.ttl_s}s",
            "priority": "high" if message.urgent else "normal",
            "collapse_key": name,
            "notification": {"tag": name},
        },
        "apns": {"headers": {"apns-collapse-id": name, "apns-priority": "10" if message.urgent else "5"}},
        "webpush": {"headers": {"TTL": str(message.ttl_s), "Topic": message.id.hex}},
    }


def _code(response: httpx.Response) -> str:
    """The errorCode in the details, else the status word."""
    error = json_of(response).get("error")
    if not isinstance(error, dict):
        return ""
    details = error.get("details") or []
    codes = [one["errorCode"] for one in details if isinstance(one, dict) and "errorCode" in one]
    return str(codes[0] if codes else error.get("status", ""))


class _GoogleRequest(Request):
    """Lets google-auth fetch its token with our client."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> Response:
        """Send one request."""
        try:
            found = self._client.request(method, url, content=body, headers=headers, timeout=timeout or TIMEOUT)
        except httpx.HTTPError:
            raise unreachable("the token service of Google") from None
        return _GoogleResponse(found)


class _GoogleResponse(Response):
    """An answer in google-auth's form."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        """The status code."""
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        return self._response.headers

    @property
    def data(self) -> bytes:
        """The body."""
        return self._response.content
