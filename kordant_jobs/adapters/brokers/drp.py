"""The Data Rights Protocol 1.0 as an authorised agent speaks it: strict in what is sent, bounded and lenient in what is
read.

A signed body is the base64 of the Ed25519 signature (64 bytes) and the JSON that it signs (libsodium's combined mode).
Where the specification and its reference implementation differ, we send what both take: DELETE signs `reason` beside
agent, business and times; a path that answers 404, or 500 without a body, is tried again with a trailing slash.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kordant_jobs import outside_json
from kordant_jobs.adapters.http_client import HttpClient
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.ports import RightsError, RightsStatus

VERSION = "1.0"
LASTS = timedelta(minutes=10)
"""Time for which a signed message is valid; the specification asks for a short window (15 minutes at most)."""
BACKDATED = timedelta(seconds=30)
"""A business whose clock is behind must not take our message for one from the future."""
BODY_MAX = 256 << 10
TIMEOUT_S = 20.0
PASSING = frozenset({408, 409, 425, 429})
"""Answers after which the same call may succeed, as after an error of the protocol that is not fatal."""


def read_signing_key(text: str) -> Ed25519PrivateKey:
    """The agent's key from the base64 of its 32-byte seed.

    Raises:
        SettingsError: it is no such key.
    """
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError):
        raise SettingsError(
            "KORDANT_DRP_KEY_PATH holds no key. Put the base64 of a 32-byte Ed25519 seed there."
        ) from None


def sign(key: Ed25519PrivateKey, message: Mapping[str, Any]) -> bytes:
    """The body that carries a message."""
    content = json.dumps(message, ensure_ascii=False).encode()
    return base64.b64encode(key.sign(content) + content)


def read_moment(text: object) -> datetime | None:
    """The time in a message; None where there is none. Without a zone it is UTC."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


CLAIMS = {"name": "name", "email": "email", "phone_number": "phone"}
"""Identity claims, and the fields of a profile that they come from."""
ADDRESS = {
    "street_address": "street",
    "locality": "city",
    "region": "state",
    "postal_code": "postal_code",
    "country": "country",
}
"""The same for the parts of the claim `address` (OpenID Connect Core §5.1.1)."""


