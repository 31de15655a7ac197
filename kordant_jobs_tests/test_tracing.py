"""One trace from the call that queued a request to the mail that went out, and nobody's data in it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs import tracing
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.catalog import BY_NAME, enqueue, enqueue_many
from kordant_jobs.catalog.cleanup import Cleanup
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.catalog.notifications_send import NotificationsSend
from kordant_jobs.definitions import defs
from kordant_jobs.engine import Item
from kordant_jobs.engine.control import Cause
from kordant_jobs.engine.queue import outcomes
from kordant_jobs.engine.store import attempts, leases, traces
from kordant_jobs.engine.store.leases import Lease
from kordant_jobs.lab.engine import FakeClock, Fault, drain
from kordant_jobs.lab.fakes.sources.hibp import TEST_KEY, FakeHibp
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.api.conftest import Api, app, callers
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.otlp import Collector, collector

__all__ = ["app", "callers", "collector"]

CANARIES = ("ann@example.com", "ann", "Ann Example", "Canary", "mail.example", "s3cret")
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def rows(db: Engine, query: str, **values: Any) -> Any:
    with db.connect() as connection:
        return connection.execute(sa.text(query), values).all()


def claim(db: Engine, request_id: UUID, run_id: str) -> Lease:
    """As the dispatcher claims."""
    with db.begin() as connection:
        now = connection.execute(sa.select(sa.func.now())).scalar_one()
        (lease,) = leases.insert(connection, ["job:x"], holder="t", now=now, ttl_s=60, run_ids=[run_id])
        attempts.start(connection, [(request_id, lease)], worker="t", now=now)
    return lease


def execute(job: str, run_id: str, config: dict[str, Any]) -> None:
    """A run in this process, as its worker runs it."""
    with dg.DagsterInstance.ephemeral() as instance:
        defs.resolve_job_def(job).execute_in_process(
            instance=instance, run_id=run_id, run_config=config, raise_on_error=True
        )


def mails(settings: Settings) -> list[Path]:
    return list((settings.mails / "new").glob("*"))


def test_one_trace_leads_from_the_call_to_the_mail_across_a_killed_run_and_a_retry(
    collector: Collector,
    settings: Settings,
    db: Engine,
    keyring: Keyring,
    callers: dict[str, Api],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subscribe(db, keyring, "ann@example.com", contact="ann@mail.example", name="Ann Example")
    fake = FakeHibp(rpm=60_000)
    fake.accounts["ann@example.com"] = ("Adobe",)
    with fake.server() as server:
        for name, value in {"HIBP_API_KEY": TEST_KEY, "HIBP_URL": f"{server.url}/api/v3"}.items():
            monkeypatch.setenv(f"KORDANT_{name}", value)
        answer = callers["admin"](
            "POST", "/requests", json={"job": "darkwatch_scan"}, headers={"traceparent": CALLER, "x-note": "Canary"}
        )
        assert answer.status_code == 202, answer.text
        request_id = UUID(answer.json()["id"])

        killed, failed, done = (str(uuid4()) for _ in range(3))
        claim(db, request_id, killed)
        with db.begin() as connection:  # its worker begins, does something, and is killed: nobody tells of it
            now = connection.execute(sa.select(sa.func.now())).scalar_one()
            attempts.adopt(connection, killed, now=now, ttl_s=-1)
            traces.began(connection, killed)
        with tracing.span("plan", parent=traces.OF_RUNS[killed]):
            pass
        with db.begin() as connection:  # the dispatcher sees that its lease ran out
            now = connection.execute(sa.select(sa.func.now())).scalar_one()
            lost = outcomes.reap_lost(connection, BY_NAME, now=now)
            traces.ended(connection, [one.run_id for one in lost if one.run_id], settled_at=now)

        config = DarkwatchScan.run_config([DarkwatchScan()])
        claim(db, request_id, failed)
        with monkeypatch.context() as patch:
            patch.setenv("KORDANT_MASTER_KEY", "A" * 43 + "=")  # not this database's
            with pytest.raises(dg.DagsterError):
                execute("darkwatch_scan", failed, config)
        with db.begin() as connection:
            connection.execute(sa.text("UPDATE kordant.job_requests SET status = 'pending' WHERE status = 'dead'"))
        claim(db, request_id, done)
        execute("darkwatch_scan", done, config)
    execute("notifications_send", str(uuid4()), {})
    assert len(mails(settings)) == 1
    tracing.flush()

    trace, caller = CALLER.split("-")[1:3]
    (call,) = collector.named("POST /api/jobs/requests")
    (send,) = collector.named("send darkwatch_scan")
    processes = collector.named("process darkwatch_scan")
    (mail,) = collector.named("send email")
    assert (call.trace, call.parent) == (trace, caller)
    assert (send.parent, send.kind, send.attributes["messaging.message.id"]) == (call.id, 4, str(request_id))
    assert [one.attributes["kordant.run_id"] for one in processes] == [killed, failed, done]
    assert [one.attributes.get("error.type") for one in processes] == ["lost", "exception", None]
    assert [one.parent for one in processes] == [send.id] * 3
    assert [one.links for one in processes] == [(), (processes[0].id,), (processes[1].id,)]
    (other,) = collector.named("process notifications_send")
    (sending,) = [one for one in collector.named("send") if one.parent == other.id]
    assert mail.trace == trace
    assert mail.links == (sending.id,)
    assert other.trace != trace

    by_id = {one.id: one for one in collector.spans}
    ours = [one for one in collector.spans if one.trace == trace]
    assert {one.parent for one in ours} <= {*by_id, caller}, "every parent came"
    ops = {one.name: one for one in ours if one.parent == processes[2].id}
    assert set(ops) == {"plan", "ask_sources", "record", "summarise", "receive darkwatch_scan", "settle darkwatch_scan"}
    asked = [one for one in ours if one.name == "GET"]
    assert asked
    assert {one.parent for one in asked} == {ops["ask_sources"].id}
    assert {one.attributes["server.address"] for one in asked} == {"127.0.0.1"}
    assert mail.parent == ops["record"].id
    assert all(one.began_ns <= one.ended_ns for one in ours)

    everything = b"".join(collector.bodies)
    assert not [one for one in CANARIES if one.encode() in everything]


def test_a_request_of_sql_begins_a_trace_and_its_retry_stays_in_it(collector: Collector, db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.job_catalogue VALUES ('cleanup', 'cleanup.weekly', 3)"))
        request_id = connection.execute(sa.text("SELECT kordant.enqueue_job('cleanup', '{}')")).scalar_one()
    for run_id in ("run-1", "run-2"):
        claim(db, request_id, run_id)
        with db.begin() as connection:
            now = connection.execute(sa.select(sa.func.now())).scalar_one()
            connection.execute(sa.text("UPDATE kordant.job_leases SET expires_at = now() - interval '1 s'"))
            connection.execute(sa.text("UPDATE kordant.job_leases SET adopted = true"))
            outcomes.reap_lost(connection, BY_NAME, now=now)
            traces.ended(connection, [run_id], settled_at=now)
    tracing.flush()
    first, second = collector.named("process cleanup")
    assert first.trace == second.trace
    assert (first.parent, second.parent, second.links) == ("", "", (first.id,))


def test_a_trace_that_sql_names_goes_on_and_one_that_is_none_is_left_out(collector: Collector, db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.job_catalogue VALUES ('cleanup', 'cleanup.weekly', 3)"))
        for named in (CALLER, "ann@example.com"):
            connection.execute(sa.text("SELECT set_config('kordant.traceparent', :named, true)"), {"named": named})
            connection.execute(sa.text("SELECT kordant.enqueue_job('cleanup', '{}')"))
    carried = "SELECT traceparent FROM kordant.job_requests ORDER BY id"
    assert [row[0] for row in rows(db, carried)] == [CALLER, None]


def test_a_run_of_many_requests_links_to_each_and_has_a_trace_of_its_own(collector: Collector, db: Engine) -> None:
    with db.begin() as connection:
        one = enqueue(connection, NotificationsSend(), requested_by="a")
        enqueue_many(connection, [Item(payload=NotificationsSend()) for _ in range(200)], requested_by="b")
        connection.execute(sa.text("UPDATE kordant.job_requests SET traceparent = NULL WHERE id = :one"), {"one": one})
    with db.begin() as connection:
        now = connection.execute(sa.select(sa.func.now())).scalar_one()
        ids = connection.execute(sa.text("SELECT id FROM kordant.job_requests")).scalars().all()
        (lease,) = leases.insert(connection, ["job:x"], holder="t", now=now, ttl_s=60, run_ids=["batch"])
        attempts.start(connection, [(each, lease) for each in ids], worker="t", now=now)
        attempts.complete_run(connection, "batch", cpu_s=1, peak_memory_mb=1, now=now)
        traces.ended(connection, ["batch"], settled_at=now)
    tracing.flush()
    (send,) = [
        one for one in collector.named("send notifications_send") if "messaging.batch.message_count" in one.attributes
    ]
    (process,) = collector.named("process notifications_send")
    assert send.attributes["messaging.batch.message_count"] == 200
    assert (process.attributes["messaging.batch.message_count"], process.links) == (201, (send.id,))
    assert process.trace != send.trace


def test_nothing_is_recorded_imported_or_started_while_it_is_off() -> None:
    """In a process of its own: another test may have turned it on."""
    code = (
        "import sys, threading; from kordant_jobs import tracing; import kordant_jobs.engine.store.traces\n"
        "with tracing.span('a') as one: assert one is None and tracing.current() is None\n"
        "tracing.record('a', 'CLIENT', {}, began_at=None, ended_at=None); tracing.preload(); tracing.flush()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "", "PYTHONPATH": str(CHECKOUT)})


def test_a_collector_that_is_away_costs_no_more_than_its_timeout(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    tracing._provider.cache_clear()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with tracing.span("a"):
        pass
    began = time.monotonic()
    tracing.flush()
    assert time.monotonic() - began < tracing.FLUSH_S + 1


def test_the_dispatcher_tells_of_runs_whose_worker_cannot(collector: Collector, db: Engine) -> None:
    clock = FakeClock()
    with db.begin() as connection:
        enqueue(connection, Cleanup(), requested_by="a", now=clock.now())
    drain(db, {"cleanup": lambda _: None}, clock, faults={"cleanup": [Fault(silent=True), Fault(cause=Cause.KILLED)]})
    tracing.flush()
    (send,) = collector.named("send cleanup")
    told = collector.named("process cleanup")
    assert [one.attributes.get("error.type") for one in told] == ["lost", "killed", None]
    assert [one.parent for one in told] == [send.id] * 3
    assert [one.links for one in told] == [(), (told[0].id,), (told[1].id,)]
    assert {one.parent for one in collector.named("settle cleanup")} == {one.id for one in told}
