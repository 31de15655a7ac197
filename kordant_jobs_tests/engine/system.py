"""A whole system of a test's own: code server, warm process, daemon and webserver on a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.stack import Stack
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store.attempts import Attempt, attempts_of
from kordant_jobs.engine.store.requests import Filter, Request, find, get
from kordant_jobs.postgres import database
from kordant_jobs_tests.engine.toy_app import EFFECTS, SYSTEM

LEASE_S = 3
REPOSITORY = '{repositoryLocationName: "kordant_jobs", repositoryName: "__repository__"}'


@dataclass
class System:
    """What a test does with it, and sees of it."""

    stack: Stack
    db: Engine
    environ: dict[str, str]

    def enqueue(self, job: str = "chore", *, priority: Priority | None = None, **fields: Any) -> UUID:
        payload = SYSTEM.rows[job].payload(**fields)
        with self.db.begin() as connection:
            return enqueue(connection, payload, requested_by="test", priority=priority, catalog=SYSTEM.rows)

    def request(self, request_id: UUID) -> tuple[Request, list[Attempt]]:
        with self.db.connect() as connection:
            found = get(connection, request_id)
            assert found
            return found, attempts_of(connection, request_id)

    def all(self, **where: Any) -> list[Request]:
        with self.db.connect() as connection:
            return find(connection, Filter(**where))

    def ended(self, request_id: UUID, timeout_s: float = 60) -> tuple[Request, list[Attempt]]:
        until(lambda: self.request(request_id)[0].ended_at, timeout_s)
        return self.request(request_id)

    def effects(self) -> list[int]:
        with self.db.connect() as connection:
            return list(connection.execute(sa.text("SELECT number FROM toy_effects ORDER BY 1")).scalars())

    def execute(self, statement: str, **values: Any) -> None:
        with self.db.begin() as connection:
            connection.execute(sa.text(statement), values)

    def graphql(self, query: str, **variables: Any) -> Any:
        answer = httpx.post(self.stack.graphql_url, json={"query": query, "variables": variables}, timeout=60)
        data = answer.json()
        assert "errors" not in data, data
        return data["data"]

    def launch(self, job: str, config: dict[str, Any], tags: dict[str, str] | None = None) -> str:
        """As the launchpad does; the run's id."""
        answer = self.graphql(
            """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
                 __typename ... on LaunchRunSuccess { run { runId } } } }""",
            params={
                "runConfigData": config,
                "selector": {
                    "repositoryLocationName": "kordant_jobs",
                    "repositoryName": "__repository__",
                    "jobName": job,
                },
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]},
            },
        )["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def run(self, run_id: str) -> dict[str, Any]:
        """The run as the UI shows it."""
        query = """query($id: ID!) { runOrError(runId: $id) { ... on Run {
            status parentRunId rootRunId tags { key value }
            eventConnection(afterCursor: null) { events { __typename ... on MessageEvent { message } } } } } }"""
        found: dict[str, Any] = self.graphql(query, id=run_id)["runOrError"]
        found["tags"] = {tag["key"]: tag["value"] for tag in found["tags"]}
        found["kinds"] = [event["__typename"] for event in found["eventConnection"]["events"]]
        return found

    def dagster(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dagster", *words],
            env=self.environ,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )


def until(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
    return found


@contextmanager
def system_on(url: str, folder: Path, **more: str) -> Iterator[System]:
    """A system that serves chores on this database, up and answering."""
    db = database.create_engine(url)
    with db.begin() as connection:
        connection.execute(sa.text(EFFECTS))
        connection.execute(sa.text("CREATE TABLE toy_wishes (number int)"))
    environ = {
        **os.environ,
        "KORDANT_STATE_DIR": str(folder),
        "KORDANT_DATABASE_URL": url,
        "KORDANT_DAGSTER_URL": database.dagster_url(url),
        "KORDANT_LAUNCHER": "warm",
        "KORDANT_LEASE_S": str(LEASE_S),
        "KORDANT_STOP_GRACE_S": "3",
        "KORDANT_WARM_GRACE_S": "3",
        "DAGSTER_HOME": str(folder / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PYTHONPATH": str(CHECKOUT),
        **more,
    }
    try:
        config = StackConfig(checkout=CHECKOUT, state_dir=folder, environ=environ, web_port=3860, system=SYSTEM)
        with Stack(config) as stack:
            yield System(stack=stack, db=db, environ={**environ, **stack.environ})
    finally:
        db.dispose()
