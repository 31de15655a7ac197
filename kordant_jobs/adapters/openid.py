"""Sign-in through an OpenID provider, with Authlib: discovery, the authorization code with PKCE, and the ID token.

An ID token is accepted only with a signature by a public key of the provider. Shared secrets and `none` are not allowed
algorithms, so neither an unsigned token nor one signed with the public key as a secret passes.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.ports import SignIn, SignInRefused

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
SCOPE = "openid profile"
WITHIN_S = 5.0
LEEWAY_S = 60
METADATA_FOR_S = 3600.0
KEYS_REFETCH_MIN_S = 10.0
"""The shortest time in seconds between two fetches of the provider's keys, which are fetched again when a token names
an unknown key."""
LONGEST_LOGIN_S = 12 * 3600
"""The highest age of a login at the provider (`max_age`)."""
LONGEST_AGAIN_S = 10 * 60
"""The highest age of a login after the person was asked to sign in again."""
ANSWER_BYTES = 1 << 20


@dataclass
class OpenIdProvider:
    """A provider, identified by its issuer. See `ports.IdentityProvider`."""

    issuer: str
    client_id: str
    client_secret: str = ""
    _metadata: tuple[float, Mapping[str, Any]] | None = None
    """The monotonic time until which the metadata is valid, and the metadata."""
    _keys: tuple[float, KeySet] | None = None
    """The monotonic time of the last fetch, and the keys."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def address(self, sign_in: SignIn) -> str:
        """The address to which the browser goes to sign in.

        Raises:
            SourceUnavailable: the provider's metadata could not be read.
        """
        prompt = {"prompt": "login"} if sign_in.must_repeat else {}
        with self._client(sign_in) as client:
            url, _ = client.create_authorization_url(
                self._at("authorization_endpoint"), state=sign_in.state, code_verifier=sign_in.verifier,
                nonce=sign_in.nonce, max_age=_longest_login_s(sign_in), **prompt,
            )  # fmt: skip
        return str(url)

    def claims(self, sign_in: SignIn, code: str, issuer: str | None) -> Mapping[str, Any]:
        """The provider's claims about the person who returned with `code`. `issuer` is the answer's `iss` (RFC 9207).

        Raises:
            SignInRefused: the provider or we refuse the code or the ID token.
            SourceUnavailable: the provider could not be asked.
        """
        needs_issuer = self._described().get("authorization_response_iss_parameter_supported") is True
        if issuer != self.issuer and (issuer is not None or needs_issuer):
            raise SignInRefused("issuer")
        try:
            with self._client(sign_in) as client:
                given = client.fetch_token(self._at("token_endpoint"), code=code, code_verifier=sign_in.verifier)
        except OAuthError:
            raise SignInRefused("code") from None
        except (httpx2.HTTPError, ValueError) as error:
            raise _away(error) from None
        text = given.get("id_token")
        if not isinstance(text, str):
            raise SignInRefused("no_id_token")
        return self._read(text, sign_in, access_token=given.get("access_token"))

    def examine(self) -> datetime | None:
        """Ask for the metadata and the keys as a sign-in does. Returns the provider's clock, None where it does not
        say.

        Raises:
            SourceUnavailable: a sign-in would fail, and why.
        """
        self._at("authorization_endpoint")
        self._at("token_endpoint")
        if not self._key_set().keys:
            raise SourceUnavailable("the OpenID provider publishes no public key.")
        answer = _ask(self._at("jwks_uri"))
        with suppress(ValueError):
            return parsedate_to_datetime(answer.headers.get("date", ""))
        return None

    def _read(self, text: str, sign_in: SignIn, *, access_token: Any) -> Mapping[str, Any]:
        registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
        try:
            try:
                token = jwt.decode(text, self._key_set(), registry=registry)
            except InvalidKeyIdError:  # the provider has changed its keys
                token = jwt.decode(text, self._key_set(again=True), registry=registry)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self.client_id},
                    "nonce": {"essential": True},
                },
                {"nonce": sign_in.nonce, "client_id": self.client_id, "access_token": access_token},
            )
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            name = getattr(error, "claim", None) or getattr(error, "error", None) or type(error).__name__
            raise SignInRefused(f"id_token: {name}") from None
        since = claims.get("auth_time")
        if since is None and sign_in.must_repeat:
            raise SignInRefused("no auth_time")
        if since is not None and since < time.time() - _longest_login_s(sign_in) - LEEWAY_S:
            raise SignInRefused("auth_time")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise SignInRefused("sub")
        return dict(claims)

    def _client(self, sign_in: SignIn) -> OAuth2Client:
        methods = self._described().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        wanted = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        return OAuth2Client(
            self.client_id, self.client_secret or None, scope=SCOPE, redirect_uri=sign_in.redirect_uri,
            token_endpoint_auth_method=wanted if self.client_secret else "none", code_challenge_method="S256",
            timeout=WITHIN_S, follow_redirects=False,
        )  # fmt: skip

    def _at(self, name: str) -> str:
        url = self._described().get(name)
        if not isinstance(url, str) or not is_safe(url):
            raise SourceUnavailable(f"the OpenID provider names no https address as its {name}.")
        return url

    def _described(self) -> Mapping[str, Any]:
        """The provider's metadata, fetched once an hour."""
        with self._lock:
            until, known = self._metadata or (0.0, {})
            if time.monotonic() >= until:
                known = _get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
                if known.get("issuer") != self.issuer:
                    raise SourceUnavailable("the OpenID provider says that it is another issuer: check the setting.")
                self._metadata = (time.monotonic() + METADATA_FOR_S, known)
            return known

    def _key_set(self, *, again: bool = False) -> KeySet:
        url = self._at("jwks_uri")
        with self._lock:
            asked_at, keys = self._keys or (0.0, None)
            if keys is None or (again and time.monotonic() - asked_at > KEYS_REFETCH_MIN_S):
                found = _get(url)
                usable = [one for one in found.get("keys") or [] if isinstance(one, dict) and one.get("kty") != "oct"]
                try:
                    keys = KeySet.import_key_set({"keys": usable})
                except (JoseError, ValueError, TypeError, KeyError) as error:
                    raise _away(error) from None
                self._keys = (time.monotonic(), keys)
            return keys


def _longest_login_s(sign_in: SignIn) -> int:
    return LONGEST_AGAIN_S if sign_in.must_repeat else LONGEST_LOGIN_S


def is_safe(url: str) -> bool:
    """True when no attacker on the way to this address can change its answers: https, or this machine.

    >>> is_safe("https://id.example/keys"), is_safe("http://id.example/keys"), is_safe("http://127.0.0.1:9/keys")
    (True, False, True)
    """
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"})


def _get(url: str) -> Mapping[str, Any]:
    answer = _ask(url)
    try:
        found = answer.json() if len(answer.content) <= ANSWER_BYTES else None
    except ValueError as error:
        raise _away(error) from None
    if not isinstance(found, dict):
        raise SourceUnavailable("the OpenID provider answered no JSON object.")
    return found


def _ask(url: str) -> httpx2.Response:
    try:
        answer = httpx2.get(url, timeout=WITHIN_S, follow_redirects=False, headers={"Accept": "application/json"})
        return answer.raise_for_status()
    except httpx2.HTTPError as error:
        raise _away(error) from None


def _away(error: Exception) -> SourceUnavailable:
    return SourceUnavailable(f"the OpenID provider could not be asked ({type(error).__name__}): try again.")
