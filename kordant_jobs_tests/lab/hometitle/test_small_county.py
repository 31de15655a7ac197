"""The demo's county: what is planted on watched parcels is alerted, and nothing else is critical."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from kordant_jobs.adapters.counties import open_counties
from kordant_jobs.lab.hometitle.small_county import compare_frauds, publish_news, watch_small_county
from kordant_jobs.lab.world.county import County
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.hometitle_scan.test_service import Bench
from kordant_jobs_tests.jobs.people import subscribe


def test_found_is_planted(db: Engine, keyring: Keyring, settings: Settings) -> None:
    people = [subscribe(db, keyring), subscribe(db, keyring)]
    watch_small_county(db, keyring, settings, [one.subscription_id for one in people])
    bench = Bench(db, keyring, open_counties(settings), County(1, lots=1, documents=1, frauds=0), people[0])
    bench.scan()
    before = compare_frauds(db)
    assert (before["found"], before["missed"]) == (0, before["planted"])
    publish_news(settings)
    assert bench.scan().unknown == 0
    after = compare_frauds(db)
    assert (after["missed"], after["false_hits"]) == (0, 0)
    assert after["found"] == after["planted"] > 10
    assert replace(bench).scan().new_alerts == 0
