"""The console over HTTP: who comes in, what each role sees, and what a form does."""

from __future__ import annotations

import asyncio
import html
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from uuid_utils.compat import uuid7

from kordant_jobs.api.console import session as sessions
from kordant_jobs.api.console import system
from kordant_jobs.api.console.app import PAGES
from kordant_jobs.api.console.live import Changes
from kordant_jobs.api.console.visit import COOKIE
from kordant_jobs.api.problems import Problem
from kordant_jobs.domain.access.audit import Entry, Outcome
from kordant_jobs.domain.access.change_sets import ChangeKind, ChangeState
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.domain.identifiers import IdentifierKind, mask
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import operate
from kordant_jobs.observability import health
from kordant_jobs.store.access import changes, people
from kordant_jobs.store.audit import log
from kordant_jobs.store.operators import alerts, counts
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.triggers import price_list
from kordant_jobs_tests.api.console.conftest import BASE, Reader, token_of
from kordant_jobs_tests.asgi import raw_status
from kordant_jobs_tests.jobs.people import subscribe

Dead = Callable[..., list[UUID]]
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


def status_of(db: Engine, request_id: UUID) -> str:
    with db.connect() as connection:
        found = sa.text("SELECT status FROM kordant.job_requests WHERE id = :id")
        return str(connection.execute(found, {"id": request_id}).scalar_one())


def actions(db: Engine) -> list[str]:
    with db.connect() as connection:
        return [entry["action"] for _, entry in log.entries(connection, limit=100)]


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


def test_a_group_is_replayed_after_its_count_was_shown_and_the_log_names_who(
    readers: dict[str, Reader], dead: Dead, db: Engine
) -> None:
    ids, others = dead(12), dead(2, cause="timeout")
    operator = readers["operator"]
    page = operator.get("/console/dead/replay?job=darkwatch_scan&cause=exception")
    assert "12 requests" in page.text
    fields = {"job": "darkwatch_scan", "cause": "exception", "expected_count": "12"}
    answer = operator.post("/console/dead/replay", on="/console/dead", **fields)
    assert answer.headers["location"] == "/console/dead?done=replay&count=12"
    assert "Queued again. 12 requests." in operator.get(answer.headers["location"]).text
    assert {status_of(db, one) for one in ids} == {"pending"}
    assert {status_of(db, one) for one in others} == {"dead"}
    with db.connect() as connection:
        _, entry = log.entries(connection, limit=1)[0]
    assert (entry["actor"], entry["source"], entry["action"]) == ("user:operator", "console", "requests.bulk_replay")


def test_a_group_that_has_grown_much_or_is_large_is_asked_about_again(
    readers: dict[str, Reader], dead: Dead, db: Engine
) -> None:
    (one, *_) = dead(1_005)
    fields = {"job": "darkwatch_scan", "cause": "exception"}
    admin = readers["admin"]
    assert "Type the word replay" in admin.get("/console/dead/replay?job=darkwatch_scan&cause=exception").text
    answers = [
        admin.post("/console/dead/replay", on="/console/dead", **fields, expected_count="10"),
        admin.post("/console/dead/replay", on="/console/dead", **fields, expected_count="1005"),
        admin.post("/console/dead/replay", on="/console/dead", **fields, expected_count="x"),
    ]
    assert [answer.status_code for answer in answers] == [409, 422, 404]
    assert status_of(db, one) == "dead"
    last = admin.post("/console/dead/replay", on="/console/dead", **fields, expected_count="1005", typed=" Replay ")
    assert last.status_code == 303
    assert status_of(db, one) == "pending"


def test_acknowledging_a_group_leaves_what_was_seen_and_what_is_anothers(
    readers: dict[str, Reader], dead: Dead, db: Engine
) -> None:
    dead(3, tenant="t1")
    dead(4, tenant="t9")
    dead(1, tenant="t1", acknowledged=True)
    scoped = readers["scoped"]
    assert "4 requests, 3 unseen" in scoped.get("/console/dead").text
    fields = {"job": "darkwatch_scan", "cause": "exception", "expected_count": "3"}
    assert (
        scoped.post("/console/dead/acknowledge", on="/console/dead", **fields).headers["location"].endswith("count=3")
    )
    with db.connect() as connection:
        seen = sa.text("SELECT tenant, acknowledged_by FROM kordant.job_requests WHERE acknowledged_by IS NOT NULL")
        assert sorted(map(tuple, connection.execute(seen))) == [("t1", "user:scoped")] * 3 + [("t1", "user:x")]


