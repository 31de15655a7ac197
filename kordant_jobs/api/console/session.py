"""Sessions of the console: a signed cookie with the id of a token, and the codes of forms. Pure.

A session ends after `LASTS`, or when its token expires or is revoked. The server stores nothing for it. While a person
is at the OpenID provider, a second signed cookie has the values that the provider's answer must match.
"""

import base64
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from kordant_jobs.ports import SignIn
from kordant_jobs.store.people.keyring import Keyring

LASTS = timedelta(hours=12)
"""The length of a session: a working day. There is no shorter time-out, since some need more time (WCAG 2.2.1)."""
FRESH = timedelta(minutes=15)
"""The longest time since sign-in at which a person may decide on a proposal (contract of the API, §3.4)."""
AWAY = timedelta(minutes=10)
"""The longest time that a person may spend at the OpenID provider."""
_PURPOSE, _FORMS, _AWAY = "console-session-2", "console-form", "console-sign-in"


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session: its token, and the Unix seconds of the sign-in (`since`) and of its end (`until`)."""

    token_id: str
    since: int
    until: int
    nonce: str

    def is_fresh(self, now: datetime) -> bool:
        """True when the person signed in at most `FRESH` ago."""
        return now.timestamp() - self.since <= FRESH.total_seconds()


def begin(token_id: str, *, now: datetime, since: datetime | None = None) -> Session:
    """A new session for a verified token. `since`: the time of the sign-in, if not now."""
    return Session(
        token_id=token_id,
        since=int((since or now).timestamp()),
        until=int((now + LASTS).timestamp()),
        nonce=secrets.token_urlsafe(12),
    )


def seal(keyring: Keyring, session: Session) -> str:
    """The signed value of a session's cookie."""
    body = f"{session.token_id}.{session.since}.{session.until}.{session.nonce}"
    return f"{body}.{keyring.sign(_PURPOSE, body.encode()).hex()}"


def opened(keyring: Keyring, cookie: str, *, now: datetime) -> Session | None:
    """The session of a cookie; None if its signature is wrong or the session has ended."""
    body, _, code = cookie.rpartition(".")
    if not hmac.compare_digest(code.encode(), keyring.sign(_PURPOSE, body.encode()).hex().encode()):
        return None
    token_id, since, until, nonce = body.split(".")
    session = Session(token_id=token_id, since=int(since), until=int(until), nonce=nonce)
    return session if now.timestamp() < session.until else None


def form_code(keyring: Keyring, cookie: str) -> str:
    """The code in every form against CSRF: it cannot be guessed without the cookie."""
    return keyring.sign(_FORMS, cookie.encode()).hex()


def is_form_code(keyring: Keyring, cookie: str, code: str) -> bool:
    """True when `code` is the code against CSRF that belongs to this session's cookie; False for an empty cookie."""
    return bool(cookie) and hmac.compare_digest(code.encode(), form_code(keyring, cookie).encode())


@dataclass(frozen=True, kw_only=True)
class Away:
    """A sign-in at the OpenID provider: the values that its answer must match, the page after it, and its end."""

    sign_in: SignIn
    to: str
    until: int


def depart(redirect_uri: str, to: str, *, now: datetime, again: bool = False) -> Away:
    """A new sign-in at the provider. `again`: the person must authenticate there even if they are signed in."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    sign_in = SignIn(redirect_uri=redirect_uri, state=state, nonce=nonce, verifier=verifier, must_repeat=again)
    return Away(sign_in=sign_in, to=to, until=int((now + AWAY).timestamp()))


def seal_away(keyring: Keyring, away: Away) -> str:
    """The signed value of the cookie for a sign-in at the provider."""
    body = base64.urlsafe_b64encode(json.dumps(asdict(away)).encode()).decode()
    return f"{body}.{keyring.sign(_AWAY, body.encode()).hex()}"


def opened_away(keyring: Keyring, cookie: str, state: str, *, now: datetime) -> Away | None:
    """The sign-in to which `state` belongs; None: it began in another browser, or took too long."""
    body, _, code = cookie.rpartition(".")
    if not hmac.compare_digest(code.encode(), keyring.sign(_AWAY, body.encode()).hex().encode()):
        return None
    held = json.loads(base64.urlsafe_b64decode(body))
    away = Away(sign_in=SignIn(**held["sign_in"]), to=held["to"], until=held["until"])
    is_same = hmac.compare_digest(away.sign_in.state.encode(), state.encode())
    return away if is_same and now.timestamp() < away.until else None
