"""Sign-in through an OpenID provider: what it opens, and each way in which an answer does not count."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.openid import OpenIdProvider
from kordant_jobs.api.app import Backend, application
from kordant_jobs.api.asked import OpenId
from kordant_jobs.domain.access.principals import Role, person_id
from kordant_jobs.lab.fakes.openid import FakeOpenId
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.console.conftest import Reader

START, BACK = "/console/sign-in/openid", "/console/sign-in/back"
ROLES = {"kordant-ops": Role.OPERATOR, "kordant-admins": Role.ADMIN}


@pytest.fixture(scope="module")
def fake_of_module() -> Iterator[FakeOpenId]:
    with FakeOpenId() as running:
        yield running


@pytest.fixture
def fake(fake_of_module: FakeOpenId) -> FakeOpenId:
    """The provider without a lie in it."""
    fake = fake_of_module
    fake.person, fake.lies, fake.sign_as = {"sub": "jane", "groups": ["kordant-ops"]}, {}, "RS256"
    fake.denies, fake.names_itself, fake.wrong_issuer, fake.is_away = False, True, "", False
    return fake


@pytest.fixture
def make(db: Engine, keyring: Keyring, fake: FakeOpenId, app: Any) -> Callable[..., Any]:
    def backend(*, secret: str = "fake-secret", public_url: str | None = None) -> Any:
        provider = OpenIdProvider(issuer=fake.url, client_id="kordant", client_secret=secret)
        openid = OpenId(provider=provider, role_claim="groups", roles=ROLES)
        return application(Backend(db=db, keyring=keyring, openid=openid, public_url=public_url))

    return backend


def visit(url: str) -> str:
    """Where the provider sends the browser."""
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def away(reader: Reader, to: str = "/console/") -> str:
    """The provider's page that the console sends the browser to."""
    answer = reader.get(START, params={"to": to})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def back(reader: Reader, url: str) -> httpx.Response:
    parts = urlsplit(url)
    assert parts.path == BACK
    return reader.get(f"{BACK}?{parts.query}")


def sign_in(reader: Reader, to: str = "/console/") -> httpx.Response:
    return back(reader, visit(away(reader, to)))


def test_a_person_whom_the_provider_knows_is_in_with_the_role_of_their_group(
    make: Callable[..., Any], fake: FakeOpenId, db: Engine
) -> None:
    reader = Reader(make())
    assert START in reader.get("/console/sign-in").text
    answer = sign_in(reader, "/console/dead?job=bank_sync")
    assert answer.status_code == 200
    assert 'content="0;url=/console/dead?job=bank_sync"' in answer.text
    page = reader.get("/console/")
    assert page.status_code == 200
    person = person_id(fake.url, "jane")
    assert f"{person} (operator)" in page.text
    assert "jane" not in page.text
    with db.connect() as connection:
        for table in ("principals", "api_tokens", "audit_log"):
            rows = list(connection.execute(sa.text(f"SELECT t::text FROM kordant.{table} t")).scalars())
            assert rows
            assert not any("jane" in row for row in rows)


def test_the_door_to_dagsters_ui_opens_for_the_same_session(make: Callable[..., Any]) -> None:
    reader = Reader(make())
    page = {"Accept": "text/html"}
    refused = reader.get("/dagster/runs", headers=page)
    assert refused.headers["location"] == "/console/sign-in?to=%2Fdagster%2Fruns"
    assert sign_in(reader, "/dagster/runs").status_code == 200
    assert reader.get("/dagster/runs", headers=page).status_code == 503  # let in; there is no webserver in this test


def test_the_next_sign_in_gives_the_role_of_that_day(make: Callable[..., Any], fake: FakeOpenId) -> None:
    app = make()
    for groups, role in ((["kordant-ops", "kordant-admins"], "admin"), (["kordant-ops"], "operator")):
        fake.person = {"sub": "jane", "groups": groups}
        reader = Reader(app)
        assert sign_in(reader).status_code == 200
        assert f"({role})" in reader.get("/console/").text


