"""Push services on loopback for tests: they check what the real ones check, keep a ledger, and answer as configured."""

import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from kordant_jobs.adapters.push.apns import ApnsKey
from kordant_jobs.adapters.push.web_push import LAST_RECORD, content_keys, point_of
from kordant_jobs.lab.fakes.http import Answer, Asked, FakeHttp2Server, FakeServer

Script = Callable[[str], Answer | None]
"""Gives a service's answer to a message for a token; None: its usual answer."""

LARGEST = 4096
AUDIENCE = "https://oauth2.googleapis.com/token"


def pem(key: Any) -> str:
    """A private key as PEM."""
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


class FakeFcm(FakeServer):
    """FCM HTTP v1 and Google's token service. `delivered` are the tokens whose messages were taken."""

    def __init__(self, script: Script = lambda _: None) -> None:
        super().__init__()
        self.script = script
        self.delivered: list[str] = []
        self.tokens_given = 0
        self.token_lasts_s = 3600
        self._key = rsa.generate_private_key(65537, 2048)
        self._valid: set[str] = set()

    @property
    def account(self) -> dict[str, Any]:
        """The key file of a service account of this server."""
        return {
            "type": "service_account",
            "project_id": "kordant-test",
            "private_key_id": "1",
            "private_key": pem(self._key),
            "client_email": "jobs@kordant-test.example",
            "token_uri": f"{self.url}/token",
        }

    def forget_tokens(self) -> None:
        """Invalidate every OAuth token."""
        self._valid.clear()

    def answer(self, asked: Asked) -> Answer:
        """A token, or what becomes of a message."""
        if asked.path == "/token":
            return self._token(asked)
        if asked.path != "/v1/projects/kordant-test/messages:send":
            return Answer.of(404, _fcm_error(404, "NOT_FOUND"))
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self._valid:
            return Answer.of(401, _fcm_error(401, "UNAUTHENTICATED"))
        message = json.loads(asked.body)["message"]
        strings = all(isinstance(value, str) for value in message.get("data", {}).values())
        if len(asked.body) > LARGEST or not strings or not re.fullmatch(r"\d+s", message["android"]["ttl"]):
            return Answer.of(400, _fcm_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"))
        if found := self.script(message["token"]):
            if found.hang_up:
                self.delivered.append(message["token"])
            return found
        self.delivered.append(message["token"])
        return Answer.of(200, {"name": f"projects/kordant-test/messages/0:{len(self.delivered)}"})

    def _token(self, asked: Asked) -> Answer:
        assertion = parse_qs(asked.body.decode())["assertion"][0]
        try:
            claims = jwt.decode(assertion, self._key.public_key(), algorithms=["RS256"], audience=AUDIENCE)
        except jwt.PyJWTError:
            return Answer.of(400, {"error": "invalid_grant"})
        if claims["scope"] != "https://www.googleapis.com/auth/firebase.messaging":
            return Answer.of(400, {"error": "invalid_scope"})
        self.tokens_given += 1
        token = f"ya29.{self.tokens_given}"
        self._valid.add(token)
        return Answer.of(200, {"access_token": token, "expires_in": self.token_lasts_s, "token_type": "Bearer"})


def fcm_error(status: int, code: str, **headers: str) -> Answer:
    """An error of FCM with this errorCode."""
    return Answer.of(status, _fcm_error(status, code, code), **headers)


def _fcm_error(status: int, word: str, code: str | None = None) -> dict[str, Any]:
    kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    details = [{"@type": kind, "errorCode": code}] if code else []
    return {"error": {"code": status, "message": "no", "status": word, "details": details}}


class FakeApns(FakeHttp2Server):
    """APNs over HTTP/2 in clear. `delivered` are the device tokens whose messages were taken."""

    def __init__(self, script: Script = lambda _: None) -> None:
        super().__init__()
        self.script = script
        self.delivered: list[str] = []
        self.expired: set[str] = set()
        """Provider tokens that it calls expired."""
        self.provider_tokens: list[str] = []
        self._private = ec.generate_private_key(ec.SECP256R1())

    @property
    def key(self) -> ApnsKey:
        """The key that it knows."""
        return ApnsKey(private_key=pem(self._private), key_id="KEY0123456", team_id="TEAM012345", topic="com.kordant")

    def answer(self, asked: Asked) -> Answer:
        """The answer to a message."""
        found = re.fullmatch(r"/3/device/([0-9a-f]+)", asked.path)
        if not found:
            return _apns(400, "BadDeviceToken")
        token = asked.headers.get("authorization", "").removeprefix("bearer ")
        try:
            claims = jwt.decode(token, self._private.public_key(), algorithms=["ES256"])
        except jwt.PyJWTError:
            return _apns(403, "InvalidProviderToken")
        if token in self.expired or abs(time.time() - claims["iat"]) > 3600:
            return _apns(403, "ExpiredProviderToken")
        if not self.provider_tokens or self.provider_tokens[-1] != token:
            self.provider_tokens.append(token)
        if asked.headers.get("apns-topic") != "com.kordant":
            return _apns(400, "BadTopic")
        if len(asked.body) > LARGEST:
            return _apns(413, "PayloadTooLarge")
        if len(asked.headers.get("apns-collapse-id", "")) > 64 or asked.headers.get("apns-push-type") != "alert":
            return _apns(400, "BadCollapseId")
        said = self.script(found[1])
        if said and not said.hang_up:
            return said
        self.delivered.append(found[1])
        return said or Answer(status=200, headers={"apns-id": asked.headers["apns-id"].upper()})


def _apns(status: int, reason: str, **more: Any) -> Answer:
    return Answer.of(status, {"reason": reason, **more})


apns_error = _apns


class FakeWebPush(FakeServer):
    """A browser maker's push server, and a browser that can open what comes. `opened` are the messages in clear."""

    def __init__(self, script: Script = lambda _: None) -> None:
        super().__init__()
        self.script = script
        self.delivered: list[str] = []
        self.opened: list[dict[str, Any]] = []
        self._browser = ec.generate_private_key(ec.SECP256R1())
        self._auth = b"0123456789abcdef"

    def subscription(self, name: str) -> str:
        """The push subscription of the browser `name`, as JSON."""
        point = self._browser.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": _b64(point), "auth": _b64(self._auth)}
        return json.dumps({"endpoint": f"{self.url}/push/{name}", "keys": keys})

    def answer(self, asked: Asked) -> Answer:
        """The answer to a message."""
        name = asked.path.removeprefix("/push/")
        found = re.fullmatch(r"vapid t=([^,]+), k=(\S+)", asked.headers.get("authorization", ""))
        if not found:
            return Answer(status=401)
        point = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        try:
            claims = jwt.decode(found[1], key, algorithms=["ES256"], audience=self.url)
        except jwt.PyJWTError:
            return Answer(status=403)
        if claims["exp"] - time.time() > 86_400 or not claims["sub"].startswith(("mailto:", "https:")):
            return Answer(status=403)
        if "ttl" not in asked.headers or asked.headers.get("content-encoding") != "aes128gcm":
            return Answer(status=400)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", asked.headers.get("topic", "x")):
            return Answer(status=400)
        if len(asked.body) > LARGEST:
            return Answer(status=413)
        said = self.script(name)
        if said and not said.hang_up:
            return said
        clear = open_sealed(asked.body, browser=self._browser, auth=self._auth)
        self.opened.append(json.loads(clear))
        self.delivered.append(name)
        return said or Answer(status=201, headers={"location": f"{self.url}/message/{len(self.delivered)}"})


def open_sealed(body: bytes, *, browser: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """The message that a browser decrypts from the body of a push request (RFC 8291).

    Raises:
        cryptography.exceptions.InvalidTag: it was sealed for another browser, or changed.
    """
    salt, length = body[:16], body[20]
    sender, sealed = body[21 : 21 + length], body[21 + length :]
    secret = browser.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
    key, nonce = content_keys(secret, auth, point_of(browser.public_key()), sender, salt)
    return AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\0").removesuffix(LAST_RECORD)


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
