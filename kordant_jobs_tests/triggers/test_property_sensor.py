"""New data of a county that premium subscribers watch asks for one scan; the county is asked at a bounded rate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._serdes import serialize_value
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.definitions import defs
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.jobs.hometitle_scan.rules.freshness import ASK_EVERY
from kordant_jobs.lab.fakes.counties.servers import FakeSocrata, Tables
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import records, watches
from kordant_jobs.triggers.sensors import property_sensor
from kordant_jobs_tests.adapters.counties.test_drivers import county
from kordant_jobs_tests.jobs.people import subscribe

NAME = "test-socrata"


@pytest.fixture
def server() -> Iterator[FakeSocrata]:
    with FakeSocrata(Tables({"abcd-1234": []}, mark="loaded", row_id="rowid")) as running:
        yield running


def tick(db: Engine, server: FakeSocrata, folder: Path, cursor: str | None = None) -> dg.SensorResult:
    counties = Counties({NAME: county("socrata", server.url)}, folder)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(
            instance=instance, resources={"db": db, "counties": counties}, definitions=defs, cursor=cursor
        ) as context,
    ):
        answer = property_sensor.evaluate_tick(context)
        serialize_value(answer)
        return dg.SensorResult(run_requests=list(answer.run_requests or ()), cursor=answer.cursor)


def watch(db: Engine, keyring: Keyring, tier: Tier, freshness: str) -> None:
    person = subscribe(db, keyring, tier=tier)
    with db.begin() as connection:
        wanted = watches.NewWatch(county=NAME, parcel="123456789")
        watches.add(connection, keyring, person.subscription_id, [wanted])
        records.save_state(connection, NAME, watermarks={}, freshness=freshness)
        connection.execute(
            sa.text(
                "INSERT INTO kordant.scan_watermarks (subscription_id, job, known_until) "
                "SELECT id, 'hometitle_scan', now() + interval '1 minute' FROM kordant.subscriptions"
            )
        )


def test_a_county_with_new_data_asks_for_a_scan_of_the_realtime_tiers(
    listed: Engine, keyring: Keyring, server: FakeSocrata, tmp_path: Path
) -> None:
    watch(listed, keyring, Tier.PREMIUM, "abcd-1234=1")
    assert tick(listed, server, tmp_path).run_requests == []
    server.tables.edited = 2
    before = (datetime.now(UTC) - ASK_EVERY - timedelta(minutes=1)).isoformat()
    [request] = tick(listed, server, tmp_path, json.dumps({"files": "", "asked_at": {NAME: before}})).run_requests or []
    assert request.run_config == {"ops": {"plan": {"config": {"tiers": ["premium"]}}}}
    assert request.tags["kordant/trigger"] == "new_records"


def test_a_county_is_asked_once_in_a_while(
    listed: Engine, keyring: Keyring, server: FakeSocrata, tmp_path: Path
) -> None:
    watch(listed, keyring, Tier.PREMIUM, "abcd-1234=1")
    first = tick(listed, server, tmp_path)
    asked = len(server.asked)
    assert asked > 0
    tick(listed, server, tmp_path, first.cursor)
    assert len(server.asked) == asked


def test_a_county_that_no_realtime_tier_watches_is_not_asked(
    listed: Engine, keyring: Keyring, server: FakeSocrata, tmp_path: Path
) -> None:
    watch(listed, keyring, Tier.BASIC, "abcd-1234=0")
    assert tick(listed, server, tmp_path).run_requests == []
    assert server.asked == []


def test_a_county_that_does_not_answer_asks_for_no_scan(
    listed: Engine, keyring: Keyring, server: FakeSocrata, tmp_path: Path
) -> None:
    watch(listed, keyring, Tier.PREMIUM, "abcd-1234=0")
    server.traps.errors_first = 100
    assert tick(listed, server, tmp_path).run_requests == []
    assert server.asked
