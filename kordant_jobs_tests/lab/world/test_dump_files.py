from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.errors import SettingsError
from kordant_jobs.lab.world.dump_files import DumpSet, packed, write_dumps
from kordant_jobs.lab.world.dump_rows import make_secrets, near_misses
from kordant_jobs.lab.world.population import Kind, Population, make_population
from kordant_jobs_tests.lab.world.reading import Row, identified, lines_of, rows_of

SUBSCRIBERS, LINES = 400, 8_000


@dataclass(frozen=True)
class World:
    """What was written and what the plain reader makes of it, by file."""

    population: Population
    folder: Path
    dumps: DumpSet
    rows: dict[str, list[Row]]
    bad: dict[str, int]


@pytest.fixture(scope="module", params=[1, 2, 3])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("dumps")
    population = make_population(request.param, SUBSCRIBERS)
    dumps = write_dumps(population, folder, seed=request.param, lines=LINES)
    read = {file.name: rows_of(folder / file.name, file.encoding) for file in dumps.files}
    return World(
        population=population,
        folder=folder,
        dumps=dumps,
        rows={name: rows for name, (rows, _) in read.items()},
        bad={name: bad for name, (_, bad) in read.items()},
    )


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    population = make_population(5, 100)
    sets = [write_dumps(population, tmp_path / name, seed=seed, lines=2_000) for name, seed in (("a", 5), ("b", 5))]
    other = write_dumps(population, tmp_path / "c", seed=6, lines=2_000)
    first, second, third = (digests(tmp_path / name) for name in "abc")
    assert first == second
    assert sets[0] == sets[1] != other
    assert not set(first.values()) & set(third.values())


def test_found_is_planted_on_the_stated_lines_with_no_false_hit(world: World) -> None:
    """By a reader that knows the files: items, dumps, first lines and the kind of secret, all equal."""
    owners: dict[tuple[str, str], list[UUID]] = defaultdict(list)
    for item in world.population.items:
        owners[item.kind, item.canonical].append(item.id)
    found: dict[tuple[UUID, str], int] = {}
    for name, rows in world.rows.items():
        for row in rows:
            for identifier in row.identifiers:
                for item_id in owners[identifier]:
                    found.setdefault((item_id, name), row.line)
    assert found == {(planted.item_id, planted.dump): planted.line for planted in world.dumps.planted}


def test_every_copy_of_a_planted_item_stands_beside_the_stated_kind_of_secret(world: World) -> None:
    """So that the strongest secret of several rows is the one stated."""
    canonical = {item.id: (item.kind, item.canonical) for item in world.population.items}
    hashed = set(make_secrets(world.population.seed).hashed)
    copies = 0
    for planted in world.dumps.planted:
        rows = [row for row in world.rows[planted.dump] if canonical[planted.item_id] in row.identifiers]
        copies += len(rows) - 1
        for row in rows:
            secret = row.secret.removesuffix("\udce9\udc80")
            kind = SecretKind.HASHED if secret in hashed else SecretKind.CLEAR if secret else SecretKind.NONE
            assert kind is planted.secret
    assert copies > 0


def test_bad_lines_are_as_many_as_said_and_about_one_in_a_hundred(world: World) -> None:
    assert world.bad == {file.name: file.bad_lines for file in world.dumps.files}
    assert 0.01 <= sum(world.bad.values()) / LINES < 0.015


def test_lines_add_up(world: World) -> None:
    files = world.dumps.files
    assert sum(file.text_lines for file in files) == LINES
    for file in files:
        assert len(lines_of(world.folder / file.name, file.encoding)) == file.text_lines
        assert file.shape == "sql_insert" or file.text_lines == file.lines


