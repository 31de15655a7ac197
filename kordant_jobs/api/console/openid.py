"""Sign-in through an OpenID provider: a redirect to it, a return with a code, and a session.

The session uses a token that is created for it, with the same lifetime, and whose secret no one gets. So it is listed,
disabled and revoked like any other token, and signing out revokes it.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from kordant_jobs.api.asked import OpenId
from kordant_jobs.api.console import session as sessions
from kordant_jobs.api.console.visit import SIGN_IN, Visit, call_of, local_path
from kordant_jobs.api.problems import Problem, denied
from kordant_jobs.domain.access.audit import Entry, Outcome
from kordant_jobs.domain.access.principals import TokenScope, person_id, role_of
from kordant_jobs.domain.access.tokens import read_token
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.pages.ui_guard import is_local
from kordant_jobs.ports import SignInRefused
from kordant_jobs.store.access import people
from kordant_jobs.store.audit import log as audit_log

log = logging.getLogger(__name__)

START, BACK = f"{SIGN_IN}/openid", f"{SIGN_IN}/back"
COOKIE = "kordant_console_away"
BY = "openid"
"""The author, in the audit log, of people and tokens that a sign-in creates."""
NO_ROLE = "openid.no_role"


def leave(visit: Visit) -> Response:
    """Redirect the browser to the provider. Nothing is stored on the server."""
    openid = _configured(visit)
    again = visit.asked("again") is not None
    away = sessions.depart(_back_url(visit), local_path(visit.asked("to")), now=datetime.now(UTC), again=again)
    try:
        answer = visit.go(openid.provider.address(away.sign_in))
    except SourceUnavailable as error:
        raise _away(error) from None
    visit.set_cookie(answer, COOKIE, sessions.seal_away(visit.console.backend.keyring, away),
                     max_age=int(sessions.AWAY.total_seconds()), path=SIGN_IN, same_site="lax")  # fmt: skip
    return answer


def come_back(visit: Visit) -> Response:
    """Start the session of a person who returns from the provider.

    Raises:
        Problem: the return does not match a sign-in of this browser, the provider refused it or does not answer, or the
            person has no role.
    """
    openid, keyring = _configured(visit), visit.console.backend.keyring
    query = visit.request.query_params
    cookie = visit.request.cookies.get(COOKIE, "")
    away = sessions.opened_away(keyring, cookie, query.get("state", ""), now=datetime.now(UTC))
    if away is None:
        raise _refused(visit, "state")
    if "code" not in query:
        raise _refused(visit, "no_code")
    try:
        claims = openid.provider.claims(away.sign_in, query["code"], query.get("iss"))
    except SignInRefused as error:
        raise _refused(visit, str(error)) from None
    except SourceUnavailable as error:
        raise _away(error) from None
    token_id = _known(visit, openid, claims)
    answer = visit.page("signed_in.html", visit.words.say("Signed in"), to=away.to)
    visit.begin_session(answer, token_id, since=_login_of(claims))
    return answer


def _login_of(claims: Mapping[str, Any]) -> datetime:
    """The time of the sign-in at the provider. If that is unknown: 1970, so that a decision asks for a new sign-in."""
    since = claims.get("auth_time")
    return datetime.fromtimestamp(since if since is not None else 0, UTC)


def _known(visit: Visit, openid: OpenId, claims: Mapping[str, Any]) -> str:
    """Create or update the person of these claims with a new token, and return its id."""
    person = person_id(openid.provider.issuer, claims["sub"])
    role = role_of(claims, openid.role_claim, openid.roles)
    keyring, now = visit.console.backend.keyring, datetime.now(UTC)
    with visit.console.backend.db.begin() as connection:
        if role is None:
            entry = Entry(actor=person, role="none", source="console", action="console.sign_in", target_kind="console",
                          target_id="console", outcome=Outcome.DENIED, rule=NO_ROLE)  # fmt: skip
            audit_log.record(connection, keyring, entry)
        else:
            people.save_person(connection, person, role, by=BY)
            days = sessions.LASTS / timedelta(days=1)
            written = people.create_token(connection, keyring, person, tuple(TokenScope), days=days, by=BY, now=now)
            token = read_token(written)
            verified = token and people.holder(connection, token.id, now=now)
            if not token or not verified:
                raise _refused(visit, "disabled")
            call = call_of(visit.console, verified.principal, now)
            call.record(connection, call.audit_entry("console.sign_in", "console", "console", rule="openid"))
            return token.id
    raise denied(NO_ROLE)


def _configured(visit: Visit) -> OpenId:
    if visit.console.backend.openid is None:
        raise Problem("not_found", "there is no sign-in through an OpenID provider here: set KORDANT_OIDC_ISSUER.")
    return visit.console.backend.openid


def _back_url(visit: Visit) -> str:
    """The address to which the provider redirects the browser. A Host header of another machine is never used."""
    public, host = visit.console.backend.public_url, visit.request.headers.get("host", "")
    if public is None and not is_local(host):
        raise Problem("invalid", "set KORDANT_API_URL: people reach us by a name, to which the provider must return.")
    return (public.rstrip("/") if public else f"http://{host}") + BACK


def _refused(visit: Visit, why: str) -> Problem:
    log.warning("a sign-in through the OpenID provider was refused: %s", why)
    detail = visit.words.say("The sign-in did not work, or took too long. Begin again.")
    return Problem("forbidden", detail)


def _away(error: Exception) -> Problem:
    log.warning("%s", error)
    return Problem("busy", "the OpenID provider does not answer: try again in a minute.", headers={"Retry-After": "30"})
