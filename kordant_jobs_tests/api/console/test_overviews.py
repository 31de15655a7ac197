"""The console's pages that only show: health, subscriptions, schedules, performance, agents."""

from __future__ import annotations

import asyncio
import html
import re
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from uuid_utils.compat import uuid7

from kordant_jobs.api.console.live import Changes
from kordant_jobs.domain.access.audit import Entry, Outcome
from kordant_jobs.domain.identifiers import IdentifierKind, mask
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import operate
from kordant_jobs.observability import health
from kordant_jobs.store.access import people
from kordant_jobs.store.audit import log
from kordant_jobs.store.operators import counts
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.console.asking import Dead
from kordant_jobs_tests.api.console.conftest import Reader
from kordant_jobs_tests.jobs.people import subscribe


def cells(text: str, head: str) -> list[str]:
    """The texts of the row that begins with this."""
    row = next(one for one in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL) if f">{head}<" in one)
    return [re.sub(r"<[^>]+>", "", one).strip() for one in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]


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
