"""One queue: what Dagster submits waits as a request, starts as the run that it is, and survives a kill anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.dagster_private import SubmitRunContext
from kordant_jobs.engine.launcher.coordinator import Intake
from kordant_jobs.engine.launcher.history import end_of
from kordant_jobs.engine.queue import operate
from kordant_jobs.engine.queue.dispatch import Dispatcher, DispatchSettings
from kordant_jobs.engine.requests import Outcome, Priority, RequestStatus
from kordant_jobs.engine.runs import RunIsOver, RunOrder
from kordant_jobs.engine.store.attempts import attempts_of
from kordant_jobs.engine.store.requests import Filter, Request, find
from kordant_jobs.engine.store.waiting import pause, paused, resume
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.lab.engine import FakeClock, InlineRuns, RunContext
from kordant_jobs.postgres import database
from kordant_jobs_tests.databases import Emptied, copy_of, database_at
from kordant_jobs_tests.engine import toy_definitions
from kordant_jobs_tests.engine.toy_app import SYSTEM
from kordant_jobs_tests.engine.toy_instance import Coordinator

MOST = 10
"""Dispatcher's passes that anything here takes at most."""


def origin_of(job: str) -> RemoteJobOrigin:
    """Where Dagster would say that the run's code is."""
    server = GrpcServerCodeLocationOrigin(host="localhost", port=1, location_name="toys")
    return RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), job)


@dataclass
class Door:
    """Dagster's instance and our queue on one database, with the coordinator between them; runs are functions."""

    db: Engine
    instance: dg.DagsterInstance
    clock: FakeClock
    ran: list[str] = field(default_factory=list)
    refuses: bool = False

    def __post_init__(self) -> None:
        self.coordinator = Coordinator()
        self.coordinator.register_instance(self.instance)
        self.coordinator._engine = self.db

    def made(self, job: str = "chore", **tags: str) -> dg.DagsterRun:
        """A run that Dagster has made and not submitted yet."""
        return self.instance.create_run_for_job(
            toy_definitions.defs.resolve_job_def(job), tags=tags, remote_job_origin=origin_of(job)
        )

    def submit(self, run: dg.DagsterRun) -> str:
        workspace: Any = None
        self.coordinator.submit_run(SubmitRunContext(run, workspace))
        return run.run_id

    def launch(self, job: str = "chore", **tags: str) -> str:
        return self.submit(self.made(job, **tags))

    def status(self, run_id: str) -> str:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run.status.value

    def requests(self, **where: Any) -> list[Request]:
        with self.db.connect() as connection:
            return find(connection, Filter(**where))

    def dispatch(self, passes: int = MOST, *, intake: bool = True, **settings: Any) -> None:
        """As a dispatcher that has just become the leader does."""
        runs = Given(db=self.db, handlers={"chore": self.note, "chore_premium": self.note}, clock=self.clock)
        runs.door = self
        dispatcher = Dispatcher(
            self.db,
            runs,
            runs,
            self.clock,
            worker="t",
            catalog=SYSTEM.rows,
            history=partial(end_of, self.instance),
            intake=Intake(self.db, self.instance, self.coordinator, self.clock, settled_s=-1).check if intake else None,
            settings=DispatchSettings(tick_s=0, **settings),
        )
        try:
            for _ in range(passes):
                dispatcher.step()
        finally:
            dispatcher.close()

    def note(self, work: RunContext) -> None:
        self.ran.append(work.run_id)


class Given(InlineRuns):
    """Starts the run that is there, as the warm starter does."""

    door: Door

    def start(self, order: RunOrder) -> None:
        if order.is_there:
            run = dagster_private.start_given(self.door.instance, order.run_id, dict(order.tags))
            if run is None:
                raise RunIsOver
            if self.door.refuses:
                dagster_private.queued_again(self.door.instance, run)
                raise TransientError("no warm process answers")
        super().start(order)