def test_near_misses_stand_in_the_dumps_and_belong_to_no_one(world: World) -> None:
    watched = {item.canonical for item in world.population.items}
    written = {value for rows in world.rows.values() for row in rows for _, value in row.identifiers}
    assert len(world.dumps.near_misses) >= 60
    for value in world.dumps.near_misses:
        assert value not in watched
        kind = "email" if "@" in value else "phone" if value.startswith("+") else "username"
        assert identified(kind, value) == (kind, value)
        assert value in written


@pytest.mark.parametrize(
    ("kind", "canonical"),
    [
        ("email", "ana@example.com"),
        ("email", "ana@xn--bcher-kva.example"),
        ("phone", "+12125550142"),
        ("username", "ana"),
    ],
)
def test_a_near_miss_is_never_the_identifier(kind: Kind, canonical: str) -> None:
    assert near_misses(kind, canonical)
    assert canonical not in near_misses(kind, canonical)


def test_some_items_are_in_several_breaches_and_three_in_ten_subscribers_are_planted(world: World) -> None:
    planted = world.dumps.planted
    assert len({one.item_id for one in planted}) < len(planted)
    assert len({(one.item_id, one.dump) for one in planted}) == len(planted)
    assert 0.25 <= len(planted) / SUBSCRIBERS <= 0.4
    assert {one.secret for one in planted} == {SecretKind.NONE, SecretKind.HASHED, SecretKind.CLEAR}


def test_every_stolen_password_is_listed(world: World) -> None:
    written = {row.secret.removesuffix("\udce9\udc80") for rows in world.rows.values() for row in rows} - {""}
    assert written <= world.dumps.passwords


def test_no_stolen_password_could_stand_elsewhere_by_chance() -> None:
    secrets = make_secrets(1)
    everything = secrets.clear + secrets.awkward + secrets.hashed
    assert min(map(len, everything)) >= 17
    assert len(set(everything)) == len(everything)


def test_every_shape_encoding_and_packing_of_the_issue_is_there(world: World) -> None:
    files = world.dumps.files
    assert {file.shape for file in files} == {"combo", "delimited", "csv", "json_lines", "sql_insert", "plain"}
    assert {file.compression for file in files} == {"none", "gzip", "zstd", "xz", "zip"}
    assert {file.encoding for file in files} == {"utf-8", "utf-8-sig", "latin-1"}
    assert len({(file.shape, file.compression, file.encoding) for file in files}) >= 8
    assert {file.day for file in files} == {0, 1, 2}


def test_broken_bytes_stand_in_lines_that_still_name_a_person(world: World) -> None:
    for name in ("CrumbleCloud.txt", "ParcelPigeon.txt.gz"):
        good = {row.line for row in world.rows[name]}
        texts = lines_of(world.folder / name, "utf-8")
        assert any("\udce9" in text and line in good for line, text in enumerate(texts, 1))


def test_an_extended_insert_is_longer_than_a_line_may_be(tmp_path: Path) -> None:
    dumps = write_dumps(make_population(1, 50), tmp_path, seed=1, lines=130_000)
    (file,) = (file for file in dumps.files if file.shape == "sql_insert")
    assert max(map(len, lines_of(tmp_path / file.name, "utf-8"))) > 1 << 20


def test_too_few_lines_are_refused_with_the_number_that_would_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ask for 30000 or more"):
        write_dumps(make_population(1, 5_000), tmp_path, seed=1, lines=10_000)


@pytest.mark.parametrize(("subscribers", "lines"), [(1, 2_000), (1_000, 6_000), (333, 2_000)])
def test_the_smallest_sizes_that_are_accepted_work(tmp_path: Path, subscribers: int, lines: int) -> None:
    dumps = write_dumps(make_population(1, subscribers), tmp_path, seed=1, lines=lines)
    assert sum(file.text_lines for file in dumps.files) == lines


def test_packing_is_free_of_the_clock() -> None:
    data = b"a@example.com\n" * 100
    assert packed(data, "gzip")[4:8] == bytes(4)
    assert packed(data, "zip") == packed(data, "zip")
