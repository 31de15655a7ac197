"""New data asks for one run, in a form that Dagster can store; no new data asks for none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import fsspec
import pytest
import sqlalchemy as sa
from dagster._serdes import serialize_value
from sqlalchemy import Engine

from kordant_jobs.adapters.drop_folder import DropStore
from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.catalog.notifications_send import NotificationsSend
from kordant_jobs.definitions import defs
from kordant_jobs.jobs.darkwatch_scan.drops import register_dropped
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.triggers import price_list
from kordant_jobs.triggers.sensors import new_data_sensor, outbox_sensor
from kordant_jobs_tests.jobs.darkwatch_scan.bench import SETTLED, Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import add_breach


@pytest.fixture
def bench(listed: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    return bench_in(tmp_path, listed, keyring)


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
    [request] = _evaluate(new_data_sensor, bench, instance)
    assert request.run_config == {"ops": {"plan": {"config": {"tiers": ["premium"]}}}}
    [again] = _evaluate(new_data_sensor, bench, instance)
    assert again.run_key == request.run_key, "Dagster starts one run for it"


def test_a_changed_file_asks_again(bench: Bench, instance: dg.DagsterInstance) -> None:
    path = bench.drop("a.txt", "ann@example.com:x\n")
    [first] = _evaluate(new_data_sensor, bench, instance)
    path.write_text("ann@example.com:x\nbob@example.com:y\n")
    os.utime(path, (SETTLED + 1, SETTLED + 1))
    [second] = _evaluate(new_data_sensor, bench, instance)
    assert first.run_key != second.run_key


def test_a_registered_file_asks_for_nothing(bench: Bench, instance: dg.DagsterInstance) -> None:
    bench.drop("a.txt", "ann@example.com:x\n")
    register_dropped(bench.db, bench.box, bench.keyring)
    assert _evaluate(new_data_sensor, bench, instance) == []


def test_a_file_that_is_still_coming_asks_for_nothing(bench: Bench, instance: dg.DagsterInstance) -> None:
    bench.drop("a.txt.part", "ann@example.com:x\n")
    bench.drop(".b.txt", "ann@example.com:x\n")
    (bench.folder / "c.txt").write_text("written just now")
    assert _evaluate(new_data_sensor, bench, instance) == []


def test_while_the_store_of_dumps_is_away_other_new_data_still_asks(
    bench: Bench, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nothing listens
    place = DropStore("s3://none/drop", setting="KORDANT_DROP_URL", work=tmp_path)
    away = replace(bench, box=replace(bench.box, place=place))
    assert _evaluate(new_data_sensor, away, instance) == []
    person = subscribe(bench.db, bench.keyring, "ann@example.com")
    [request] = _evaluate(new_data_sensor, away, instance)
    assert str(person.subscription_id) in str(request.run_config)


def test_an_object_in_a_store_asks_until_it_is_registered(
    bench: Bench, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    place = DropStore("memory://sensor/drop", setting="KORDANT_DROP_URL", work=tmp_path)
    there = replace(bench, box=replace(bench.box, place=place))
    fsspec.filesystem("memory").pipe_file("/sensor/drop/a.txt", b"ann@example.com:x\n")
    [first], [again] = (_evaluate(new_data_sensor, there, instance) for _ in range(2))
    assert first.run_key == again.run_key
    register_dropped(there.db, there.box, there.keyring)
    assert _evaluate(new_data_sensor, there, instance) == []


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
    with bench.db.begin() as connection:
        enqueue(connection, NotificationsSend(), requested_by="test")
    assert _evaluate(outbox_sensor, bench, instance) == []


def _tiers(db: Engine, tier: str, realtime: bool) -> None:
    with db.begin() as connection:
        price_list.change(connection, ("darkwatch_scan", tier), {"realtime": realtime}, by="ann")


def test_which_tiers_have_real_time_is_said_by_the_price_list(bench: Bench, instance: dg.DagsterInstance) -> None:
    _tiers(bench.db, "plus", True)
    bench.drop("a.txt", "ann@example.com:x\n")
    [request] = _evaluate(new_data_sensor, bench, instance)
    assert request.run_config == {"ops": {"plan": {"config": {"tiers": ["plus", "premium"]}}}}
    for tier in ("plus", "premium"):
        _tiers(bench.db, tier, False)
    assert _evaluate(new_data_sensor, bench, instance) == []


def test_a_new_subscription_is_scanned_at_once_whatever_its_tier(bench: Bench, instance: dg.DagsterInstance) -> None:
    new = subscribe(bench.db, bench.keyring, "ann@example.com", tier="basic", created_at=datetime.now(UTC))
    [request] = _evaluate(new_data_sensor, bench, instance)
    assert request.run_config["ops"]["plan"]["config"]["subscription_ids"] == [str(new.subscription_id)]
    bench.scan()
    assert _evaluate(new_data_sensor, bench, instance) == []


def test_a_new_identifier_is_looked_for_at_once_where_the_tier_has_real_time(
    bench: Bench, instance: dg.DagsterInstance
) -> None:
    for tier, asked in (("basic", 0), ("premium", 1)):
        person = subscribe(bench.db, bench.keyring, f"{tier}@example.com", tier=tier, created_at=datetime.now(UTC))
        bench.scan()
        with bench.db.begin() as connection:
            connection.execute(
                sa.text("UPDATE kordant.watchlist_items SET created_at = now() WHERE subscription_id = :id"),
                {"id": person.subscription_id},
            )
        assert len(_evaluate(new_data_sensor, bench, instance)) == asked
        bench.scan()


def test_a_breach_that_becomes_known_is_looked_at_at_once(bench: Bench, instance: dg.DagsterInstance) -> None:
    add_breach(bench.db, "Adobe")
    assert _evaluate(new_data_sensor, bench, instance) == [], "what is there when it looks first is not new"
    resources = {"db": bench.db, "keyring": bench.keyring, "drop_box": bench.box}
    cursor = '{"breach": "2020-01-01T00:00:00+00:00"}'
    with dg.build_sensor_context(instance=instance, resources=resources, definitions=defs, cursor=cursor) as context:
        answer = new_data_sensor.evaluate_tick(context)
    assert [request.tags["kordant/trigger"] for request in answer.run_requests or ()] == ["new_breach"]


def test_reading_a_dump_is_no_news_of_its_own(bench: Bench, instance: dg.DagsterInstance) -> None:
    bench.drop("a.txt", "ann@example.com:x\n")
    resources = {"db": bench.db, "keyring": bench.keyring, "drop_box": bench.box}
    cursor = '{"breach": null}'
    for asked in (1, 0):
        with dg.build_sensor_context(
            instance=instance, resources=resources, definitions=defs, cursor=cursor
        ) as context:
            answer = new_data_sensor.evaluate_tick(context)
        assert len(answer.run_requests or ()) == asked
        cursor = answer.cursor or cursor
        register_dropped(bench.db, bench.box, bench.keyring)  # makes a breach of the dump's own


@pytest.mark.parametrize("of_people", [False, True])
def test_what_comes_while_a_scan_is_under_way_waits_for_its_end(
    bench: Bench, instance: dg.DagsterInstance, of_people: bool
) -> None:
    new = subscribe(bench.db, bench.keyring, "ann@example.com", tier="basic", created_at=datetime.now(UTC))
    if not of_people:
        bench.drop("a.txt", "ann@example.com:x\n")
    [first] = _evaluate(new_data_sensor, bench, instance)
    payload = DarkwatchScan.checked(first.run_config["ops"]["plan"]["config"])
    with bench.db.begin() as connection:
        enqueue(connection, payload, requested_by="sensor:new_data_sensor")
    bench.drop("b.txt", "bob@example.com:x\n")
    asked = [one.run_config["ops"]["plan"]["config"] for one in _evaluate(new_data_sensor, bench, instance)]
    if of_people:
        assert asked == [{"tiers": ["premium"]}], "a scan of people holds up no dump"
    else:
        assert asked == []
        with bench.db.begin() as connection:
            connection.execute(sa.text("UPDATE kordant.job_requests SET status = 'cancelled', ended_at = now()"))
        assert len(_evaluate(new_data_sensor, bench, instance)) == 1
    assert new.subscription_id
