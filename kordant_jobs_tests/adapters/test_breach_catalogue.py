"""The breach catalogue: HIBP's model as it comes, made safe to show; whatever else comes is refused in one line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.breach_catalogue import HttpCatalogue, open_catalogue, parse_catalogue
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.errors import CatalogueUnreadable, SourceUnavailable
from kordant_jobs.store.darkwatch.breaches import save_catalogue
from kordant_jobs.store.darkwatch.tables import breaches

REAL = CHECKOUT.parent / "shared" / "data" / "hibp-breaches-2025-11-26.json"

ONE = {
    "Name": "Shoply",
    "Title": "Shoply",
    "Domain": "shoply.example",
    "BreachDate": "2025-03-01",
    "AddedDate": "2025-04-02T10:11:12Z",
    "ModifiedDate": "2025-04-02T10:11:12Z",
    "PwnCount": 12,
    "Description": 'In <a href="https://x.example" onclick="steal()">March</a><script>alert(1)</script>, …',
    "DataClasses": ["Email addresses", "Passwords"],
    "IsVerified": True,
    "Attribution": None,
    "SomethingNew": {"a": 1},
}


def _content(*entries: object) -> bytes:
    return json.dumps(list(entries)).encode()


def test_an_entry_becomes_a_breach_with_what_we_do_not_know_kept_aside() -> None:
    [breach], rejected = parse_catalogue(_content(ONE))
    assert (breach.name, breach.breached_on, breach.pwn_count, rejected) == ("Shoply", date(2025, 3, 1), 12, 0)
    assert breach.added_at == datetime(2025, 4, 2, 10, 11, 12, tzinfo=UTC)
    assert breach.data_classes == ("Email addresses", "Passwords")
    assert breach.extra == {"SomethingNew": {"a": 1}}


def test_a_description_is_made_safe_to_show() -> None:
    [breach], _ = parse_catalogue(_content(ONE))
    assert "script" not in breach.description
    assert "onclick" not in breach.description
    assert 'href="https://x.example"' in breach.description


def test_entries_that_are_no_breach_are_left_out_and_counted() -> None:
    found, rejected = parse_catalogue(_content(ONE, {"Title": "nameless"}, {**ONE, "Name": "Odd", "PwnCount": "many"}))
    assert ([breach.name for breach in found], rejected) == (["Shoply"], 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<html>busy</html>", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"", "is not JSON"),
        (b"{}", "not an array of breaches"),
        (b'["Adobe"]', "not an array of breaches"),
        (b'[{"x": 1}]', "none of the 1 entries"),
    ],
)
def test_what_is_no_catalogue_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(CatalogueUnreadable, match=says):
        parse_catalogue(content)


@pytest.mark.skipif(not REAL.exists(), reason="the real catalogue is not part of the project")
def test_the_real_catalogue_is_imported_whole(db: Engine) -> None:
    content = REAL.read_bytes()
    found, rejected = parse_catalogue(content)
    assert (len(found), rejected) == (len(json.loads(content)), 0)
    with db.begin() as connection:
        assert save_catalogue(connection, content, found, rejected=rejected) == len(found)
        assert save_catalogue(connection, content, found, rejected=rejected) == 0
        row = connection.execute(sa.select(breaches).where(breaches.c.name == "Adobe")).one()
    assert (row.domain, row.breached_on, row.is_verified) == ("adobe.com", date(2013, 10, 4), True)
    assert "Passwords" in row.data_classes


def test_a_changed_title_is_taken_over_under_the_same_name(db: Engine) -> None:
    with db.begin() as connection:
        for title in ("Shoply", "Shoply (2025)"):
            content = _content({**ONE, "Title": title})
            save_catalogue(connection, content, parse_catalogue(content)[0], rejected=0)
        assert connection.execute(sa.select(breaches.c.title)).scalars().all() == ["Shoply (2025)"]


@contextmanager
def _server(status: int, body: bytes, **headers: str) -> Iterator[tuple[str, list[str]]]:
    """A real HTTP server on loopback that answers so, and the user agents that asked it."""
    agents: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            agents.append(self.headers.get("user-agent", ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/v3/breaches", agents
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_address_is_asked_with_a_user_agent() -> None:
    with _server(200, _content(ONE)) as (url, agents):
        assert HttpCatalogue(url).read() == _content(ONE)
    assert agents == ["kordant-jobs"]


@pytest.mark.parametrize("status", [302, 403, 404, 429, 500, 503])
def test_any_other_answer_is_no_catalogue_now(status: int) -> None:
    with _server(status, b"[]", retry_after="7") as (url, _), pytest.raises(SourceUnavailable) as caught:
        HttpCatalogue(url).read()
    assert str(status) in str(caught.value)
    assert caught.value.retry_after_s == 7


def test_an_address_that_does_not_answer_is_said() -> None:
    with _server(200, b"[]") as (url, _):
        pass
    with pytest.raises(SourceUnavailable, match="did not answer"):
        HttpCatalogue(url, timeout_s=2).read()


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    catalogue = open_catalogue(str(tmp_path / "absent.json"))
    assert catalogue is not None
    with pytest.raises(SourceUnavailable, match="Check KORDANT_BREACH_CATALOGUE"):
        catalogue.read()
    assert open_catalogue(None) is None
