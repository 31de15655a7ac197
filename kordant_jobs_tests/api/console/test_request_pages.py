"""Dead requests, alone and in groups: what the console shows of them and does with them."""

from __future__ import annotations

import re
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.store.audit import log
from kordant_jobs_tests.api.console.asking import Dead, actions, status_of
from kordant_jobs_tests.api.console.conftest import Reader


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