def test_what_is_out_of_scope_is_like_what_is_not_there(readers: dict[str, Reader], dead: Dead) -> None:
    (foreign,) = dead(1, tenant="t9")
    for path in (f"/console/requests/{foreign}", f"/console/requests/{uuid4()}", "/console/requests/nonsense"):
        assert readers["scoped"].get(path).status_code == 404
    assert str(foreign) not in readers["scoped"].get("/console/requests").text
    assert str(foreign) in readers["admin"].get("/console/requests").text


def test_one_request_shows_why_it_failed_and_its_payload_only_when_asked_which_is_recorded(
    readers: dict[str, Reader], dead: Dead, db: Engine
) -> None:
    (request_id,) = dead(1)
    page = readers["operator"].get(f"/console/requests/{request_id}")
    assert "PermanentError: no such list" in page.text
    assert "premium" not in page.text
    assert "requests.read_payload" not in actions(db)
    assert "premium" in readers["operator"].get(f"/console/requests/{request_id}?show=payload").text
    assert actions(db)[0] == "requests.read_payload"


def test_pages_of_requests_join_without_a_gap_and_say_that_counts_are_estimates(
    readers: dict[str, Reader], dead: Dead, db: Engine
) -> None:
    ids = set(map(str, dead(130)))
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE kordant.job_requests"))
    url, pages = "/console/requests?state=dead", 0
    seen: set[str] = set()
    while url:
        text = readers["admin"].get(url).text
        found = set(re.findall(r'/console/requests/([0-9a-f-]{36})"', text))
        assert not found & seen
        seen |= found
        pages += 1
        assert "About 130, by the database" in text
        older = re.search(r'rel="next" href="([^"]+)"', text)
        url = older[1].replace("&amp;", "&") if older else ""
    assert (seen, pages) == (ids, 3)


def test_a_wrong_word_in_the_url_says_which_there_are(readers: dict[str, Reader]) -> None:
    answer = readers["admin"].get("/console/requests?state=finished")
    assert answer.status_code == 422
    assert "cancelled, completed, dead" in answer.text
    assert readers["admin"].get("/console/requests?cursor=abc").status_code == 400


def test_a_query_that_takes_too_long_ends_as_a_page_that_says_so(readers: dict[str, Reader], db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("LOCK TABLE kordant.job_requests IN ACCESS EXCLUSIVE MODE"))
        answer = readers["admin"].get("/console/requests")
    assert answer.status_code == 503
    assert "Narrow it" in answer.text


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


def test_a_proposal_is_approved_as_it_was_read_and_never_by_whom_it_belongs_to(
    readers: dict[str, Reader], change: UUID, db: Engine
) -> None:
    path, admin = f"/console/approvals/{change}", readers["admin"]
    text = admin.get(path).text
    assert "<del>*/15 * * * *</del>" in text
    assert "<ins>*/20 * * * *</ins>" in text
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', text)[0]
    for name in ("operator", "reader", "scoped"):
        assert "decision" not in readers[name].get(path).text
        assert readers[name].post(path, on=path, decision="approve", digest=digest).status_code == 403
    assert admin.post(path, on=path, decision="approve", digest="0" * 64).status_code == 412
    assert admin.post(path, on=path, decision="approve", digest=digest).headers["location"].endswith("done=approve")
    with db.connect() as connection:
        row = scheduler_config.get(connection, ("notifications_send", "all"))
    assert row is not None
    assert row.row.cron == "*/20 * * * *"
    assert admin.post(path, on=path, decision="approve", digest=digest).status_code == 409


