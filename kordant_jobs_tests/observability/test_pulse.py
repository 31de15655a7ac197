"""The dead man's switch says once that the daemon fell silent, and pings only while all is well."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.observability.pulse import Pulse
from kordant_jobs.postgres import database


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str], list[int]]]:
    """A server that notes who asks, and answers with the last of the codes."""
    got: list[str] = []
    codes = [200]

    class Watcher(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.path)
            self.send_response(codes[-1])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Watcher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/ping/secret", got, codes
    server.shutdown()
    server.server_close()


def signs(db: Engine, ago: str) -> None:
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE SCHEMA IF NOT EXISTS dagster; CREATE TABLE IF NOT EXISTS dagster.daemon_heartbeats "
                "(daemon_type text, daemon_id text, timestamp timestamp); DELETE FROM dagster.daemon_heartbeats; "
                "INSERT INTO dagster.daemon_heartbeats "
                f"VALUES ('SENSOR', 'a', now() AT TIME ZONE 'UTC' - interval '{ago}')"
            )
        )


def test_silence_and_its_end_are_said_once_each(db: Engine) -> None:
    said: list[str] = []
    watch = Pulse("", None, said.append)
    assert not watch.check(db)  # nothing has started yet
    signs(db, "10 s")
    assert watch.check(db)
    signs(db, "5 min")
    assert not watch.check(db)
    assert not watch.check(db)
    signs(db, "1 s")
    assert watch.check(db)
    assert [line.partition(":")[0] for line in said] == [
        "the daemon has been silent for 300 s (SENSOR)",
        "the daemon gives signs again (SENSOR)",
    ]


def test_a_database_that_is_away_is_said_once_and_so_is_its_return(db: Engine) -> None:
    said: list[str] = []
    watch = Pulse("", None, said.append)
    away = database.create_engine("postgresql://127.0.0.1:1/nothing")
    assert not watch.check(away)
    assert not watch.check(away)
    watch.check(db)
    assert [line.partition("(")[0] for line in said] == ["the database does not answer ", "the database answers again"]


def test_it_pings_while_all_is_well_and_not_otherwise(
    db: Engine, database_url: str, asked: tuple[str, list[str], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got, codes = asked
    said: list[str] = []
    signs(db, "5 min")
    looks = threading.Semaphore(0)
    watch = Pulse(database_url, url, said.append, check_every_s=0.02, ping_s=0.02)
    check = watch.check

    def counted(engine: Engine) -> bool:
        looks.release()
        return check(engine)

    monkeypatch.setattr(watch, "check", counted)
    watch.start()
    for _ in range(3):
        assert looks.acquire(timeout=20)
    assert got == []
    signs(db, "1 s")
    for _ in range(3):
        assert looks.acquire(timeout=20)
    codes.append(500)
    for _ in range(3):
        assert looks.acquire(timeout=20)
    watch.close()
    assert set(got) == {"/ping/secret"}
    assert [line for line in said if "KORDANT_HEARTBEAT_URL does not take the ping" in line]
    assert not any("secret" in line for line in said)
