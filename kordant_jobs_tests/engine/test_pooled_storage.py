"""Dagster's storage as our processes use it: the same rows as Dagster's own, by fewer statements."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.events import EngineEventData

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.engine import dagster_private
from kordant_jobs.engine.dagster_private import PooledEventLogStorage, PooledRunStorage
from kordant_jobs.engine.dagster_private.warm_up import warm_up
from kordant_jobs.postgres import database
from kordant_jobs_tests.databases import copy_of, database_at


@pytest.fixture(scope="module")
def instance(admin_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    """An instance on a database of this module's own."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_bytes((CHECKOUT / "dagster.yaml").read_bytes())
    with copy_of(admin_url, template) as name, pytest.MonkeyPatch.context() as environ:
        environ.setenv("KORDANT_DAGSTER_URL", database.dagster_url(database_at(admin_url, name)))
        environ.setenv("DAGSTER_HOME", str(home))
        with dagster_private.open_instance_with_tables(home) as opened:
            yield opened
            dagster_private.pool_of(opened).dispose()


def new_run(instance: DagsterInstance) -> DagsterRun:
    return instance.create_run_for_job(warm_up, status=DagsterRunStatus.STARTING)


WITH_DATA = {
    DagsterEventType.ENGINE_EVENT,
    DagsterEventType.RESOURCE_INIT_STARTED,
    DagsterEventType.RESOURCE_INIT_SUCCESS,
}


def event(kind: DagsterEventType, run: DagsterRun) -> DagsterEvent:
    data = EngineEventData() if kind in WITH_DATA else None
    return DagsterEvent(
        event_type_value=kind.value, job_name=run.job_name, message=kind.value, event_specific_data=data
    )


def report(instance: DagsterInstance, run: DagsterRun, *kinds: DagsterEventType) -> None:
    for kind in kinds:
        instance.report_dagster_event(event(kind, run), run.run_id)


def stored(instance: DagsterInstance, run: DagsterRun) -> list[str]:
    """The kinds of events that everybody else can see by now, in their order."""
    query = sa.text("SELECT dagster_event_type FROM event_logs WHERE run_id = :run_id ORDER BY id")
    with dagster_private.pool_of(instance).connect() as connection:
        return list(connection.execute(query, {"run_id": run.run_id}).scalars())


def log_of(instance: DagsterInstance) -> PooledEventLogStorage:
    log: object = instance.event_log_storage
    assert isinstance(log, PooledEventLogStorage)
    return log


@pytest.mark.parametrize("kind", [DagsterEventType.RUN_START, DagsterEventType.RUN_SUCCESS])
def test_a_run_is_moved_on_just_as_dagster_does(instance: DagsterInstance, kind: DagsterEventType) -> None:
    ours, theirs = new_run(instance), new_run(instance)
    storage = instance.run_storage
    assert isinstance(storage, PooledRunStorage)
    storage.handle_run_event(ours.run_id, event(kind, ours))
    super(PooledRunStorage, storage).handle_run_event(theirs.run_id, event(kind, theirs))
    one, other = (instance.get_run_record_by_id(run.run_id) for run in (ours, theirs))
    assert one
    assert other
    assert one.dagster_run._replace(run_id="") == other.dagster_run._replace(run_id="")
    assert one.dagster_run.status in {DagsterRunStatus.STARTED, DagsterRunStatus.SUCCESS}
    for name in ("start_time", "end_time"):
        mine, yours = getattr(one, name), getattr(other, name)
        assert (mine is None) == (yours is None)
        assert mine is None or abs(mine - yours) < 5
    assert abs((one.update_timestamp - other.update_timestamp).total_seconds()) < 5


def test_events_wait_until_a_step_begins_and_keep_their_order(instance: DagsterInstance) -> None:
    run = new_run(instance)
    early = [DagsterEventType.ENGINE_EVENT, DagsterEventType.RESOURCE_INIT_STARTED]
    with log_of(instance).held_back():
        report(instance, run, *early)
        assert stored(instance, run) == []
        report(instance, run, DagsterEventType.STEP_START)
        assert stored(instance, run) == [kind.value for kind in (*early, DagsterEventType.STEP_START)]
        report(instance, run, DagsterEventType.RESOURCE_INIT_SUCCESS)
    assert stored(instance, run)[-1] == "RESOURCE_INIT_SUCCESS"


@pytest.mark.parametrize("kind", [DagsterEventType.RUN_CANCELING, DagsterEventType.RUN_SUCCESS])
def test_an_end_waits_for_nothing(instance: DagsterInstance, kind: DagsterEventType) -> None:
    run = new_run(instance)
    with log_of(instance).held_back():
        report(instance, run, DagsterEventType.ENGINE_EVENT, kind)
        assert stored(instance, run) == ["ENGINE_EVENT", kind.value]


def test_readers_of_the_log_see_events_that_wait_to_be_written(instance: DagsterInstance) -> None:
    run = new_run(instance)
    with log_of(instance).held_back():
        report(instance, run, DagsterEventType.ENGINE_EVENT)
        assert len(instance.all_logs(run.run_id)) == 1


def test_what_waits_goes_out_although_the_run_breaks(instance: DagsterInstance) -> None:
    run = new_run(instance)
    with pytest.raises(KeyboardInterrupt), log_of(instance).held_back():  # noqa: PT012 - the report comes first
        report(instance, run, DagsterEventType.ENGINE_EVENT)
        raise KeyboardInterrupt
    assert stored(instance, run) == ["ENGINE_EVENT"]


def test_nothing_waits_behind_an_event_older_than_a_tenth_of_a_second(instance: DagsterInstance) -> None:
    run = new_run(instance)
    log = log_of(instance)
    with log.held_back():
        report(instance, run, DagsterEventType.ENGINE_EVENT)
        log._waiting_since = time.monotonic() - 1
        report(instance, run, DagsterEventType.RESOURCE_INIT_SUCCESS)
        assert stored(instance, run) == ["ENGINE_EVENT", "RESOURCE_INIT_SUCCESS"]
