"""Dagster's UI behind the door: who gets in, what passes, what is recorded. The webserver behind it is Dagster's."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import websockets
from dagster_graphql.schema import create_schema
from graphql import OperationType
from sqlalchemy import Engine
from websockets.typing import Origin, Subprotocol

from kordant_jobs.api.app import Backend, application
from kordant_jobs.cli.readiness import free_port
from kordant_jobs.domain.access.dagster_ui import MUTATIONS, REFUSED, NotAllowed, read
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.pages.ui_guard import PROXY_HEADER
from kordant_jobs.store.access import people
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import Api, token_for
from kordant_jobs_tests.api.served import served

SECRET = "a-secret-of-this-start"
CODE = """
import dagster as dg

@dg.op
def nothing() -> None: ...

@dg.job
def small(): nothing()

hourly = dg.ScheduleDefinition(name="hourly", job=small, cron_schedule="0 * * * *")
defs = dg.Definitions(jobs=[small], schedules=[hourly])
"""
LAUNCH = """mutation L($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
SELECTOR = {"repositoryLocationName": "small.py", "repositoryName": "__repository__", "jobName": "small"}
PARAMS = {"p": {"selector": SELECTOR, "runConfigData": {}, "mode": "default"}}
STOP = "mutation S($id: String!) { stopRunningSchedule(id: $id) { __typename } }"


def test_every_mutation_of_dagster_is_offered_to_a_role_or_refused() -> None:
    schema = create_schema().graphql_schema
    assert schema.mutation_type is not None
    assert set(schema.mutation_type.fields) == set(MUTATIONS) | REFUSED
    assert not set(MUTATIONS) & REFUSED


@pytest.mark.parametrize("query", [
    "mutation { wipeAssets { __typename } } mutation { launchRun { __typename } }",
    "mutation { ...f } fragment f on Mutation { launchRun { __typename } }",
    "mutation { ... on Mutation { launchRun { __typename } } }",
    "mutation { a: logTelemetry { __typename } b: launchRun { __typename } }",
    "mutation { launchRun @include(if: true) { __typename } }",
    "subscription { pipelineRunLogs { __typename } }",
    "{" + "a {" * 60 + "b" + "}" * 60 + "}",
    "{" * 100_000,
    "{ a " * 30_000,
    "nonsense",
    None,
])  # fmt: skip
def test_a_document_that_could_hide_something_is_not_read(query: Any) -> None:
    with pytest.raises(NotAllowed):
        read(query, None, kinds=frozenset({OperationType.QUERY, OperationType.MUTATION}))


def test_an_alias_hides_no_mutation_and_config_stays_out_of_the_log() -> None:
    query = "mutation($p: P) { x: launchRun(executionParams: $p) { __typename } }"
    values = {"p": {"selector": SELECTOR, "runConfigData": {"id": "secret"}, "executionMetadata": {"runId": "other"}}}
    (found,) = read(query, values, kinds=frozenset({OperationType.MUTATION}))
    assert found.field == "launchRun"
    assert found.named == {"jobName": "small", "repositoryLocationName": "small.py"}


@pytest.fixture
def dagster(tmp_path: Path) -> Iterator[str]:
    """Where Dagster's webserver answers whoever shows the secret; its code is one job and one schedule."""
    (tmp_path / "small.py").write_text(CODE)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    port = free_port(3880)
    environ = {"DAGSTER_HOME": str(tmp_path), "KORDANT_UI_SECRET": SECRET, "KORDANT_STATE_DIR": str(tmp_path / "state"),
               "PATH": "/usr/bin:/bin", "DAGSTER_DISABLE_TELEMETRY": "1"}  # fmt: skip
    command = [sys.executable, "-m", "kordant_jobs.pages.dagster_ui", "-h", "127.0.0.1", "-p", str(port),
               "--path-prefix", "/dagster", "-f", "small.py"]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/dagster"
            while True:
                try:
                    httpx.get(f"{url}/server_info", headers={PROXY_HEADER: SECRET}, timeout=30).raise_for_status()
                    break
                except httpx.HTTPError:
                    assert process.poll() is None, (tmp_path / "log").read_text()
                    with pytest.raises(subprocess.TimeoutExpired):
                        process.wait(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def graphql(token: str | None, query: str, variables: Any = None, **headers: str) -> dict[str, Any]:
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    return {"json": {"query": query, "variables": variables}, "headers": shown | headers, "timeout": 60}


def recorded(db: Engine) -> list[tuple[str, str, str]]:
    query = """SELECT actor, action, entry::jsonb ->> 'outcome' FROM kordant.audit_log
               WHERE entry::jsonb ->> 'source' = 'dagster' ORDER BY seq"""
    with db.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


@pytest.mark.long
def test_the_ui_is_reached_by_people_only_and_each_mutation_is_judged_and_recorded(
    dagster: str, db: Engine, keyring: Keyring, callers: dict[str, Api]
) -> None:
    assert httpx.get(f"{dagster}/server_info").status_code == 403, "nobody reaches it past the door"
    assert httpx.post(f"{dagster}/graphql", json={"query": "{ version }"}).status_code == 403
    operator, admin = callers["operator"].token, callers["admin"].token
    viewer = _viewer(db, keyring)
    app = application(Backend(db=db, keyring=keyring, ui_secret=SECRET, stack=lambda: {"dagster": dagster}))
    with served(app) as base:
        door, ask = f"{base}/dagster", f"{base}/dagster/graphql"
        stranger = httpx.get(f"{door}/runs", headers={"Accept": "text/html"})
        assert (stranger.status_code, stranger.headers["location"]) == (303, "/console/sign-in?to=%2Fdagster%2Fruns")
        assert httpx.post(ask, **graphql(None, "{ version }")).status_code == 401
        for role in ("service", "agent"):
            assert httpx.post(ask, **graphql(callers[role].token, "{ version }")).status_code in {403, 404}

        page = _signed_in(base, operator or "")
        index = page.get(f"{door}/")
        assert index.status_code == 200
        assert index.headers["x-frame-options"] == "DENY"
        script = re.findall(r'src="(/dagster/[^"]+\.js)"', index.text)[0]
        assert page.get(base + script).status_code == 200
        assert page.get(base + script, headers={"If-None-Match": "x"}).headers["cache-control"] == "no-cache"
        ours = {"Origin": base}
        assert page.post(ask, **graphql(None, "{ version }", **ours)).json()["data"]["version"]

        for foreign in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            assert page.post(ask, **graphql(None, "{ version }", **foreign)).status_code == 403, foreign
        rebound = graphql(operator, "{ version }", Host="evil.example")
        assert httpx.post(ask, **rebound).json()["rule"] == "dagster.host"
        assert page.get(ask, params={"query": LAUNCH}).status_code == 404
        assert page.get(f"{door}/logs/x/y/out").status_code == 404
        assert page.get(f"{door}/%6cogs/x/y/out").status_code == 404
        assert page.put(f"{door}/runs", headers=ours).status_code == 404
        assert page.post(ask, content=b"query=x", headers=ours).status_code == 415
        assert page.post(ask, json=[{"query": "{ version }"}], headers=ours).status_code == 422

        assert httpx.post(ask, **graphql(viewer, "{ version }")).status_code == 200
        refused = httpx.post(ask, **graphql(viewer, LAUNCH, PARAMS)).json()
        assert refused["rule"] == "scope.jobs:operate"
        launched = page.post(ask, **graphql(None, LAUNCH, PARAMS, **ours)).json()["data"]["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        stopped = page.post(ask, **graphql(None, STOP, {"id": "x"}, **ours))
        assert (stopped.status_code, stopped.json()["rule"]) == (403, "operator.no_dagster_admin")
        by_admin = httpx.post(ask, **graphql(admin, STOP, {"id": "x"})).json()
        assert by_admin["data"]["stopRunningSchedule"]["__typename"]
        wiped = httpx.post(ask, **graphql(admin, 'mutation { deleteRun(runId: "x") { __typename } }')).json()
        assert wiped["rule"] == "dagster.mutation_not_offered"
        asyncio.run(_watch(base, page, launched["run"]["runId"]))
    assert recorded(db) == [
        ("user:viewer", "denied", "denied"),
        ("user:operator", "dagster.launchRun", "allowed"),
        ("user:operator", "denied", "denied"),
        ("user:admin", "dagster.stopRunningSchedule", "allowed"),
        ("user:admin", "denied", "denied"),
    ]


def _viewer(db: Engine, keyring: Keyring) -> str:
    token_for(db, keyring, "user:viewer", Role.OPERATOR)
    with db.begin() as connection:
        return people.create_token(connection, keyring, "user:viewer", (TokenScope.JOBS_READ,), days=1, by="user:test",
                                   now=datetime.now(UTC))  # fmt: skip


def _signed_in(base: str, token: str) -> httpx.Client:
    client = httpx.Client()
    form = client.get(f"{base}/console/sign-in?to=/dagster/runs").text
    code = re.findall(r'name="form_code" value="([0-9a-f]+)"', form)[0]
    sent = {"form_code": code, "token": token, "to": "/dagster/runs"}
    answer = client.post(f"{base}/console/sign-in", data=sent)
    assert answer.headers["location"] == "/dagster/runs"
    return client


async def _watch(base: str, page: httpx.Client, run_id: str) -> None:
    """A subscription passes; a mutation over the WebSocket, a foreign Origin and a stranger end it."""
    url = base.replace("http", "ws") + "/dagster/graphql"
    cookie = {"Cookie": "; ".join(f"{one.name}={one.value}" for one in page.cookies.jar if one.path == "/dagster")}
    follow = "subscription($id: ID!) { pipelineRunLogs(runId: $id, cursor: null) { __typename } }"
    attempts: tuple[tuple[dict[str, str], str | None], ...] = (
        ({}, base), (cookie, "http://evil.example"), (cookie, None)
    )  # fmt: skip
    for headers, origin in attempts:
        with pytest.raises(websockets.InvalidStatus):
            await _connect(url, headers, origin)
    async with await _connect(url, cookie, base) as socket:
        await socket.send(json.dumps({"type": "connection_init"}))
        start = {"id": "1", "type": "start", "payload": {"query": follow, "variables": {"id": run_id}}}
        await socket.send(json.dumps(start))
        kinds = [json.loads(await socket.recv())["type"] for _ in range(2)]
        assert kinds == ["connection_ack", "data"]
        await socket.send(json.dumps({**start, "payload": {"query": LAUNCH, "variables": PARAMS}}))
        with suppress(websockets.ConnectionClosedError):
            async for _ in socket:  # until the door closes it
                pass
        assert socket.close_code == 1008


async def _connect(url: str, headers: dict[str, str], origin: str | None) -> websockets.ClientConnection:
    of = Origin(origin) if origin else None
    return await websockets.connect(
        url, subprotocols=[Subprotocol("graphql-ws")], additional_headers=headers, origin=of
    )
