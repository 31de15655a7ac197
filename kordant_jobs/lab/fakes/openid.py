"""An OpenID provider on loopback: everybody who comes is signed in as `person`, and it can lie in each way that counts.

It holds to the standard where a client could get it wrong: a code counts once, for the redirect address, client and
PKCE verifier that it was given for.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer


class FakeOpenId(FakeServer):
    """Runs while entered.

    Attributes:
        person: the claims of the person who signs in.
        lies: claims that are put in the place of the true ones.
        sign_as: `RS256`, or how a token is forged: `none`, `HS256` with the public key as secret, or `stranger`.
        host: its name in addresses; `localhost` is another site to a browser than `127.0.0.1`.
        asks: whether a page of its own asks the person to go on, as a real provider has a form.
        denies: whether the person declines.
        names_itself: whether answers carry `iss` (RFC 9207); `wrong_issuer` instead of the true one.
    """

    def __init__(self, *, client_id: str = "kordant", client_secret: str = "fake-secret") -> None:  # noqa: S107 - of a fake
        super().__init__()
        self.client_id, self.client_secret = client_id, client_secret
        self.person: dict[str, Any] = {"sub": "jane", "groups": ["kordant-ops"]}
        self.lies: dict[str, Any] = {}
        self.sign_as = "RS256"
        self.host, self.asks = "127.0.0.1", False
        self.denies = False
        self.names_itself = True
        self.wrong_issuer = ""
        self.is_away = False
        self._codes: dict[str, Mapping[str, str]] = {}
        self.rotate()

    @property
    def url(self) -> str:
        """Where it listens, and the issuer that it says it is."""
        return super().url.replace("127.0.0.1", self.host)

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is not published any more."""
        self._key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"})

    def answer(self, asked: Asked) -> Answer:
        """The answer to a request."""
        parts = urlsplit(asked.path)
        if self.is_away:
            return Answer.of(503, {})
        match parts.path:
            case "/.well-known/openid-configuration":
                return Answer.of(200, self._metadata())
            case "/authorize":
                return self._authorize(dict(parse_qsl(parts.query)))
            case "/token":
                return self._token(asked)
            case "/keys":
                return Answer.of(200, {"keys": [self._key.as_dict(private=False)]})
        return Answer.of(404, {})

    def count(self, path: str) -> int:
        """The number of requests for a path."""
        return sum(urlsplit(one.path).path == path for one in self.asked)

    def _metadata(self) -> Mapping[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self.names_itself,
        }

    def _authorize(self, query: Mapping[str, str]) -> Answer:
        wanted = {"response_type": "code", "client_id": self.client_id, "code_challenge_method": "S256"}
        if any(query.get(name) != value for name, value in wanted.items()) or "openid" not in query["scope"]:
            return Answer.of(400, {"error": "invalid_request"})
        if self.asks and "yes" not in query:
            link = escape(f"/authorize?{urlencode({**query, 'yes': '1'})}")
            page = f"<!doctype html><title>The provider</title><a href='{link}'>Yes, it is me</a>"
            return Answer(status=200, body=page.encode(), headers={"content-type": "text/html; charset=utf-8"})
        back = {"state": query["state"], "error": "access_denied"}
        if not self.denies:
            code = secrets.token_urlsafe(16)
            self._codes[code] = query
            back = {"state": query["state"], "code": code}
        if self.names_itself:
            back["iss"] = self.wrong_issuer or self.url
        return Answer(status=302, headers={"location": f"{query['redirect_uri']}?{urlencode(back)}"})

    def _token(self, asked: Asked) -> Answer:
        form = dict(parse_qsl(asked.body.decode()))
        given = self._codes.pop(form.get("code", ""), None)
        proof = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {proof}":
            return Answer.of(401, {"error": "invalid_client"})
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        is_same = (
            given is not None
            and given["redirect_uri"] == form.get("redirect_uri")
            and given["code_challenge"] == base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        )
        if given is None or not is_same:
            return Answer.of(400, {"error": "invalid_grant"})
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.client_id, "iat": now, "exp": now + 300, "auth_time": now,
                  "nonce": given["nonce"], **self.person, **self.lies}  # fmt: skip
        found = {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "id_token": self._signed(claims)}
        return Answer.of(200, found)

    def _signed(self, claims: Mapping[str, Any]) -> str:
        kid = str(self._key.kid)
        if self.sign_as in {"none", "HS256"}:  # by hand: no library makes these
            head = {"alg": self.sign_as, "kid": kid}
            text = ".".join(_base64(json.dumps(one).encode()) for one in (head, dict(claims)))
            code = hmac.digest(self._key.as_pem(private=False), text.encode(), "sha256")
            return f"{text}.{_base64(code) if self.sign_as == 'HS256' else ''}"
        key = self._key if self.sign_as == "RS256" else RSAKey.generate_key(2048, {"kid": kid})
        return jwt.encode({"alg": "RS256", "kid": kid}, dict(claims), key)


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