def test_who_signed_in_at_the_provider_long_ago_does_so_again_before_a_decision(
    make: Callable[..., Any], fake: FakeOpenId, change: UUID
) -> None:
    fake.person, fake.lies = {"sub": "jane", "groups": ["kordant-admins"]}, {"auth_time": int(time.time()) - 3600}
    reader, path = Reader(make()), f"/console/approvals/{change}"
    assert sign_in(reader).status_code == 200
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', reader.get(path).text)[0]
    again = reader.post(path, on=path, decision="approve", digest=digest).headers["location"]
    start = html.unescape(re.findall(rf'href="({START}[^"]*)"', reader.get(again).text)[0])
    provider = reader.get(start).headers["location"]
    assert "prompt=login" in provider
    assert back(reader, visit(provider)).status_code == 403  # the provider lets the old login count
    fake.lies = {"auth_time": None}
    assert back(reader, visit(reader.get(start).headers["location"])).status_code == 403
    fake.lies = {}
    assert back(reader, visit(reader.get(start).headers["location"])).status_code == 200
    answer = reader.post(path, on=path, decision="approve", digest=digest)
    assert answer.headers["location"].endswith("done=approve")


@pytest.mark.parametrize("groups", [[], ["kordant-ops-readers"], ["ops"], None, [["kordant-ops"]], {"kordant-ops": 1}])
def test_a_person_without_a_mapped_group_is_not_let_in(
    make: Callable[..., Any], fake: FakeOpenId, db: Engine, groups: Any
) -> None:
    fake.person = {"sub": "eve", "groups": groups}
    reader = Reader(make())
    answer = sign_in(reader)
    assert answer.status_code == 403
    assert reader.session is None
    with db.connect() as connection:
        rule = sa.text("SELECT entry::jsonb ->> 'rule' FROM kordant.audit_log ORDER BY seq DESC LIMIT 1")
        assert connection.execute(rule).scalar_one() == "openid.no_role"
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.principals")).scalar_one() == 0


