"""The same people in many forms, through one whole scan: who stands in a dump is exposed in it, or it is not clean."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from kordant_jobs.jobs.darkwatch_scan.drops import label_of
from kordant_jobs.lab.world.forms import people
from kordant_jobs.lab.world.more_forms import more_forms
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.darkwatch_scan.bench import bench_in
from kordant_jobs_tests.jobs.people import subscribe

PEOPLE = people(10)


@pytest.mark.long
def test_found_is_planted_in_every_form(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    bench = bench_in(tmp_path, db, keyring)
    subscriptions = [subscribe(db, keyring, one.email).subscription_id for one in PEOPLE]
    all_forms = {f"{form.name}.dump": form for form in more_forms(PEOPLE)}
    for name, form in all_forms.items():
        bench.drop(name, form.content)
    bench.scan()
    found = set(
        bench.rows(
            "SELECT i.subscription_id, d.file_label FROM kordant.exposure_evidence v "
            "JOIN kordant.exposures e ON e.id = v.exposure_id JOIN kordant.watchlist_items i ON i.id = e.item_id "
            "JOIN kordant.breach_dumps d ON d.id = v.dump_id"
        )
    )
    missed = {
        name
        for name in all_forms
        for subscription in subscriptions
        if (subscription, label_of(name, keyring)) not in found
    }
    assert not missed
