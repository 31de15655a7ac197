"""A changed row is in the file and asked to be loaded within seconds; what cannot be loaded is said and tried again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from kordant_jobs.domain.schedules.rows import StoredScheduleRow
from kordant_jobs.triggers import copy, price_list, reloader
from kordant_jobs_tests.triggers.test_tick import NET

GOOD = {"__typename": "WorkspaceLocationEntry", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
BAD = {
    "__typename": "WorkspaceLocationEntry",
    "locationOrLoadError": {"__typename": "PythonError", "message": "no such thing\nand more"},
}


@dataclass
class Webserver:
    """Answers as Dagster's webserver does when it is asked to reload: with `answers`, the last one for ever."""

    answers: list[dict[str, Any]] = field(default_factory=lambda: [GOOD])
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def webserver() -> Iterator[Webserver]:
    served = Webserver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append(body["variables"]["location"])
            answer = served.answers.pop(0) if len(served.answers) > 1 else served.answers[0]
            content = json.dumps({"data": {"reloadRepositoryLocation": answer}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield served
        server.shutdown()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def running(
    listed: Engine, database_url: str, webserver: Webserver, tmp_path: Path, said: list[str]
) -> Iterator[reloader.ScheduleReloader]:
    reloader.prepare(database_url, tmp_path, said.append)
    one = reloader.ScheduleReloader(database_url, tmp_path, reloader.Dagster(url=webserver.url), said.append)
    one.start()
    yield one
    one.close()


def until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def net(folder: Path) -> StoredScheduleRow:
    return next(one for one in copy.read(folder) if one.row.key == NET)


def change(db: Engine, cron: str) -> None:
    with db.begin() as connection:
        price_list.change(connection, NET, {"cron": cron}, by="ann")


def test_a_change_is_loaded_and_no_change_is_not(
    listed: Engine, running: reloader.ScheduleReloader, webserver: Webserver, tmp_path: Path, said: list[str]
) -> None:
    time.sleep(0.5)
    assert webserver.asked == [], "what was loaded at the start is not loaded again"
    change(listed, "7 * * * *")
    until(lambda: webserver.asked == ["kordant_jobs"])
    assert net(tmp_path).row.cron == "7 * * * *"
    assert said == []


def test_a_reload_that_fails_is_said_and_tried_again(
    listed: Engine, running: reloader.ScheduleReloader, webserver: Webserver, tmp_path: Path, said: list[str]
) -> None:
    webserver.answers = [BAD, GOOD]
    change(listed, "8 * * * *")
    until(lambda: len(webserver.asked) == 2)
    assert said == [
        "the changed schedules are not live yet (the code cannot be loaded: no such thing; see code-server.log); "
        "trying again"
    ]
    until(lambda: net(tmp_path).row.cron == "8 * * * *")


def test_a_row_made_invalid_by_sql_keeps_its_last_good_form_and_others_go_on(
    listed: Engine, running: reloader.ScheduleReloader, webserver: Webserver, tmp_path: Path, said: list[str]
) -> None:
    with listed.begin() as connection:
        connection.exec_driver_sql("UPDATE kordant.scheduler_config SET cron = 'often' WHERE tier = 'premium'")
    change(listed, "9 * * * *")
    until(lambda: net(tmp_path).row.cron == "9 * * * *")
    premium = [one.row.cron for one in copy.read(tmp_path) if one.row.key == ("darkwatch_scan", "premium")]
    assert premium == ["*/15 2-5 * * *"]
    assert any("darkwatch_scan for premium: cron 'often' has 1 fields" in words for words in said)


def test_without_the_table_the_last_good_copy_stays(
    db: Engine, database_url: str, tmp_path: Path, said: list[str]
) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql("DROP TABLE kordant.scheduler_config CASCADE")
    copy.write(tmp_path, copy.seeded())
    reloader.prepare(database_url, tmp_path, said.append)
    assert copy.read(tmp_path) == copy.seeded()
    assert "db upgrade" in said[0]
