"""New data asks for one run, in a form that Dagster can store; no new data asks for none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._serdes import serialize_value
from sqlalchemy import Engine

from kordant_jobs.definitions import defs
from kordant_jobs.jobs.darkwatch_scan.service import register_dropped
from kordant_jobs.store.keyring import Keyring
from kordant_jobs.triggers.sensors import drop_folder_sensor, outbox_sensor
from kordant_jobs_tests.jobs.darkwatch_scan.bench import SETTLED, Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    return bench_in(tmp_path, db, keyring)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def _evaluate(sensor: dg.SensorDefinition, bench: Bench, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    resources = {"db": bench.db, "keyring": bench.keyring, "drop_box": bench.box}
    wanted = {name: resources[name] for name in sensor.required_resource_keys}
    with dg.build_sensor_context(instance=instance, resources=wanted, definitions=defs) as context:
        answer = sensor.evaluate_tick(context)
    serialize_value(answer)  # what the daemon does with it: an enum in a run config was refused only there
    return list(answer.run_requests or ())


def test_a_new_file_asks_for_one_scan_of_the_realtime_tiers(bench: Bench, instance: dg.DagsterInstance) -> None:
    bench.drop("a.txt", "ann@example.com:x\n")
    bench.drop("b.txt", "bob@example.com:x\n")
    [request] = _evaluate(drop_folder_sensor, bench, instance)
    assert request.run_config == {"ops": {"plan": {"config": {"tiers": ["premium"]}}}}
    [again] = _evaluate(drop_folder_sensor, bench, instance)
    assert again.run_key == request.run_key, "Dagster starts one run for it"


def test_a_changed_file_asks_anew(bench: Bench, instance: dg.DagsterInstance) -> None:
    path = bench.drop("a.txt", "ann@example.com:x\n")
    [first] = _evaluate(drop_folder_sensor, bench, instance)
    path.write_text("ann@example.com:x\nbob@example.com:y\n")
    os.utime(path, (SETTLED + 1, SETTLED + 1))
    [second] = _evaluate(drop_folder_sensor, bench, instance)
    assert first.run_key != second.run_key


def test_a_registered_file_asks_for_nothing(bench: Bench, instance: dg.DagsterInstance) -> None:
    bench.drop("a.txt", "ann@example.com:x\n")
    register_dropped(bench.db, bench.box, bench.keyring)
    assert _evaluate(drop_folder_sensor, bench, instance) == []


def test_a_file_that_is_still_coming_asks_for_nothing(bench: Bench, instance: dg.DagsterInstance) -> None:
    bench.drop("a.txt.part", "ann@example.com:x\n")
    bench.drop(".b.txt", "ann@example.com:x\n")
    (bench.box.folder / "c.txt").write_text("written just now")
    assert _evaluate(drop_folder_sensor, bench, instance) == []


def test_a_due_notification_asks_for_one_run_and_none_is_asked_when_nothing_is_due(
    bench: Bench, instance: dg.DagsterInstance
) -> None:
    assert _evaluate(outbox_sensor, bench, instance) == []
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("a.txt", "ann@example.com:x\n")
    bench.scan()
    assert len(_evaluate(outbox_sensor, bench, instance)) == 1


def test_while_a_run_sends_no_other_is_asked_for(bench: Bench, instance: dg.DagsterInstance) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("a.txt", "ann@example.com:x\n")
    bench.scan()
    instance.create_run_for_job(
        defs.resolve_job_def("notifications_send"), status=dg.DagsterRunStatus.STARTED, run_config={}
    )
    assert _evaluate(outbox_sensor, bench, instance) == []