def test_a_decision_needs_a_sign_in_of_the_last_quarter_of_an_hour(
    db: Engine, keyring: Keyring, app: Any, change: UUID
) -> None:
    token = token_of(db, keyring, "user:admin", Role.ADMIN, tuple(TokenScope))
    reader, path, now = Reader(app), f"/console/approvals/{change}", datetime.now(UTC)
    reader.sign_in(token)
    assert reader.session
    token_id = reader.session.split(".")[0]
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', reader.get(path).text)[0]
    old = sessions.begin(token_id, now=now, since=now - sessions.FRESH - timedelta(seconds=2))
    reader.cookies.set(COOKIE, sessions.seal(keyring, old), domain="127.0.0.1", path="/console")
    for decision in ("approve", "reject"):
        answer = reader.post(path, on=path, decision=decision, digest=digest)
        again = answer.headers["location"]
        assert again == f"/console/sign-in?to=%2Fconsole%2Fapprovals%2F{change}&again=1"
    with db.connect() as connection:
        found = changes.get(connection, change)
    assert found is not None
    assert found.state is ChangeState.PROPOSED
    page = reader.get(again)
    assert "Nothing was decided" in page.text
    assert reader.post("/console/sign-in", on=again, token=token, to=path).headers["location"] == path
    answer = reader.post(path, on=path, decision="approve", digest=digest)
    assert answer.headers["location"].endswith("done=approve")


def test_an_owner_of_the_agent_sees_no_buttons(db: Engine, keyring: Keyring, app: Any, change: UUID) -> None:
    owner = Reader(app)
    owner.sign_in(token_of(db, keyring, "user:owner", Role.ADMIN, tuple(TokenScope)))
    path = f"/console/approvals/{change}"
    text = owner.get(path).text
    assert "decision" not in text
    digest = re.findall(r"<code>([0-9a-f]{64})</code>", text)[0]
    assert owner.post(path, on=path, decision="approve", digest=digest).status_code == 403


def test_a_proposal_whose_row_has_changed_says_so_and_is_not_applied(
    readers: dict[str, Reader], change: UUID, db: Engine
) -> None:
    with db.begin() as connection:
        price_list.change(connection, ("notifications_send", "all"), {"cron": "*/30 * * * *"}, by="user:x")
    path, admin = f"/console/approvals/{change}", readers["admin"]
    text = admin.get(path).text
    assert "approving it will not apply it" in text
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', text)[0]
    answer = admin.post(path, on=path, decision="approve", digest=digest)
    assert "Not applied" in admin.get(answer.headers["location"]).text


def test_a_first_request_and_a_grant_are_shown_as_a_diff_and_decided(readers: dict[str, Reader], db: Engine) -> None:
    grant = people.Grant(job="darkwatch_scan", max_priority=Priority.NORMAL, requests_per_hour=50, ask_first=True)
    with db.begin() as connection:
        people.save_grant(connection, "agent:a", grant, by="user:x")
        made = [
            changes.propose(
                connection, kind=kind, job="darkwatch_scan", tier="agent:a", base_version=1, changes=values,
                by="agent:a", owner="user:owner", now=datetime.now(UTC),
            ).id
            for kind, values in (
                (ChangeKind.FIRST_TRIGGER, {"ask_first": False}), (ChangeKind.GRANT, {"requests_per_hour": 70}),
            )
        ]  # fmt: skip
    first, bounds = (f"/console/approvals/{one}" for one in made)
    listed = readers["operator"].get("/console/approvals").text
    assert "first start" in listed
    assert "agent:a" in listed
    text = readers["admin"].get(bounds).text
    assert "<del>50</del>" in text
    assert "<ins>70</ins>" in text
    assert "decision" not in readers["operator"].get(bounds).text, "bounds are an admin's"
    operator = readers["operator"]
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', operator.get(first).text)[0]
    assert operator.post(first, on=first, decision="approve", digest=digest).headers["location"].endswith("approve")
    assert "approving it will not apply it" in readers["admin"].get(bounds).text
    with db.connect() as connection:
        assert not people.grants(connection, "agent:a")["darkwatch_scan"].ask_first