LIES: dict[str, dict[str, Any]] = {
    "another_nonce": {"nonce": "n-of-another-sign-in"},
    "no_nonce": {"nonce": None},
    "another_audience": {"aud": "another-client"},
    "one_of_two_audiences": {"aud": ["kordant", "another-client"]},
    "for_another_party": {"aud": ["kordant", "another-client"], "azp": "another-client"},
    "another_issuer": {"iss": "https://evil.example"},
    "expired": {"exp": int(time.time()) - 600},
    "never_ends": {"exp": None},
    "from_the_future": {"iat": int(time.time()) + 3600},
    "an_old_login": {"auth_time": int(time.time()) - 14 * 3600},
    "of_another_access_token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    "nobody": {"sub": ""},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_id_token_that_lies_opens_nothing(make: Callable[..., Any], fake: FakeOpenId, lie: str) -> None:
    fake.lies = LIES[lie]
    reader = Reader(make())
    assert sign_in(reader).status_code == 403
    assert reader.session is None
    assert reader.get("/console/").headers["location"].startswith("/console/sign-in")


@pytest.mark.parametrize("forged", ["none", "HS256", "stranger"])
def test_an_id_token_that_the_providers_key_did_not_sign_opens_nothing(
    make: Callable[..., Any], fake: FakeOpenId, forged: str
) -> None:
    fake.sign_as = forged
    reader = Reader(make())
    assert sign_in(reader).status_code == 403
    assert reader.session is None


def test_new_keys_of_the_provider_are_fetched_and_not_for_each_forgery(
    make: Callable[..., Any], fake: FakeOpenId, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make()
    assert sign_in(Reader(app)).status_code == 200
    asked = fake.count("/keys")
    fake.rotate()
    assert sign_in(Reader(app)).status_code == 403, "within 10 s of the last time they are not asked for again"
    assert fake.count("/keys") == asked
    monkeypatch.setattr("kordant_jobs.adapters.openid.KEYS_REFETCH_MIN_S", 0.0)
    assert sign_in(Reader(app)).status_code == 200
    assert fake.count("/keys") == asked + 1
    assert sign_in(Reader(app)).status_code == 200
    assert fake.count("/keys") == asked + 1


def test_an_answer_counts_once_and_in_the_browser_that_left(make: Callable[..., Any], fake: FakeOpenId) -> None:
    app = make()
    reader, other = Reader(app), Reader(app)
    url = visit(away(reader))
    away(other)
    assert back(other, url).status_code == 403, "another browser, which is on a way of its own"
    assert Reader(app).get(f"{BACK}?{urlsplit(url).query}").status_code == 403, "one that never left"
    assert back(reader, url).status_code == 200
    assert back(reader, url).status_code == 403, "the same again"
    assert other.session is None
    assert fake.count("/token") >= 1


def test_a_changed_state_code_or_cookie_is_refused(make: Callable[..., Any], fake: FakeOpenId) -> None:
    app = make()
    for change in ("state", "code", "cookie", "no_code"):
        reader = Reader(app)
        query = dict(httpx.URL(visit(away(reader))).params)
        asked = fake.count("/token")
        if change == "cookie":
            [cookie] = [one for one in reader.cookies.jar if one.name == "kordant_console_away"]
            cookie.value = f"x{cookie.value}"
        elif change == "no_code":
            del query["code"]
        else:
            query[change] += "x"
        assert reader.get(BACK, params=query).status_code == 403
        assert reader.session is None
        assert fake.count("/token") == asked + (change == "code"), "only a code that may be ours is redeemed"


def test_a_person_who_declines_or_took_too_long_gets_a_message(
    make: Callable[..., Any], fake: FakeOpenId, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.denies = True
    assert sign_in(Reader(make())).status_code == 403
    fake.denies = False
    monkeypatch.setattr("kordant_jobs.api.console.session.AWAY", timedelta(seconds=-1))
    assert sign_in(Reader(make())).status_code == 403


def test_an_answer_that_names_another_issuer_or_none_is_refused(make: Callable[..., Any], fake: FakeOpenId) -> None:
    fake.wrong_issuer = "https://evil.example"
    assert sign_in(Reader(make())).status_code == 403
    fake.wrong_issuer = ""
    reader = Reader(make())
    query = dict(httpx.URL(visit(away(reader))).params)
    del query["iss"]
    assert reader.get(BACK, params=query).status_code == 403
    fake.names_itself = False
    assert sign_in(Reader(make())).status_code == 200


@pytest.mark.parametrize(
    "to", ["https://evil.example/", "//evil.example", "/console/../api", "/\\evil.example", "javascript:1"]
)
def test_after_the_sign_in_no_other_site_is_gone_to(make: Callable[..., Any], to: str) -> None:
    answer = sign_in(Reader(make()), to)
    assert answer.status_code == 200
    assert 'content="0;url=/console/"' in answer.text
    assert "evil" not in answer.text


def test_the_provider_returns_to_us_whatever_the_host_header_says(make: Callable[..., Any]) -> None:
    reader = Reader(make())
    assert reader.get(START, headers={"Host": "evil.example"}).status_code == 422
    behind = Reader(make(public_url="https://jobs.example"))
    url = httpx.URL(behind.get(START, headers={"Host": "evil.example"}).headers["location"])
    assert url.params["redirect_uri"] == "https://jobs.example/console/sign-in/back"
    assert url.params["code_challenge_method"] == "S256"
    assert "code_verifier" not in url.params


def test_a_provider_that_is_away_or_refuses_us_is_said(make: Callable[..., Any], fake: FakeOpenId) -> None:
    assert sign_in(Reader(make(secret="wrong"))).status_code == 403
    fake.is_away = True
    answer = Reader(make()).get(START)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


def test_signing_out_and_disabling_end_a_session_at_the_server(
    make: Callable[..., Any], fake: FakeOpenId, db: Engine
) -> None:
    reader = Reader(make())
    assert sign_in(reader).status_code == 200
    stolen = reader.session
    assert reader.post("/console/sign-out", on="/console/").status_code == 303
    with db.connect() as connection:
        ended = "SELECT bool_and(revoked_at IS NOT NULL) FROM kordant.api_tokens"
        assert connection.execute(sa.text(ended)).scalar_one()
    thief = Reader(make())  # another process, which remembers no token
    thief.cookies.set("kordant_console", stolen or "", path="/console")
    assert thief.get("/console/").status_code == 303
    with db.begin() as connection:
        now = datetime.now(UTC)
        people.disable_principal(connection, person_id(fake.url, "jane"), by="user:test", now=now)
    assert sign_in(Reader(make())).status_code == 403


def test_without_a_provider_there_is_no_such_way_in(app: Any) -> None:
    reader = Reader(app)
    assert START not in reader.get("/console/sign-in").text
    assert reader.get(START).status_code == 404
    assert reader.get(BACK).status_code == 404
