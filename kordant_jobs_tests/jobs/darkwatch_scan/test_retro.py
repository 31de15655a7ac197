"""A new dump is held against watched items while it is read: who stands in it is alerted before its end, once."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus, CorpusWriter
from kordant_jobs.catalog import SCHEDULES
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan.service import ScanPlan
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe

BLOCK_BYTES, RUN_RECORDS = 2_000, 150
ALERTS = "SELECT count(*) FROM kordant.alerts"
PREMIUM = Scope(tiers=("premium",))


class ShortRuns(Corpus):
    """A corpus into which a dump goes a few blocks at a time."""

    def write(self, dump_id: UUID, *, origin: str, **options: int) -> CorpusWriter:
        return super().write(dump_id, origin=origin, run_records=RUN_RECORDS, **options)


class Interrupted(Exception):
    """What a test ends a scan with, as kill -9 would: nothing is cleaned up behind it."""


class Watching(Progress):
    """Looks at what is there whenever a block was read."""

    def __init__(self, db: Engine, look: Callable[[], None]) -> None:
        super().__init__(db, "test")
        self._look = look

    def advance(self, by: int, message: str) -> None:
        self._look()


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    made = bench_in(tmp_path, db, keyring)
    limits = replace(made.box.limits, block_bytes=BLOCK_BYTES)
    return replace(made, box=replace(made.box, limits=limits), corpus=ShortRuns(tmp_path / "corpus"))


def _match(bench: Bench, plan: ScanPlan, look: Callable[[], None]) -> None:
    for chunk in plan.chunks:
        service.match_chunk(
            plan, chunk, db=bench.db, keyring=bench.keyring, box=bench.box, corpus=bench.corpus,
            progress=Watching(bench.db, look),
        )  # fmt: skip


def _dump(watched: dict[int, str], lines: int = 1_000) -> str:
    return "".join(watched.get(line, f"nobody{line}@example.com:pw{line}") + "\n" for line in range(1, lines + 1))


def _alerts(bench: Bench) -> list[tuple[Any, ...]]:
    return bench.rows("SELECT severity, provisional, why FROM kordant.alerts")


def test_premium_is_alerted_while_the_dump_is_still_read(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    bench.drop("x.txt", _dump({1: "ann@example.com:a"}))
    seen = []
    _match(bench, bench.plan(PREMIUM), lambda: seen.append(bench.rows(f"{ALERTS} UNION ALL {_WAITING}")))
    assert len(seen) > 5
    assert seen[0] == [(1,), (1,)], "the alert and its notification are there after the first block"
    assert bench.rows("SELECT status FROM kordant.breach_dumps") == [("ingested",)]


_WAITING = "SELECT count(*) FROM kordant.notification_outbox"


def test_at_the_end_the_alert_says_all_that_the_dump_holds(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    hashed = "ann@example.com:5f4dcc3b5aa765d61d8327deb882cf99"
    bench.drop("x.txt", _dump({3: hashed, 700: "Ann@Example.com:secret", 900: "ann@example.com:secret"}))
    plan, early = bench.plan(PREMIUM), []
    _match(bench, plan, lambda: early.append(_alerts(bench)))
    recorded = service.record(plan, db=bench.db)
    [(first_severity, provisional, first_why)] = early[0]
    assert (first_severity, provisional, first_why[0]["line"], first_why[0]["occurrences"]) == ("high", True, 3, None)
    [(severity, provisional, why)] = _alerts(bench)
    assert (severity, provisional, recorded.new_alerts) == ("critical", False, 1)
    assert (why[0]["line"], why[0]["occurrences"], why[1]["secret"]) == (3, 3, "clear")
    assert bench.rows(_WAITING) == [(1,)]


def test_two_who_watch_one_address_are_both_alerted(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    bench.drop("x.txt", _dump({1: "ann@example.com:a"}))
    seen: list[Any] = []
    _match(bench, bench.plan(PREMIUM), lambda: seen.append(bench.rows(ALERTS)))
    assert seen[0] == [(2,)]


@pytest.mark.parametrize("blocks", [1, 4, 7, 12])
def test_a_scan_killed_within_a_dump_leaves_no_one_without_an_alert_in_what_counts_as_read(
    bench: Bench, tmp_path: Path, blocks: int
) -> None:
    people = {line: f"person{line}@example.com" for line in range(20, 1_000, 50)}
    for address in people.values():
        subscribe(bench.db, bench.keyring, address, tier="premium")
    bench.drop("x.txt", _dump({line: f"{address}:pw" for line, address in people.items()}))
    plan, left = bench.plan(PREMIUM), iter(range(blocks - 1))

    def interrupt() -> None:
        if next(left, None) is None:
            raise Interrupted

    with pytest.raises(Interrupted):
        _match(bench, plan, interrupt)
    [(dump_id,)] = bench.rows("SELECT id FROM kordant.breach_dumps")
    alerted = {row[0] for row in bench.rows("SELECT (why->0->>'line')::int FROM kordant.alerts")}
    runs = list((tmp_path / "corpus" / ".drafts" / str(dump_id)).glob("run-*"))
    assert alerted >= {line for line in people if line <= len(runs) * RUN_RECORDS}
    bench.match(plan)
    assert service.record(plan, db=bench.db).new_alerts == len(people)
    found = bench.rows("SELECT (why->0->>'line')::int, why->0->>'occurrences', provisional FROM kordant.alerts")
    assert sorted(found) == [(line, "1", False) for line in people]
    assert bench.rows(_WAITING) == [(len(people),)]


def test_a_scan_of_another_tier_that_comes_first_alerts_premium_too(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    with bench.db.begin() as connection:
        scheduler_config.seed(connection, SCHEDULES)
    subscribe(bench.db, bench.keyring, "bob@example.com", tier="plus")
    subscribe(bench.db, bench.keyring, "eve@example.com", tier="basic")
    bench.drop("x.txt", _dump({1: "ann@example.com:a", 2: "bob@example.com:b", 3: "eve@example.com:c"}))
    seen: list[Any] = []
    plan = bench.plan(Scope(tiers=("plus",)))
    _match(bench, plan, lambda: seen.append(bench.rows(ALERTS)))
    assert seen[0] == [(2,)], "plus, whose scan it is, and premium; basic has its own cadence"
    assert service.record(plan, db=bench.db).new_alerts == 1
    assert bench.scan(PREMIUM)[1].new_alerts == 1, "settled by their own scan"
    assert bench.scan(Scope(tiers=("basic",)))[1].new_alerts == 1
    assert {(p, w[0]["line"]) for _, p, w in _alerts(bench)} == {(False, 1), (False, 2), (False, 3)}


def test_who_was_found_and_not_alerted_yet_is_alerted_when_the_dump_turns_out_damaged(
    bench: Bench, tmp_path: Path
) -> None:
    """The second one found waits up to a second for others, and the damage comes before that."""
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    subscribe(bench.db, bench.keyring, "bob@example.com", tier="premium")
    limits = replace(bench.box.limits, block_bytes=200_000)
    bench = replace(bench, box=replace(bench.box, limits=limits), corpus=Corpus(tmp_path / "long runs"))
    whole = gzip.compress(_dump({1: "ann@example.com:a", 15_000: "bob@example.com:b"}, lines=120_000).encode())
    bench.drop("x.txt.gz", whole[: len(whole) // 2])
    bench.match(bench.plan(PREMIUM))
    assert sorted(why[0]["line"] for _, _, why in _alerts(bench)) == [1, 15_000]


def test_who_stands_before_the_damage_is_alerted_and_not_again_after_the_repair(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    limits = replace(bench.box.limits, block_bytes=200_000)
    bench = replace(bench, box=replace(bench.box, limits=limits))
    whole = gzip.compress(_dump({1: "ann@example.com:a"}, lines=120_000).encode())
    bench.drop("x.txt.gz", whole[: len(whole) // 2])
    matched, recorded = bench.scan(PREMIUM)
    assert (len(matched.quarantined), recorded.new_alerts, recorded.exposed) == (1, 1, 1)
    bench.drop("x.txt.gz", whole)
    assert bench.scan(PREMIUM)[1].new_alerts == 0
    assert bench.rows("SELECT count(DISTINCT breach_name), count(*) FROM kordant.exposures") == [(1, 1)]
