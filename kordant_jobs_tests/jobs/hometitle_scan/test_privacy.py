"""Canaries: a watched parcel and the names on its deeds stand in no log, no run, no file of Dagster's and no report
but masked, whether the scan ends well or in part."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.jobs.hometitle_scan.job import JOBS
from kordant_jobs.jobs.reports_generate import service as reports_service
from kordant_jobs.jobs.reports_generate.content import write_report
from kordant_jobs.jobs.reports_generate.renderer import page_of
from kordant_jobs.lab.world.county import County
from kordant_jobs.lab.world.county_files import NAME, description
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import reporting, watches
from kordant_jobs_tests.jobs.hometitle_scan.test_report_section import PERIOD
from kordant_jobs_tests.jobs.hometitle_scan.test_service import Bench, alerts
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, figures

OWNER, TAKER, KNOWN = "CANARYOWNER ZEBULON", "CANARYTAKER QUENTIN", "Xanthippe Canaryknown"
WORDS = ("canary", "zebulon", "quentin", "xanthippe")


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    county = County(11, lots=100, documents=600, frauds=6)
    forged = next(one for one in county.records if one.truth.fraud == "forged-quitclaim-nominal")
    place = county.records.index(forged)
    county.records[place] = replace(forged, givers=(OWNER,), takers=(TAKER,))
    bench = Bench(db, keyring, Counties({NAME: description()}, tmp_path / "drop"), county, subscribe(db, keyring))
    parcel = county.parcel(forged.lots[0])
    bench.watch(
        watches.NewWatch(county=NAME, parcel=parcel, owners=(KNOWN,)),
        watches.NewWatch(county=NAME, owners=("Zebulon Canaryowner",)),
    )
    bench.publish("all", lambda one: True)
    return bench


def _absent(text: str, parcel: str, where: str) -> None:
    for word in (*WORDS, parcel, f"{parcel[0]}-{int(parcel[1:6])}-{int(parcel[6:])}"):
        assert word not in text.lower(), f"{word} in {where}"


def test_names_and_parcels_stand_in_no_log_and_no_run(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    forged = next(one for one in bench.county.records if one.givers == (OWNER,))
    parcel = bench.county.parcel(forged.lots[0])
    (tmp_path / "dagster").mkdir()
    (bench.folder / "bad.csv").write_text(f"document,type\n{parcel},{OWNER}\n")  # rows that are not understood
    with dg.instance_for_test(temp_dir=str(tmp_path / "dagster")) as instance:
        resources = {"db": bench.db, "keyring": bench.keyring, "counties": bench.counties}
        done = JOBS.plain.execute_in_process(instance=instance, resources=resources)
        assert done.success
        assert done.output_for_node("summarise")["new_findings"] > 0
        text = "\n".join(map(str, (*instance.all_logs(done.run_id), *instance.get_runs())))
    assert forged.key in {key for key, _ in alerts(bench)}
    _absent(text, parcel, "Dagster's events and runs")
    _absent(caplog.text + "".join(capfd.readouterr()), parcel, "logs")
    for file in (tmp_path / "dagster").rglob("*"):
        if file.is_file():
            _absent(file.read_bytes().decode("latin-1"), parcel, file.name)


def test_a_report_names_no_party_and_masks_the_parcel(bench: Bench) -> None:
    bench.scan()
    forged = next(one for one in bench.county.records if one.givers == (OWNER,))
    parcel = bench.county.parcel(forged.lots[0])
    with bench.db.begin() as connection:
        facts = reporting.property_facts(
            connection, [bench.person.subscription_id], start=PERIOD.start_on, end=PERIOD.end_on
        )
        opened = watches.load(connection, bench.keyring, subscription_id=bench.person.subscription_id)
    lines = tuple(map(reports_service.property_line, facts.watches[bench.person.subscription_id]))
    parcels = {one.id: one.parcel for one in opened if one.parcel}
    page = page_of(write_report(replace(figures(), properties=lines), replace(OPENED, parcels=parcels)))
    assert forged.key in page.html
    assert f"•••{parcel[-4:]}" in page.html
    _absent(page.html, parcel, "the report")