@pytest.fixture(scope="module")
def with_dagster(admin_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emptied]:
    """The migrated database with Dagster's tables in it, which take seconds to make."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_bytes((CHECKOUT / "dagster.yaml").read_bytes())
    with copy_of(admin_url, template) as name, pytest.MonkeyPatch.context() as environ:
        environ.setenv("KORDANT_DAGSTER_URL", database.dagster_url(database_at(admin_url, name)))
        dagster_private.make_tables(home)
        databases = Emptied(admin_url, name)
        yield databases
        databases.drop()


@pytest.fixture
def database_url(with_dagster: Emptied, served_at: Callable[[str], str]) -> Iterator[str]:
    """It, with no rows."""
    with with_dagster.lend() as url:
        yield served_at(str(database.normal_url(url).database))


@pytest.fixture
def door(db: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Door]:
    (tmp_path / "dagster.yaml").write_bytes((CHECKOUT / "dagster.yaml").read_bytes())
    monkeypatch.setenv("KORDANT_DAGSTER_URL", database.dagster_url(database_url))
    monkeypatch.setenv("KORDANT_DATABASE_URL", database_url)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dagster_private.open_instance(tmp_path) as instance:
        yield Door(db, instance, FakeClock(at=now_of(db)))
        dagster_private.pool_of(instance).dispose()


def now_of(db: Engine) -> Any:
    with db.connect() as connection:
        return connection.execute(sa.text("SELECT now() + interval '1 minute'")).scalar_one()


def test_a_submitted_run_is_shown_as_queued_and_starts_as_the_run_that_it_is(door: Door) -> None:
    run_id = door.launch(**{"dagster/schedule_name": "nightly"})
    assert door.status(run_id) == "QUEUED"
    (waiting,) = door.requests()
    assert (waiting.status, waiting.requested_by) == (RequestStatus.PENDING, "schedule:nightly")
    door.dispatch()
    (done,) = door.requests()
    assert (done.status, done.run_id, door.ran) == (RequestStatus.COMPLETED, run_id, [run_id])
    run = door.instance.get_run_by_id(run_id)
    assert run
    assert run.tags["kordant/request_id"] == str(done.id)
    assert run.tags["dagster/schedule_name"] == "nightly"


@pytest.mark.parametrize(
    ("tags", "by", "priority"),
    [
        ({"dagster/sensor_name": "s"}, "sensor:s", Priority.NORMAL),
        ({"dagster/schedule_name": "x", "kordant/priority": "low"}, "schedule:x", Priority.LOW),
        ({"dagster/sensor_name": "schedule_keeper", "kordant/schedule": "x"}, "schedule:x", Priority.NORMAL),
        ({"dagster/backfill": "b"}, "backfill:b", Priority.LOW),
        ({"dagster/backfill": "b", "kordant/priority": "critical"}, "backfill:b", Priority.CRITICAL),
        ({"dagster/priority": "7"}, "dagster:launch", Priority.HIGH),
        ({"dagster/priority": "-7"}, "dagster:launch", Priority.LOW),
        ({"kordant/priority": "at once"}, "dagster:launch", Priority.NORMAL),
    ],
)
def test_tags_say_who_asked_and_how_urgent_it_is(door: Door, tags: dict[str, str], by: str, priority: Priority) -> None:
    door.launch(**tags)
    (one,) = door.requests()
    assert (one.requested_by, one.priority) == (by, priority)


def test_submitting_twice_is_submitting_once(door: Door) -> None:
    run = door.made()
    door.submit(run)
    door.submit(run)
    door.dispatch()
    door.submit(run)
    door.dispatch()
    assert [one.status for one in door.requests()] == [RequestStatus.COMPLETED]
    assert door.ran == [run.run_id]


def test_a_job_without_a_row_is_refused_with_what_to_do(door: Door) -> None:
    run = door.made()._replace(job_name="stranger")
    with pytest.raises(PermanentError, match="'stranger' has no row in the catalogue"):
        door.submit(run)
    assert door.requests() == []


def test_a_paused_job_starts_in_no_way_until_it_is_resumed(door: Door) -> None:
    with door.db.begin() as connection:
        assert pause(connection, "chore", reason="the feed moves", by="ann", now=door.clock.now())
        assert not pause(connection, "chore", reason="again", by="bob", now=door.clock.now())
    for tags in ({}, {"dagster/backfill": "b"}, {"dagster/sensor_name": "s"}, {"dagster/schedule_name": "x"}):
        door.launch(**tags)
    door.dispatch()
    assert {one.status for one in door.requests()} == {RequestStatus.PENDING}
    with door.db.begin() as connection:
        assert [one.reason for one in paused(connection)] == ["the feed moves"]
        assert resume(connection, "chore")
    door.dispatch()
    assert {one.status for one in door.requests()} == {RequestStatus.COMPLETED}


def test_a_tick_goes_in_front_of_a_backlog_that_is_no_more_urgent(door: Door) -> None:
    waiting = [door.launch() for _ in range(4)]
    door.clock.advance(600)
    tick = door.launch(**{"dagster/schedule_name": "x"})
    urgent = door.launch(**{"kordant/priority": "critical"})
    door.dispatch(runs=1, critical_extra=0)
    assert door.ran == [urgent, tick, *waiting]


def test_partitions_of_a_backfill_let_others_pass(door: Door) -> None:
    backfill = [door.launch("chore_premium", **{"dagster/backfill": "b", "dagster/partition": f"2026-11-{n:02}"})
                for n in range(1, 6)]  # fmt: skip
    other = door.launch()
    door.dispatch(runs=1, critical_extra=0)
    assert door.ran == [other, *backfill]


def test_cancelling_a_queued_run_cancels_its_request(door: Door) -> None:
    run_id = door.launch()
    assert door.coordinator.cancel_run(run_id)
    assert door.status(run_id) == "CANCELED"
    assert [one.status for one in door.requests()] == [RequestStatus.CANCELLED]
    assert not door.coordinator.cancel_run(run_id)
    door.dispatch()
    assert door.ran == []


def test_cancelling_a_request_cancels_its_queued_run(door: Door) -> None:
    run_id = door.launch()
    with door.db.begin() as connection:
        operate.cancel(connection, Filter(), now=door.clock.now())
    door.dispatch()
    assert (door.status(run_id), door.ran) == ("CANCELED", [])


@pytest.mark.parametrize("intake", [True, False], ids=["noticed", "at the last moment"])
@pytest.mark.parametrize("gone", ["canceled", "deleted", "failed"])
def test_a_run_that_ended_in_dagster_while_it_waited_is_not_started(door: Door, gone: str, intake: bool) -> None:
    """A backfill that is cancelled does so, past the coordinator."""
    run_id = door.launch()
    run = door.instance.get_run_by_id(run_id)
    assert run
    match gone:
        case "canceled":
            door.instance.report_run_canceled(run)
        case "failed":
            door.instance.report_run_failed(run)
        case _:
            door.instance.delete_run(run_id)
    door.dispatch(intake=intake)
    (one,) = door.requests()
    tried_again = gone == "failed" and not intake  # its own failure, by the rule of retries
    assert one.status is (RequestStatus.PENDING if tried_again else RequestStatus.CANCELLED)
    assert door.ran == []


def test_while_no_warm_process_answers_a_given_run_stays_queued_and_starts_later(door: Door) -> None:
    run_id = door.launch()
    door.refuses = True
    door.dispatch(passes=1)
    assert door.status(run_id) == "QUEUED"
    door.refuses = False
    door.clock.advance(5)
    door.dispatch()
    (one,) = door.requests()
    assert (one.status, door.ran) == (RequestStatus.COMPLETED, [run_id])
    with door.db.connect() as connection:
        assert [each.outcome for each in attempts_of(connection, one.id)] == [Outcome.RETURNED, Outcome.SUCCESS]


def test_repeating_a_dead_run_takes_its_request_over_when_it_is_queued(door: Door) -> None:
    first = door.launch()

    def fail(work: RunContext) -> None:
        raise PermanentError("never")

    door.note, kept = fail, door.note  # type: ignore[method-assign]  # put back below or with the test
    door.dispatch()
    assert [one.status for one in door.requests()] == [RequestStatus.DEAD]
    door.note = kept  # type: ignore[method-assign]  # put back below or with the test
    again = door.launch(**{"dagster/parent_run_id": first, "dagster/root_run_id": first})
    door.dispatch()
    (one,) = door.requests()
    assert (one.status, one.run_id, one.root_run_id) == (RequestStatus.COMPLETED, again, first)


def test_a_queued_run_without_a_request_gets_one(door: Door) -> None:
    run = door.made()
    door.instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)
    assert door.requests() == []
    door.dispatch()
    assert (door.ran, [one.status for one in door.requests()]) == ([run.run_id], [RequestStatus.COMPLETED])


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Sword:
    """Kills before the `at`-th statement, whichever connection it is on."""

    at: int
    count: int = 0

    def strike(self, *_: Any) -> None:
        self.count += 1
        if self.count == self.at:
            raise Killed

    def over(self, *engines: Engine) -> Sword:
        for engine in engines:
            sa.event.listen(engine, "before_cursor_execute", self.strike)
        return self

    def away(self, *engines: Engine) -> None:
        for engine in engines:
            sa.event.remove(engine, "before_cursor_execute", self.strike)


def test_killed_before_any_statement_from_submit_to_start_a_run_is_neither_lost_nor_done_twice(door: Door) -> None:
    """The runs' own process is not struck here: `test_system` and the chaos test do that."""
    engines = (door.db, dagster_private.pool_of(door.instance))
    moments, finished = 0, False
    while not finished:
        run, ran = door.made(), len(door.ran)
        finished = submitted_and_started(door, run, Sword(at=moments + 1), engines)
        for engine in engines:
            engine.dispose()
        if finished:
            break
        moments += 1
        if door.status(run.run_id) == "NOT_STARTED":
            door.submit(run)  # as the tick does when it is resumed
        door.clock.advance(60)
        door.dispatch(passes=3)
        assert door.ran[ran:] == [run.run_id], f"killed before statement {moments}"
    assert moments >= 20
    assert {one.status for one in door.requests()} == {RequestStatus.COMPLETED}
    assert len(door.requests()) == len(door.ran) == len(set(door.ran))


def submitted_and_started(door: Door, run: dg.DagsterRun, sword: Sword, engines: tuple[Engine, Engine]) -> bool:
    """Whether all went well, up to the run's own first act, from which on the sword is away."""
    sword.over(*engines)
    held = True

    def begin(work: RunContext) -> None:
        nonlocal held
        held = False
        sword.away(*engines)
        Door.note(door, work)

    door.note = begin  # type: ignore[method-assign]  # put back below or with the test
    try:
        door.submit(run)
        door.dispatch(passes=2)
    except Killed:
        return False
    finally:
        del door.note
        if held:
            sword.away(*engines)
    return True