def test_a_schedule_is_paused_with_a_reason_and_goes_on(readers: dict[str, Reader], db: Engine) -> None:
    path, operator = "/console/schedules/darkwatch_scan/premium", readers["operator"]
    assert operator.post(path, on=path, action="pause", reason="  ").status_code == 422
    assert operator.post(path, on=path, action="pause", reason="x", until="2020-01-01T00:00").status_code == 422
    answer = operator.post(path, on=path, action="pause", reason="the source moves", until="2190-01-01T00:00")
    text = operator.get(answer.headers["location"]).text
    assert "the source moves" in text
    assert "2190-01-01" in text
    assert "the source moves" in operator.get("/console/schedules").text
    assert readers["reader"].post(path, on=path, action="resume").status_code == 403
    assert operator.post(path, on=path, action="resume").status_code == 303
    assert operator.post(path, on=path, action="resume").status_code == 409
    assert {"schedules.pause", "schedules.resume"} <= set(actions(db))


def test_an_alert_is_acknowledged_once_and_a_rule_silenced_for_hours(readers: dict[str, Reader], db: Engine) -> None:
    with db.begin() as connection:
        alert = connection.execute(
            sa.text("""
            INSERT INTO kordant.operator_alerts (id, rule, subject, state, value, since)
            VALUES (kordant.uuid7(), 'dead_letters', 'darkwatch_scan', 'firing', 3, now()) RETURNING id""")
        ).scalar_one()
    path, operator = "/console/alerts", readers["operator"]
    assert readers["reader"].post(path, on=path, alert=str(alert)).status_code == 403
    assert readers["scoped"].post(path, on="/console/dead", alert=str(alert)).status_code == 404
    assert operator.post(path, on=path, alert=str(alert)).status_code == 303
    assert operator.post(path, on=path, alert=str(alert)).status_code == 409
    assert "user:operator" in operator.get(path).text
    silence = {"action": "silence", "rule": "queue_backlog", "subject": "cleanup", "reason": "known"}
    for hours in ("0", "-1", "1e9", "721", "x", "nan"):
        assert operator.post(path, on=path, **silence, hours=hours).status_code == 422
    assert operator.post(path, on=path, **silence, hours="2.5").status_code == 303
    with db.connect() as connection:
        quiet = alerts.silenced(connection, now=datetime.now(UTC) + timedelta(hours=2.4))
        assert quiet == {("queue_backlog", "cleanup")}
        assert not alerts.silenced(connection, now=datetime.now(UTC) + timedelta(hours=2.6))
    assert {"alerts.acknowledge", "alerts.silence"} <= set(actions(db))


def test_health_says_what_the_tables_say(readers: dict[str, Reader], dead: Dead, db: Engine) -> None:
    dead(3)
    dead(2, acknowledged=True)
    with db.begin() as connection:
        connection.execute(sa.text("""
            INSERT INTO kordant.job_requests (id, job, payload, status, priority, run_at, turn_at,
                                              created_at, requested_by)
            SELECT kordant.uuid7(), 'cleanup', '{}', 'pending', p, now() + d * interval '1 hour', now(), now(), 'user:x'
            FROM generate_series(0, 3) p, unnest(ARRAY[-2, -1, 5]) d"""))  # fmt: skip
        operate.pause(connection, "voiceprint_batch", reason="r", by="user:x", now=datetime.now(UTC))
        found = {one.job: one for one in health.jobs(connection, now=datetime.now(UTC), month_shares={})}
    cleanup, scan = found["cleanup"], found["darkwatch_scan"]
    assert (cleanup.due, cleanup.later, cleanup.state) == (8, 4, "ready")
    assert cleanup.oldest_s is not None
    assert 7200 <= cleanup.oldest_s < 7300
    assert (scan.dead, scan.attempts, scan.good_share) == (3, 5, 0.0)
    assert found["voiceprint_batch"].state == "paused"
    text = readers["admin"].get("/console/").text
    assert re.search(r"cleanup</a></th>.*?2 h</td>", text, re.DOTALL)


def test_the_doctor_examines_when_asked_and_keeps_what_it_found(readers: dict[str, Reader], settings: Any) -> None:
    operator = readers["operator"]
    assert "Nothing was examined yet" in operator.get("/console/doctor").text
    assert operator.post("/console/doctor", on="/console/doctor").status_code == 303
    text = readers["reader"].get("/console/doctor").text
    assert "As found at" in text
    assert re.search(r"<th[^>]*>database</th>", text)
    assert readers["scoped"].post("/console/doctor", on="/console/dead").status_code == 404


