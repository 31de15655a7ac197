"""Push messages to browsers: RFC 8030, encrypted by RFC 8291, signed with VAPID (RFC 8292). A repeated message has the
same Topic, so that it replaces one that still waits."""

import base64
import json
import os
import time
from collections.abc import Collection, Generator, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from kordant_jobs import outside_json
from kordant_jobs.adapters.http_delivery import Act, ErrorTable, codes_of, deliver_each, retry_after_s, uncertain
from kordant_jobs.errors import SettingsError
from kordant_jobs.ports import Delivery, DeliveryOutcome, OutgoingPush

TOKEN_LASTS_S = 12 * 3600
"""RFC 8292 §2 allows 24 hours at most."""
WEB_PUSH = ErrorTable(service="web push", codes=codes_of("web push"), denied=Act.OPERATOR)
"""Each browser's maker has a server of its own: one that refuses our key (RFC 8292 §4.2) stops no other."""


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A browser's subscription: the address to post to, and the keys that only the browser can open messages with."""

    endpoint: str = field(repr=False)
    p256dh: bytes = field(repr=False)
    auth: bytes = field(repr=False)


def parse_subscription(text: str, *, services: Collection[str], insecure: bool = False) -> Subscription | None:
    """Parse a PushSubscription in JSON; None for an invalid one, or when the endpoint's host is not one of `services`.

    The endpoint comes from a browser: without this check a user could make us post to a host inside our network.
    """
    try:
        found = outside_json.loads(text)
        keys = {name: _decoded(found["keys"][name]) for name in ("p256dh", "auth")}
        endpoint = str(found["endpoint"])
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), keys["p256dh"])
        url = httpx.URL(endpoint)  # read as it will be posted to
    except (ValueError, KeyError, TypeError, httpx.InvalidURL):
        return None
    if not (insecure or url.scheme == "https") or not any(fnmatchcase(url.host, service) for service in services):
        return None
    return Subscription(endpoint=endpoint, p256dh=keys["p256dh"], auth=keys["auth"])


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class WebPushTransport:
    """Sends with one VAPID key to the browser makers' `services`, a list of host names, some with a leading `*.`.
    `contact` is a mailto: or https: address for the operator of the push service."""

    def __init__(
        self,
        private_key_pem: str,
        *,
        contact: str,
        services: Collection[str],
        insecure: bool = False,
    ) -> None:
        try:
            key = load_pem_private_key(private_key_pem.encode(), None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SettingsError(
                "KORDANT_VAPID_KEY_PATH holds no P-256 private key in PEM. Make one with "
                "`openssl ecparam -genkey -name prime256v1 -noout`."
            )
        self._key = key
        self._public = _encoded(point_of(key.public_key()))
        self._contact = contact
        self._services = services
        self._insecure = insecure

    def deliver(self, messages: Iterable[OutgoingPush], /) -> Generator[Delivery, None, None]:
        """See `Transport.deliver`. Redirects are not followed: they could lead into our network."""
        yield from deliver_each(messages, self._send, http2=not self._insecure, follow_redirects=False)

    def _send(self, client: httpx.Client, message: OutgoingPush) -> Delivery:
        to = parse_subscription(message.address, services=self._services, insecure=self._insecure)
        if to is None:
            return Delivery(
                mail_id=message.id,
                outcome=DeliveryOutcome.NO_SUCH_ADDRESS,
                code="web push: no subscription with a known push service",
            )
        try:
            response = client.post(to.endpoint, headers=self._headers(message, to), content=_sealed(message, to))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL):
            return WEB_PUSH.delivery(message.id, "unreachable", 503)  # this browser's server only
        except httpx.HTTPError:
            return uncertain(message.id, "web push")
        if response.is_success:
            return Delivery(mail_id=message.id, outcome=DeliveryOutcome.DELIVERED)
        code = str(response.status_code)
        return WEB_PUSH.delivery(message.id, code, response.status_code, retry_after_s=retry_after_s(response))

    def _headers(self, message: OutgoingPush, to: Subscription) -> dict[str, str]:
        parts = urlsplit(to.endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(time.time()) + TOKEN_LASTS_S,
            "sub": self._contact,
        }
        token = jwt.encode(claims, self._key, algorithm="ES256")
        return {
            "TTL": str(message.ttl_s),
            "Urgency": "high" if message.urgent else "normal",
            "Topic": _encoded(message.id.bytes),  # 22 characters of at most 32
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "Authorization": f"vapid t={token}, k={self._public}",
        }


def _sealed(message: OutgoingPush, to: Subscription) -> bytes:
    text = json.dumps({"title": message.title, "body": message.body, **message.data}, ensure_ascii=False)
    return seal(text.encode(), browser=to.p256dh, auth=to.auth)


RECORD_SIZE = 4096
"""The one record size that a push service must accept (RFC 8291 §4), including 86 bytes of header and 17 of padding and
tag."""
LONGEST = RECORD_SIZE - 17
LAST_RECORD = b"\x02"
"""The padding delimiter of the last record (RFC 8188 §2)."""


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """The uncompressed point of a public key: 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def content_keys(secret: bytes, auth: bytes, browser: bytes, sender: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """The content encryption key (16 bytes) and nonce (12 bytes) of RFC 8291 §3.4, for both sides. `secret` is the ECDH
    secret, `auth` the subscription's authentication secret; `browser` and `sender` are the two public points."""
    key = _hkdf(auth, b"WebPush: info\0" + browser + sender, secret, 32)
    return _hkdf(salt, b"Content-Encoding: aes128gcm\0", key, 16), _hkdf(salt, b"Content-Encoding: nonce\0", key, 12)


def _hkdf(salt: bytes, info: bytes, key: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def seal(
    clear: bytes,
    *,
    browser: bytes,
    auth: bytes,
    sender: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of the push request. `browser` is the subscription's p256dh point. `sender` and `salt` are for tests;
    otherwise each message gets new ones.

    Raises:
        ValueError: `browser` is not a point of P-256, or the message is longer than `LONGEST` bytes.
    """
    if len(clear) > LONGEST:
        raise ValueError(f"a push message has at most {LONGEST} bytes; this one has {len(clear)}")
    sender = sender or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), browser)
    ours = point_of(sender.public_key())
    key, nonce = content_keys(sender.exchange(ec.ECDH(), theirs), auth, browser, ours, salt)
    header = salt + RECORD_SIZE.to_bytes(4) + bytes([len(ours)]) + ours
    return header + AESGCM(key).encrypt(nonce, clear + LAST_RECORD, None)
