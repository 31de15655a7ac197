"""Found equals planted, to the pair, the line and the secret, with nobody else exposed: ten invented worlds."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.breach_catalogue import FileCatalogue
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan.drops import label_of
from kordant_jobs.lab.world.catalogue import make_catalogue
from kordant_jobs.lab.world.dump_files import write_dumps
from kordant_jobs.lab.world.population import make_population
from kordant_jobs.lab.world.subscribers import new_subscribers
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.darkwatch_scan.bench import SETTLED, bench_in


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 10))])
def test_found_is_planted(seed: int, db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    bench = bench_in(tmp_path, db, keyring)
    population = make_population(seed, 300)
    dump_set = write_dumps(population, bench.folder, seed=seed, lines=20_000)
    for path in bench.folder.iterdir():
        os.utime(path, (SETTLED, SETTLED))
    (tmp_path / "catalogue.json").write_text(json.dumps(make_catalogue(seed)))
    with db.begin() as connection:
        subscribers.add(connection, new_subscribers(population, datetime.now(UTC)), keyring)
    assert service.refresh_catalogue(db, FileCatalogue(tmp_path / "catalogue.json")) is None

    bench.scan()

    with db.connect() as connection:
        found = {
            tuple(row)
            for row in connection.execute(
                sa.text(
                    "SELECT e.item_id::text, d.file_label, v.line, e.breach_name = d.breach_name"
                    " FROM kordant.exposure_evidence v JOIN kordant.exposures e ON e.id = v.exposure_id"
                    " JOIN kordant.breach_dumps d ON d.id = v.dump_id"
                )
            )
        }
        assert (
            not connection.execute(sa.text("SELECT id FROM kordant.breach_dumps WHERE status <> 'ingested'"))
            .scalars()
            .all()
        )
    first = {(item, file): line for item, file, line, same_breach in found if same_breach}
    planted = {(str(one.item_id), label_of(one.dump, keyring)): one.line for one in dump_set.planted}
    assert all(first[pair] <= line for pair, line in planted.items())
    more = len(first) - len(planted) + sum(first[pair] < line for pair, line in planted.items())
    assert more <= sum(file.bad_lines for file in dump_set.files)  # damaged lines may name somebody, too
    before = bench.everything()
    bench.scan()
    assert bench.everything() == before