def test_only_signed_in_readers_get_changes(readers: dict[str, Reader], app: Any, dead: Dead) -> None:
    (request_id,) = dead(1, tenant="t9")
    for path in ("/console/changes", f"/console/requests/{request_id}/events"):
        assert Reader(app).get(path).status_code == 204
    assert readers["scoped"].get(f"/console/requests/{request_id}/events").status_code == 204
    assert "event: end" in readers["admin"].get(f"/console/requests/{request_id}/events").text


def test_a_change_reaches_open_pages_within_a_second(db: Engine) -> None:
    def change(number: int) -> None:
        with db.begin() as connection:
            if number % 2:
                operate.resume(connection, "cleanup")
            else:
                operate.pause(connection, "cleanup", reason="a test", by="user:test", now=datetime.now(UTC))

    async def watch() -> list[float]:
        changes, took_s = Changes(db), list[float]()
        stream: Any = changes.stream()
        told = stream.body_iterator
        assert "watching" in await anext(told)
        assert "changed" in await anext(told)  # the first look
        for number in range(5):
            await run_in_threadpool(change, number)
            began = time.monotonic()
            assert "changed" in await anext(told)
            took_s.append(time.monotonic() - began)
        await told.aclose()
        changes.close()
        return took_s

    assert statistics.median(asyncio.run(watch())) <= 1.0


def test_a_subscription_shows_ids_and_counts_and_nothing_else(
    readers: dict[str, Reader], subscription: UUID, db: Engine
) -> None:
    text = readers["operator"].get(f"/console/subscriptions/{subscription}").text
    assert str(subscription) in text
    assert re.search(r"darkwatch_scan</th><td[^>]*><time", text)
    answer = readers["operator"].get(f"/console/subscriptions?id={subscription}")
    assert answer.headers["location"] == f"/console/subscriptions/{subscription}"
    assert readers["operator"].get(f"/console/subscriptions/{uuid4()}").status_code == 404
    assert str(subscription) not in readers["operator"].get("/console/subscriptions?tier=basic").text


def test_a_subscription_shows_verdicts_and_masks_its_identifiers_only_when_asked_which_is_recorded(
    readers: dict[str, Reader], db: Engine, keyring: Keyring
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example", "+14155550123")
    page = f"/console/subscriptions/{person.subscription_id}"
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, reason, exposures, "
                "new_exposures, covered_until) VALUES (:id, 'hibp', current_date - 1, 'clean', NULL, 0, 0, now()), "
                "(:id, 'hibp', current_date, 'unknown', 'timed_out', 0, 0, now())"
            ),
            {"id": person.subscription_id},
        )
    plain = readers["operator"].get(page).text
    assert "timed_out" in plain
    assert plain.count(">hibp<") == 1  # its newest verdict alone
    recorded = "SELECT actor, target FROM kordant.audit_log WHERE action = 'subscriptions.read_masks'"
    with db.connect() as connection:
        assert connection.execute(sa.text(recorded)).all() == []
    shown = readers["operator"].get(f"{page}?show=masks").text
    for text in (plain, shown):
        assert "jane.roe" not in text
        assert "4155550123" not in text
    assert mask(IdentifierKind.EMAIL, "jane.roe@watched.example") in html.unescape(shown)
    assert mask(IdentifierKind.EMAIL, "jane.roe@watched.example") not in html.unescape(plain)
    with db.connect() as connection:
        (who,) = connection.execute(sa.text(recorded)).all()
    assert tuple(who) == ("user:operator", str(person.subscription_id))


def test_schedules_have_a_forecast_of_a_week(readers: dict[str, Reader], db: Engine, keyring: Keyring) -> None:
    subscribe(db, keyring, "jane.roe@watched.example")
    text = readers["operator"].get("/console/schedules").text
    forecast = text[text.index("Forecast of the next 7 days") :]
    assert len(re.findall(r">bank_sync_schedule<", forecast)) in {7, 8}  # each day, of which the last may be begun
    assert len(re.findall(r">cleanup_schedule<", forecast)) == 1


