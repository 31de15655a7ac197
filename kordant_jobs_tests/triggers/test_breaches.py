"""A new breach is noted once, asks for a scan of the real-time tiers, and has everybody asked about again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.breach_catalogue import parse_catalogue
from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.definitions import defs
from kordant_jobs.lab.fakes.sources.hibp import FakeHibp, breach
from kordant_jobs.lab.fakes.sources.server import FakeServer
from kordant_jobs.store.darkwatch import breaches
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.triggers.sensors import CHECK_EVERY_S, latest_breach_sensor, new_data_sensor
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in


@pytest.fixture
def fake() -> FakeHibp:
    return FakeHibp()


@pytest.fixture
def server(fake: FakeHibp) -> Iterator[FakeServer]:
    with fake.server() as serving:
        yield serving


@pytest.fixture
def bench(listed: Engine, keyring: Keyring, tmp_path: Path, fake: FakeHibp) -> Bench:
    content = json.dumps(list(fake.breaches.values())).encode()
    with listed.begin() as connection:
        found, rejected = parse_catalogue(content)
        breaches.save_catalogue(connection, content, found, rejected=rejected)
    return bench_in(tmp_path, listed, keyring)


def _tick(sensor: dg.SensorDefinition, bench: Bench, url: str, cursor: str | None) -> dg.SensorResult:
    resources = {
        "db": bench.db,
        "keyring": bench.keyring,
        "drop_box": bench.box,
        "breach_feed": Hibp(None, base_url=f"{url}/api/v3"),
    }
    wanted = {name: resources[name] for name in sensor.required_resource_keys}
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, resources=wanted, definitions=defs, cursor=cursor) as context,
    ):
        answer = sensor.evaluate_tick(context)
    return dg.SensorResult(run_requests=answer.run_requests or [], cursor=answer.cursor)


def _due(db: Engine) -> bool:
    with db.connect() as connection:
        now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return not breaches.catalogue_is_fresh(connection, now)


def test_a_known_breach_is_no_news_and_costs_nothing_a_second_time(bench: Bench, server: FakeServer) -> None:
    first = _tick(latest_breach_sensor, bench, server.url, None)
    assert not _due(bench.db)
    assert _tick(latest_breach_sensor, bench, server.url, first.cursor).cursor == first.cursor
    assert latest_breach_sensor.minimum_interval_seconds == CHECK_EVERY_S >= 60


def test_a_new_breach_is_noted_and_leads_to_a_scan_that_reads_the_catalogue(
    bench: Bench, server: FakeServer, fake: FakeHibp
) -> None:
    seen = _tick(latest_breach_sensor, bench, server.url, None).cursor
    before = _tick(new_data_sensor, bench, server.url, None)
    fake.breaches["Fresh"] = breach("Fresh", AddedDate="2026-11-20T00:00:00Z")
    again = _tick(latest_breach_sensor, bench, server.url, seen)
    assert again.cursor != seen
    assert bench.rows("SELECT title FROM kordant.breaches WHERE name = 'Fresh'") == [("Fresh",)]
    assert _due(bench.db)
    [request] = _tick(new_data_sensor, bench, server.url, before.cursor).run_requests or []
    assert (request.tags["kordant/trigger"], request.run_config["ops"]["plan"]["config"]) == (
        "new_breach",
        {"tiers": ["premium"]},
    )


def test_a_source_that_does_not_answer_is_said_and_forgets_nothing(bench: Bench, server: FakeServer) -> None:
    seen = _tick(latest_breach_sensor, bench, server.url, None).cursor
    with FakeHibp(hiccups=1).server() as busy:
        after = _tick(latest_breach_sensor, bench, busy.url, seen)
    assert (after.run_requests, after.cursor) == ([], seen)


def test_it_is_stopped_unless_it_is_wanted() -> None:
    assert latest_breach_sensor.default_status is dg.DefaultSensorStatus.STOPPED
