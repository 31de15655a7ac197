"""No scan of people waits for a dump: one that another scan reads is left, counts as unread, and is looked at again."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.dumps import unpack
from kordant_jobs.errors import TransientError
from kordant_jobs.jobs.darkwatch_scan import ingestion, service
from kordant_jobs.jobs.darkwatch_scan.left import scan_again
from kordant_jobs.jobs.darkwatch_scan.service import ScanPlan
from kordant_jobs.store.darkwatch import dumps
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe

VERDICT = "SELECT verdict, reason, new_exposures FROM kordant.source_verdicts"
WAITING = "SELECT payload->>'read_dumps', run_at > now() FROM kordant.job_requests WHERE status = 'pending'"


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    return bench_in(tmp_path, db, keyring)


def scan(bench: Bench, *, read_dumps: bool = True, wait: bool = False, scope: Scope | None = None) -> ScanPlan:
    plan = service.plan_scan(
        scope or Scope(), since=None, until=None, db=bench.db, keyring=bench.keyring, box=bench.box, catalogue=None,
        read_dumps=read_dumps, wait=wait,
    )  # fmt: skip
    left = (*plan.left, *bench.match(plan).left)
    service.record(plan, db=bench.db, left=left)
    if left:
        scan_again(plan, left, db=bench.db)
    return plan


def test_a_dump_that_another_scan_reads_is_left_and_found_in_later(bench: Bench) -> None:
    ann = subscribe(bench.db, bench.keyring, "ann@example.com", created_at=datetime.now(UTC))
    bench.drop("x.txt", "ann@example.com:a\n")
    bench.plan()
    [(dump_id,)] = bench.rows("SELECT id FROM kordant.breach_dumps WHERE status = 'registered'")
    scope = Scope(subscription_ids=(ann.subscription_id,))
    with dumps.ingesting(bench.db, dump_id):
        scan(bench, scope=scope)
    assert bench.rows(VERDICT) == [("unknown", "1 breach dump could not be read yet", 0)]
    assert bench.rows(WAITING) == [("true", True)]
    scan(bench, scope=scope)
    assert bench.rows(VERDICT) == [("exposed", None, 1)]


def test_a_dump_whose_disk_fails_just_now_is_not_quarantined(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", created_at=datetime.now(UTC))
    bench.drop("x.txt", "ann@example.com:a\n")

    def fails(path: Path, **_: object) -> None:
        with unpack.reading():
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(ingestion, "open_dump", fails)
        with pytest.raises(TransientError, match="just now"):
            scan(bench)
    assert bench.rows("SELECT status FROM kordant.breach_dumps") == [("registered",)]
    scan(bench)
    assert bench.rows(VERDICT) == [("exposed", None, 1)]


def test_a_dump_that_was_read_meanwhile_but_not_for_these_counts_as_unread(bench: Bench) -> None:
    ann = subscribe(bench.db, bench.keyring, "ann@example.com", tier="basic")
    subscribe(bench.db, bench.keyring, "bob@example.com", tier="premium")
    bench.drop("x.txt", "ann@example.com:a\n")
    bench.plan()
    scope = Scope(subscription_ids=(ann.subscription_id,))
    plan = service.plan_scan(
        scope, since=None, until=None, db=bench.db, keyring=bench.keyring, box=bench.box, catalogue=None,
        read_dumps=False,
    )  # fmt: skip
    bench.scan(Scope(tiers=("premium",)))
    assert bench.rows("SELECT status FROM kordant.breach_dumps") == [("ingested",)]
    service.record(plan, db=bench.db, left=plan.left)
    assert bench.rows(f"{VERDICT} WHERE verdict <> 'clean'") == [("unknown", "1 breach dump could not be read yet", 0)]
    bench.scan(scope)
    assert bench.rows(f"{VERDICT} WHERE verdict <> 'clean'") == [("exposed", None, 1)]


def test_what_was_left_is_found_even_by_scans_hours_later(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    bench.plan()
    scan(bench, read_dumps=False)
    bench.rows("SELECT 1")
    [(known_until,)] = bench.rows("SELECT known_until FROM kordant.scan_watermarks")
    [(registered_at,)] = bench.rows("SELECT registered_at FROM kordant.breach_dumps")
    assert known_until <= registered_at, "whoever looks from there on looks into it"
    assert datetime.now(UTC) - known_until < timedelta(minutes=5)


def test_a_first_scan_reads_no_dump_itself_and_asks_for_one_that_does(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    bench.plan()
    plan = scan(bench, read_dumps=False)
    assert (plan.chunks, len(plan.left)) == ((), 1)
    assert bench.rows(WAITING) == [("true", False)], "at once: nobody reads it"
    scan(bench, read_dumps=False)
    assert len(bench.rows(WAITING)) == 1, "the same people are scanned again once"


def test_an_earlier_clean_verdict_of_the_day_does_not_outlive_a_dump_that_was_left(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("a.txt", "bob@example.com:b\n")
    bench.scan()
    assert bench.rows(VERDICT) == [("clean", None, 0)]
    bench.drop("x.txt", "ann@example.com:a\n")
    bench.plan()
    scan(bench, read_dumps=False)
    assert [row[0] for row in bench.rows(VERDICT)] == ["unknown"]