def _supported(business: Mapping[str, Any], details: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    supported = {"name", *(business.get("supported_verifications") or ["email"])}
    claims = {claim: name for claim, name in CLAIMS.items() if claim in supported and details.get(name)}
    has_address = "address" in supported and details.get("street")
    return claims, {part: name for part, name in ADDRESS.items() if details.get(name)} if has_address else {}


def disclosed(business: Mapping[str, Any], details: Mapping[str, str]) -> tuple[str, ...]:
    """The fields of a profile that a request to a business discloses.

    >>> disclosed({"supported_verifications": ["address"]}, {"name": "Pat", "email": "p@x.org", "street": "1 Road"})
    ('name', 'street')
    """
    claims, address = _supported(business, details)
    return (*claims.values(), *address.values())


def claims_of(
    business: Mapping[str, Any], details: Mapping[str, str], *, verified: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The identity claims that a business can verify, of what the subscriber gave; the name always. Only `verified`
    fields are claimed to be so.

    >>> claims_of({"supported_verifications": ["email"]}, {"name": "Pat", "email": "p@x.org", "phone": "+1555"},
    ...           verified=frozenset({"email"}))
    {'name': 'Pat', 'email': 'p@x.org', 'email_verified': True}
    """
    claims, address = _supported(business, details)
    found: dict[str, Any] = {}
    for claim, name in claims.items():
        found[claim] = details[name]
        if claim != "name":
            found[f"{claim}_verified"] = name in verified
    if address:
        found["address"] = {part: details[name] for part, name in address.items()}
        found["address_verified"] = "street" in verified
    return found


def read_status(raw: object) -> RightsStatus:
    """A status object, as lenient as it can be while saying something.

    Raises:
        SourceUnavailable: there is no status in it.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("status"), str) or not raw.get("request_id"):
        raise SourceUnavailable("the business answered without a status object.")
    if not isinstance(raw["request_id"], str | int):
        raise SourceUnavailable("the business answered with an id that is none.")
    state, _, inner = raw["status"].strip().lower().partition("/")
    state = "need_user_verification" if "need_user_verification" in {state, inner} else state
    details, reason = raw.get("processing_details"), raw.get("reason")
    return RightsStatus(
        request_id=str(raw["request_id"])[:200],
        state=state[:60],
        reason=reason if isinstance(reason, str) and re.fullmatch(r"[a-z_]{1,60}", reason) else None,
        expected_by=read_moment(raw.get("expected_by")),
        user_verification_url=str(raw["user_verification_url"])[:2000] if raw.get("user_verification_url") else None,
        processing_details=str(details)[:2000] if details else None,
    )


ACTIONS = frozenset({"access", "access:categories", "access:specific", "deletion", "sale:opt-in", "sale:opt-out"})


def read_businesses(content: bytes) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The businesses of a directory document, and those that are left out with the reason. Lenient: ids may hold digits
    and small letters, as real ones do, and unknown fields stay.

    Raises:
        SourceUnavailable: it is not a list of businesses.
    """
    try:
        entries = outside_json.loads(content)
    except ValueError:
        entries = None
    if not isinstance(entries, list):
        raise SourceUnavailable("the directory document is no JSON array of businesses.")
    good, bad = [], []
    for entry in entries:
        name = str(entry.get("id", ""))[:100] if isinstance(entry, dict) else ""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            bad.append((name, "it has no id"))
        elif not re.match(r"https://[^\s]+$|http://127\.0\.0\.1[:/]", str(entry.get("api_base", ""))):
            bad.append((name, "its api_base is no https address"))
        elif not set(entry.get("supported_actions") or ()) & ACTIONS:
            bad.append((name, "it supports no action of the protocol"))
        else:
            good.append(entry)
    return good, bad


def agent_document(
    agent_id: str, key: Ed25519PrivateKey, *, name: str, web_url: str, contact: str, assurance_url: str | None = None
) -> dict[str, str]:
    """Our own entry for the protocol's directory of agents, by which businesses verify what we sign. `assurance_url`
    names the page that says how we know who asks.

    Raises:
        SettingsError: a directory takes no such id or address.
    """
    if not re.fullmatch(r"[A-Z0-9_]+", agent_id):
        raise SettingsError("KORDANT_DRP_AGENT_ID is no agent's id. Use capital letters, digits and underscores.")
    if not web_url.startswith("https://"):
        raise SettingsError("the directory wants an https address of ours. Set KORDANT_PUBLIC_URL.")
    return {
        "id": agent_id,
        "name": name,
        "verify_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "web_url": web_url,
        "technical_contact": contact,
        "business_contact": contact,
        **({"identity_assurance_url": assurance_url} if assurance_url else {}),
    }


class DrpAgent:
    """See `ports.RightsAgent`. `callback` makes the unguessable address for status callbacks of one request; they are
    not signed, so a callback only says that the status is worth asking for."""

    def __init__(
        self,
        agent_id: str,
        key: Ed25519PrivateKey,
        *,
        callback: Callable[[UUID], str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        client: httpx.Client | None = None,
    ) -> None:
        self._agent_id, self._key, self._callback, self._clock = agent_id, key, callback, clock
        self._http = client

    @property
    def _client(self) -> httpx.Client:
        if self._http is None:
            self._http = HttpClient(timeout=TIMEOUT_S, follow_redirects=False)
        return self._http

    def _message(self, business: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        issued = self._clock() - BACKDATED
        return {
            "agent-id": self._agent_id,
            "business-id": business["id"],
            "issued-at": issued.isoformat(timespec="milliseconds"),
            "expires-at": (issued + LASTS).isoformat(timespec="milliseconds"),
            "drp.version": VERSION,
            **more,
        }

    def register(self, business: Mapping[str, Any]) -> str:
        """See `ports.RightsAgent`."""
        answer = self._ask("POST", business, f"/v1/agent/{self._agent_id}", None, self._message(business))
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not 0 < len(token) <= 4096:
            raise SourceUnavailable("the business gave no token.")
        return token

    def exercise(
        self, business: Mapping[str, Any], token: str, claims: Mapping[str, Any], *, request_id: UUID
    ) -> RightsStatus:
        """See `ports.RightsAgent`."""
        message = self._message(business, **claims, **{"agent-request-id": str(request_id)})
        if self._callback:
            message["status_callback"] = self._callback(request_id)
        status = self._ask("POST", business, "/v1/data-rights-request", token, message)
        ours = status.get("agent_request_id") if isinstance(status, dict) else None
        if ours not in {None, "", str(request_id)}:
            raise SourceUnavailable("the business answered with the status of another request.")
        return read_status(status)

    def status(self, business: Mapping[str, Any], token: str, outside_id: str) -> RightsStatus:
        """See `ports.RightsAgent`."""
        return _of(outside_id, self._ask("GET", business, _path(outside_id), token, None))

    def revoke(self, business: Mapping[str, Any], token: str, outside_id: str, reason: str) -> RightsStatus:
        """See `ports.RightsAgent`."""
        message = self._message(business, reason=reason)
        return _of(outside_id, self._ask("DELETE", business, _path(outside_id), token, message))

    def _ask(
        self, method: str, business: Mapping[str, Any], path: str, token: str | None, message: Mapping[str, Any] | None
    ) -> object:
        headers = {"content-type": "text/plain"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        url = str(business["api_base"]).rstrip("/") + path
        status, body = self._once(method, url, headers, message)
        if status == 404 or (status == 500 and not body.strip()):
            status, body = self._once(method, f"{url}/", headers, message)
        try:
            raw = outside_json.loads(body) if body.strip() else None
        except ValueError:
            raw = None
        if status == 200:
            return raw
        said = raw if isinstance(raw, dict) else {}
        forbidden = status in {401, 403} or (status == 500 and not said)
        if forbidden or said.get("fatal") or 400 <= status < 500:
            code = f"drp {status} {str(said.get('code', ''))[:20]}".strip()
            is_error = bool(said.get("code") or said.get("message"))
            is_passing = not forbidden and not said.get("fatal") and (is_error or status in PASSING)
            raise RightsError(code, fatal=bool(said.get("fatal")), forbidden=forbidden, passing=is_passing)
        raise SourceUnavailable(f"the business answered {status}.")

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], message: Mapping[str, Any] | None
    ) -> tuple[int, bytes]:
        content = sign(self._key, message) if message is not None else None
        try:
            with self._client.stream(method, url, headers=dict(headers), content=content) as answer:
                body = b""
                for block in answer.iter_bytes():
                    body += block
                    if len(body) > BODY_MAX:
                        raise SourceUnavailable("the business answered with too much.")
                return answer.status_code, body
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceUnavailable(f"the business could not be asked ({type(error).__name__}).") from None


def _of(outside_id: str, raw: object) -> RightsStatus:
    """The status of the request that was asked for: another one's counts for nothing."""
    status = read_status(raw)
    if status.request_id != outside_id:
        raise SourceUnavailable("the business answered with the status of another request.")
    return status


def _path(outside_id: str) -> str:
    if outside_id in {".", ".."}:
        raise RightsError("its request id fits no path", fatal=True)
    return f"/v1/data-rights-request/{quote(outside_id, safe='')}"