def test_performance_shows_trends_and_cost(readers: dict[str, Reader], db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.attempt_deltas (at, job, outcome, cause, bucket, attempts, sum_ms, cpu_s) "
                "VALUES (now(), 'cleanup', 'success', '', 3, 10, 10, 1)"
            )
        )
        connection.execute(
            sa.text("INSERT INTO kordant.cost_weeks (week_of, job, tier, cpu_s, subscriptions) "
                    "VALUES (date_trunc('week', now()), 'darkwatch_scan', 'premium', 6, 3)")
        )  # fmt: skip
    text = readers["operator"].get("/console/performance").text
    assert "the slowest first" in text
    row = text[text.index(">premium</td>") :].split("</tr>")[0]
    assert re.findall(r">([^<]+)</td>", row) == ["premium", "6 s", "3", "2 s"]


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


def test_a_week_without_attempts_is_a_gap_of_the_line(
    readers: dict[str, Reader], app: Any, dead: Dead, db: Engine
) -> None:
    dead(1)
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.attempt_deltas SELECT at - make_interval(weeks => n), job, outcome, cause, "
                "bucket, attempts, sum_ms, cpu_s FROM kordant.attempt_deltas, generate_series(3, 4) n"
            )
        )
    page = readers["admin"].get("/console/performance").text
    assert page.count('class="first dot"') == 3
    (line,) = re.findall(r'<path class="first" d="([^"]+)"', page)
    assert (line.count("M"), line.count("L")) == (2, 1)


def cells(text: str, head: str) -> list[str]:
    """The texts of the row that begins with this."""
    row = next(one for one in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL) if f">{head}<" in one)
    return [re.sub(r"<[^>]+>", "", one).strip() for one in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]


@pytest.mark.usefixtures("change")
def test_an_agent_is_shown_with_what_it_used_of_its_grants_and_was_refused(
    readers: dict[str, Reader], db: Engine, keyring: Keyring
) -> None:
    """Of the last 24 hours; the CPU time of a run is shared among its requests, those of others too."""
    grant = people.Grant(job="reports_generate", max_priority=Priority.NORMAL, requests_per_hour=5, requests_per_day=20,
                         concurrent=3, cpu_s_per_day=60, ask_first=True)  # fmt: skip
    ask = """INSERT INTO kordant.job_requests (id, job, payload, priority, run_at, turn_at, created_at, requested_by,
             status, ended_at) VALUES (:id, :job, '{}', 2, now(), now(), now(), :by, :status, now())"""
    ran = """INSERT INTO kordant.job_attempts (request_id, attempt, lease_id, worker, started_at, ended_at, outcome,
             cpu_s) VALUES (:id, 1, :lease, 'w', now(), now(), 'success', 40)"""
    yesterday = UUID(int=int((datetime.now(UTC) - timedelta(hours=25)).timestamp() * 1000) << 80 | 1)
    lease = uuid4()
    with db.begin() as connection:
        people.save_grant(connection, "agent:a", grant, by="user:owner")
        for status, request_id, by in (
            ("completed", uuid7(), "agent:a"), ("completed", uuid7(), "user:b"), ("dead", uuid7(), "agent:a"),
            ("pending", uuid7(), "agent:a"), ("completed", yesterday, "agent:a"),
        ):  # fmt: skip
            values = {"id": request_id, "job": grant.job, "by": by, "status": status, "lease": lease}
            connection.execute(sa.text(ask), values)
            if status == "completed":
                connection.execute(sa.text(ran), values)
        denied = Entry(actor="agent:a", role="agent", source="http", action="denied", target_kind="operation",
                       target_id="x", outcome=Outcome.DENIED, rule="agent.no_grant_of_job")  # fmt: skip
        log.record(connection, keyring, denied, denied)
        counts.add_denial(connection, "agent.no_grant_of_job", "agent")
    listed = readers["operator"].get("/console/agents").text
    assert cells(listed, "agent:a")[1:] == ["on", "user:owner", "1", "3", "1", "1"]
    assert cells(listed, "agent.no_grant_of_job")[1:] == ["1"]
    text = readers["operator"].get("/console/agents/agent:a").text
    shown = ["normal", "5", "3 / 20", "1 / 3", "13 / 60", "1", "–", "asks a person"]
    assert cells(text, "reports_generate")[1:] == shown
    assert cells(text, "agent.no_grant_of_job")[1] == "2"
    assert "notifications_send" in text  # its proposal
    assert readers["operator"].get("/console/agents/agent:nobody").status_code == 404
