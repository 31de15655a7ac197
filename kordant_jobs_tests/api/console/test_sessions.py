"""Who signs in to the console, how a session ends, and which forms count."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.console import session as sessions
from kordant_jobs.api.console import system
from kordant_jobs.api.console.app import PAGES
from kordant_jobs.api.console.visit import COOKIE
from kordant_jobs.api.problems import Problem
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.console.asking import Dead, actions, status_of
from kordant_jobs_tests.api.console.conftest import BASE, Reader, token_of
from kordant_jobs_tests.asgi import raw_status

EVERYBODY = frozenset({"admin", "operator", "reader", "scoped"})
UNSCOPED = EVERYBODY - {"scoped"}
OPERATE = frozenset({"admin", "operator", "scoped"})
PATHS: dict[str, tuple[str, frozenset[str]]] = {
    "/": ("/", UNSCOPED),
    "/requests": ("/requests?state=dead&job=darkwatch_scan", EVERYBODY),
    "/requests/{request_id}": ("/requests/{id}?show=payload", EVERYBODY),
    "/requests/{request_id}/{action}": ("/requests/{id}/expire", OPERATE),
    "/dead": ("/dead", EVERYBODY),
    "/dead/{action}": ("/dead/replay?job=darkwatch_scan&cause=exception", OPERATE),
    "/performance": ("/performance", UNSCOPED),
    "/approvals": ("/approvals", EVERYBODY),
    "/approvals/{change_id}": ("/approvals/{change}", EVERYBODY),
    "/agents": ("/agents", UNSCOPED),
    "/agents/{agent_id}": ("/agents/agent:a", UNSCOPED),
    "/schedules": ("/schedules", EVERYBODY),
    "/schedules/{job}/{tier}": ("/schedules/darkwatch_scan/premium", EVERYBODY),
    "/alerts": ("/alerts", UNSCOPED),
    "/sources": ("/sources", UNSCOPED),
    "/subscriptions": ("/subscriptions?tier=premium", UNSCOPED),
    "/subscriptions/{subscription_id}": ("/subscriptions/{subscription}", UNSCOPED),
    "/audit": ("/audit", EVERYBODY),
    "/doctor": ("/doctor", UNSCOPED),
}
"""Of each page of the application an address, and who gets it; others are sent on or refused."""


def test_every_page_has_a_line_in_the_table() -> None:
    assert set(PATHS) == {path for path, _, _ in PAGES}


def test_each_role_gets_its_pages_and_no_one_else_any(
    readers: dict[str, Reader], dead: Dead, app: Any, change: UUID, subscription: UUID
) -> None:
    (request_id,) = dead(1, tenant="t1")
    wrong = []
    for path, allowed in PATHS.values():
        url = "/console" + path.format(id=request_id, change=change, subscription=subscription)
        for role, reader in readers.items():
            answer = reader.get(url)
            if (answer.status_code == 200) != (role in allowed) or answer.status_code >= 500:
                wrong.append((url, role, answer.status_code))
        stranger = Reader(app).get(url)
        if stranger.status_code != 303 or not stranger.headers["location"].startswith("/console/sign-in?to="):
            wrong.append((url, "stranger", stranger.status_code))
    assert not wrong


def test_who_may_only_look_sees_no_button_and_a_form_of_theirs_is_refused(
    readers: dict[str, Reader], dead: Dead, db: Engine, change: UUID, subscription: UUID
) -> None:
    (request_id,) = dead(1)
    reader = readers["reader"]
    harmless = {"/console/sign-out", "/console/language", "/console/doctor"}
    for path, allowed in PATHS.values():
        if "reader" in allowed:
            text = reader.get("/console" + path.format(id=request_id, change=change, subscription=subscription)).text
            assert set(re.findall(r'method="post" action="([^"]+)"', text)) <= harmless, path
    on = f"/console/requests/{request_id}"
    for action in ("retry", "acknowledge", "expire"):
        answer = reader.post(f"{on}/{action}", on=on)
        assert answer.status_code == 403
        assert "scope.jobs:operate" in answer.text
    group = {"job": "darkwatch_scan", "cause": "exception", "expected_count": "1"}
    assert reader.post("/console/dead/replay", on=on, **group).status_code == 403
    assert status_of(db, request_id) == "dead"
    assert actions(db).count("denied") == 4


@pytest.mark.parametrize("kind", ["service", "agent", "mistyped", "ended", "revoked", "unknown"])
def test_only_a_persons_working_token_signs_in_and_the_answer_never_says_why(
    db: Engine, keyring: Keyring, app: Any, kind: str
) -> None:
    roles = {"service": Role.SERVICE, "agent": Role.AGENT}
    role = roles.get(kind, Role.OPERATOR)
    more = {"tenants": ["t1"], "owner": "user:o"} if kind in roles else {}
    token = token_of(db, keyring, f"{kind if kind in roles else 'user'}:x", role, tuple(TokenScope), **more)
    with db.begin() as connection:
        if kind == "ended":
            connection.execute(sa.text("UPDATE kordant.api_tokens SET expires_at = now()"))
        if kind == "revoked":
            people.revoke_token(connection, token.split("_")[1], by="user:test", now=datetime.now(UTC))
    token = {"mistyped": token[:-1] + ("a" if token[-1] != "a" else "b"), "unknown": "nonsense"}.get(kind, token)
    reader = Reader(app)
    answer = reader.sign_in(token)
    assert answer.status_code == 401
    assert reader.session is None
    assert "does not open the console" in answer.text
    assert token not in answer.text


def test_a_session_is_http_only_strict_and_ends_with_its_time_its_token_or_a_changed_character(
    db: Engine, keyring: Keyring, app: Any
) -> None:
    reader = Reader(app)
    token = token_of(db, keyring, "user:o", Role.OPERATOR, tuple(TokenScope))
    made = reader.sign_in(token)
    said = next(one for one in made.headers.get_list("set-cookie") if one.startswith(COOKIE + "="))
    assert {"httponly", "samesite=strict", "path=/console"} <= {one.strip().lower() for one in said.split(";")}
    cookie = reader.session or ""
    assert token not in cookie
    assert token.split("_")[2][:20] not in cookie
    assert reader.get("/console/").status_code == 200
    later = datetime.now(UTC) + sessions.LASTS + timedelta(seconds=1)
    assert sessions.opened(keyring, cookie, now=later) is None
    forged = sessions.seal(Keyring(bytes(32), index_root=bytes(32)), sessions.begin("x" * 12, now=datetime.now(UTC)))
    for text in (cookie[:-1] + "0", cookie[:-1] + "1", "", "...", forged, cookie.replace(".", ".9", 1)):
        if text != cookie:
            assert Reader(app).get("/console/", headers={"Cookie": f"{COOKIE}={text}"}).status_code == 303
    with db.begin() as connection:
        people.revoke_token(connection, token.split("_")[1], by="user:test", now=datetime.now(UTC))
    app.state.tokens._known.clear()
    assert reader.get("/console/").status_code == 303


def test_no_form_counts_that_another_page_sent(readers: dict[str, Reader], dead: Dead, db: Engine) -> None:
    (request_id,) = dead(1)
    path, admin = f"/console/requests/{request_id}/retry", readers["admin"]
    code = admin.code(f"/console/requests/{request_id}")
    foreign = readers["operator"].code("/console/requests")
    attempts: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"form_code": ""}, {}),
        ({"form_code": foreign}, {}),
        ({"form_code": code}, {"Origin": "https://evil.example"}),
        ({"form_code": code}, {"Origin": "null"}),
        ({"form_code": code}, {"Sec-Fetch-Site": "cross-site"}),
        ({"form_code": code}, {"Sec-Fetch-Site": "same-site"}),
    ]
    for fields, headers in attempts:
        assert admin.ask("POST", path, data=fields, headers=headers).status_code == 403, (fields, headers)
    assert status_of(db, request_id) == "dead"
    assert admin.ask("GET", path, params={"form_code": code}).status_code == 200
    assert status_of(db, request_id) == "dead"
    ours = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}
    assert admin.ask("POST", path, data={"form_code": code}, headers=ours).status_code == 303
    assert status_of(db, request_id) == "pending"


def test_what_others_wrote_is_text_and_headers_keep_scripts_out(readers: dict[str, Reader], dead: Dead) -> None:
    bad = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe"
    (request_id,) = dead(1, error=bad, tenant=bad)
    pages = [f"/requests/{request_id}", "/dead", "/dead/replay?job=darkwatch_scan&cause=exception"]
    for path in [*pages, "/requests?by=" + bad, "/dead?job=" + bad, "/requests?job=" + bad, "/" + bad]:
        answer = readers["admin"].get("/console" + path)
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert "\u202e" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store, private"
        assert len(re.findall("<script", answer.text)) == 1
        assert "style=" not in answer.text


@pytest.mark.parametrize(
    "to", ["//evil.example/console/", "https://evil.example", "/api/jobs", "/console/../api", "\\\\e"]
)
def test_signing_in_leads_nowhere_else(db: Engine, keyring: Keyring, app: Any, to: str) -> None:
    token = token_of(db, keyring, "user:o", Role.OPERATOR, tuple(TokenScope))
    answer = Reader(app).post("/console/sign-in", token=token, to=to)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")


def test_the_language_follows_the_browser_until_one_is_chosen(readers: dict[str, Reader], app: Any) -> None:
    assert 'lang="pt-BR"' in Reader(app, language="pt-BR,pt;q=0.9").get("/console/sign-in").text
    admin = readers["admin"]
    answer = admin.post("/console/language", on="/console/dead", language="pt-BR", to="/console/dead")
    assert answer.headers["location"] == "/console/dead"
    assert 'lang="pt-BR"' in admin.get("/console/dead").text


def test_signing_out_ends_the_session_in_this_browser(readers: dict[str, Reader], db: Engine) -> None:
    admin = readers["admin"]
    assert admin.post("/console/sign-out", on="/console/").headers["location"] == "/console/sign-in"
    assert admin.session is None
    assert actions(db)[:1] == ["console.sign_out"]
    assert admin.get("/console/").status_code == 303


@pytest.mark.parametrize("to", ["//[", "http://[", "/console/../api", "//evil.example/console/", "/console/\\x"])
def test_an_address_to_go_to_that_is_none_leads_to_the_first_page(app: Any, to: str) -> None:
    answer = Reader(app).get("/console/sign-in", params={"to": to})
    assert answer.status_code == 200
    assert 'name="to" value="/console/"' in answer.text


@pytest.mark.parametrize("path", ["/console/", "/console/sign-in"])
def test_a_query_that_is_no_text_is_refused(app: Any, path: str) -> None:
    assert raw_status(app, path, b"to=\xb0") == 400


def test_a_form_from_a_malformed_origin_is_refused(app: Any) -> None:
    reader = Reader(app)
    form = {"form_code": reader.code(), "language": "pt-BR"}
    answer = reader.ask("POST", "/console/language", data=form, headers={"Origin": "http://["})
    assert answer.status_code == 403


def test_too_many_calls_and_a_database_that_is_away_are_answered_as_the_api_does(
    readers: dict[str, Reader], app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(*_: Any) -> None:
        raise Problem("too_many_requests", "wait.", headers={"Retry-After": "7"})

    with monkeypatch.context() as patch:
        patch.setattr(app.state.quotas, "take", too_many)
        answer = readers["admin"].get("/console/")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")

    def away(*_: Any, **__: Any) -> None:
        raise sa.exc.TimeoutError("QueuePool limit reached")

    with monkeypatch.context() as patch:
        patch.setattr(app.state.backend.db, "connect", away)
        patch.setattr(app.state.backend.db, "begin", away)
        answer = readers["admin"].get("/console/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_only_looking_has_a_limit_of_time_and_the_doctor_holds_no_transaction(
    readers: dict[str, Reader], db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    open_ones: list[int] = []

    @sa.event.listens_for(db, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    def examined(*_: Any) -> list[Any]:
        with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
            open_ones.append(connection.execute(sa.text(count)).scalar_one())
        return []

    monkeypatch.setattr(system, "examine", examined)
    code = readers["admin"].code("/console/doctor")
    assert any("SET LOCAL statement_timeout" in one for one in statements)
    statements.clear()
    answer = readers["admin"].ask("POST", "/console/doctor", data={"form_code": code})
    assert answer.status_code == 303
    assert not any("statement_timeout" in one for one in statements)
    assert open_ones == [0]
