"""The demo's truth against the project's own reader: what it finds is what was planted, seed by seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from kordant_jobs.adapters.dumps import DumpLimits, open_dump
from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs.lab.world.dump_files import DumpFile, write_dumps
from kordant_jobs.lab.world.population import make_population

LIMITS = DumpLimits(max_bytes=1 << 30, max_ratio=1_000)
RISING = (SecretKind.MENTIONED, SecretKind.NONE, SecretKind.HASHED, SecretKind.CLEAR)


def read(path: Path) -> tuple[pl.DataFrame, tuple[str, str, int, int]]:
    """All records of a dump; and its shape, compression, lines and bad lines."""
    records, lines, bad = [], 0, Counter[str]()
    with open_dump(path, limits=LIMITS, phone_region="US") as dump:
        for batch in dump.batches():
            records.append(batch.records)
            lines += batch.lines
            bad.update(batch.bad_lines)
        return pl.concat(records), (dump.shape, dump.compression, lines, bad.total())


def stated(file: DumpFile) -> tuple[str, str, int]:
    return file.shape, file.compression, file.text_lines


@pytest.mark.parametrize("seed", range(1, 11))
def test_the_reader_finds_what_was_planted_and_more_on_damaged_lines_only(seed: int, tmp_path: Path) -> None:
    """Items, first lines, secrets and lines of every file. Damaged lines, of which there are few, may name somebody."""
    population = make_population(seed, 300)
    dumps = write_dumps(population, tmp_path, seed=seed, lines=6_000)
    owners: dict[tuple[str, str], list[str]] = {}
    for item in population.items:
        owners.setdefault((item.kind, item.canonical), []).append(str(item.id))
    for file in dumps.files:
        records, facts = read(tmp_path / file.name)
        assert facts[:3] == stated(file), file.name
        assert facts[3] <= file.bad_lines, file.name
        found: dict[str, tuple[int, int]] = {}
        for line, kind, identifier, secret in records.iter_rows():
            for item_id in owners.get((kind, identifier), ()):
                first, worst = found.get(item_id, (line, 0))
                found[item_id] = min(first, line), max(worst, RISING.index(SecretKind(secret)))
        planted = [one for one in dumps.planted if one.dump == file.name]
        wanted = {str(one.item_id): (one.line, RISING.index(one.secret)) for one in planted}
        assert found.items() >= wanted.items(), file.name
        assert len(found) - len(wanted) <= file.bad_lines, file.name


def test_the_normaliser_gives_each_item_its_canonical_form() -> None:
    items = make_population(11, 1_000).items
    wrong = [item.id for item in items if normalise(IdentifierKind(item.kind), item.raw) != item.canonical]
    assert wrong == []
