"""A scan on a real database: who is exposed, who is clean, what is unknown, and that nothing comes twice."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.drop_folder import MARK, DropFolder
from kordant_jobs.domain.darkwatch.breaches import Breach
from kordant_jobs.domain.darkwatch.exposures import DumpStatus
from kordant_jobs.engine.store.progress import Progress, read_progress
from kordant_jobs.errors import TransientError
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan.drops import register_file
from kordant_jobs.store.darkwatch import breaches, dumps, scans
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    return bench_in(tmp_path, db, keyring)


def _catalogue(db: Engine, *found: Breach) -> None:
    with db.begin() as connection:
        breaches.save_catalogue(connection, b"x", found, rejected=0)


def test_a_watched_identifier_in_a_dump_is_exposed_and_alerted_with_the_reason(bench: Bench) -> None:
    ann = subscribe(bench.db, bench.keyring, "Ann@Example.com")
    _catalogue(bench.db, Breach(name="Shoply", title="Shoply", data_classes=("Email addresses", "Passwords")))
    bench.drop("shoply.txt", "someone@example.com:a\nANN@example.COM:hunter2\n")
    matched, recorded = bench.scan()
    assert (matched.hits, matched.lines, recorded.new_alerts, recorded.exposed) == (1, 2, 1, 1)
    [(severity, why)] = bench.rows("SELECT severity, why FROM kordant.alerts")
    assert severity == "critical"
    assert [reason["code"] for reason in why] == ["identifier_in_dump", "secret_in_dump", "breach_known"]
    assert (why[0]["item_id"], why[0]["line"], why[0]["verified"]) == (str(ann.items["Ann@Example.com"]), 2, True)
    assert why[2]["breach_name"] == "Shoply"
    assert bench.rows("SELECT status, channel FROM kordant.notification_outbox") == [("queued", "email")]


def test_a_phone_and_a_user_name_are_found_however_they_are_written(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "+1 212 555 0142", "Night.Owl")
    bench.drop("x.csv", "id,phone,username,email\n1,(212) 555-0142,someone,a@example.com\n2,,night.owl,b@example.com\n")
    matched, _ = bench.scan()
    assert matched.hits == 2


def test_no_one_else_is_exposed(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.org:a\nxann@example.com:b\nann@example.com.example:c\n")
    matched, recorded = bench.scan()
    assert (matched.hits, recorded.clean, recorded.new_alerts) == (0, 1, 0)


def test_a_second_scan_finds_and_writes_nothing_new(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\nann@example.com:b\n")
    bench.scan()
    before = bench.everything()
    matched, recorded = bench.scan()
    assert (matched.lines, matched.new_exposures, recorded.new_alerts) == (0, 0, 0)
    assert bench.everything() == before


def test_the_same_content_under_another_name_is_not_ingested_again(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    bench.scan()
    bench.drop("y.txt", "ann@example.com:a\n")
    matched, _ = bench.scan()
    assert matched.lines == 0
    assert bench.rows("SELECT count(*) FROM kordant.breach_dumps") == [(1,)]


def test_an_ingested_file_is_removed_and_its_passwords_are_nowhere(bench: Bench, tmp_path: Path) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    path = bench.drop("x.txt", "ann@example.com:correct-horse-battery\n")
    bench.scan()
    assert not path.exists()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.name for file in files} == {"meta.json", "shard-000", MARK}, (
        "the corpus of one dump, and no copy of it"
    )
    left = b"".join(file.read_bytes() for file in files)
    assert b"correct-horse" not in left
    assert b"ann@example.com" not in left


def test_an_item_added_later_is_found_in_a_dump_of_before(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\nbob@example.com:b\n")
    bench.scan()
    subscribe(bench.db, bench.keyring, "bob@example.com", created_at=datetime.now(UTC))
    matched, recorded = bench.scan()
    assert (matched.new_exposures, matched.lines, recorded.new_alerts) == (1, 0, 1)


def test_an_item_whose_transaction_ended_after_a_scan_began_is_seen_by_the_next(bench: Bench) -> None:
    person = subscribe(bench.db, bench.keyring, "ann@example.com", "bob@example.com")
    bench.drop("x.txt", "bob@example.com:b\n")
    hidden = "UPDATE kordant.watchlist_items SET removed_at = now() WHERE id = :id"
    shown = (
        "UPDATE kordant.watchlist_items SET removed_at = NULL, created_at = now() - interval '50 min' WHERE id = :id"
    )
    with bench.db.begin() as connection:
        connection.execute(sa.text(hidden), {"id": person.items["bob@example.com"]})
    assert bench.scan()[1].new_alerts == 0
    with bench.db.begin() as connection:
        connection.execute(sa.text(shown), {"id": person.items["bob@example.com"]})
    assert bench.scan()[1].new_alerts == 1


def test_a_new_file_under_the_name_of_an_ingested_one_is_read(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", "bob@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    bench.scan()
    bench.drop("x.txt", "bob@example.com:longer\n")
    assert bench.scan()[1].new_alerts == 1


def test_a_file_that_was_replaced_after_the_plan_is_not_read_as_the_one_before(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", "bob@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    plan = bench.plan()
    bench.drop("x.txt", "bob@example.com:longer\n")
    assert bench.match(plan).hits == 0
    [(status, reason)] = bench.rows("SELECT status, reason FROM kordant.breach_dumps")
    assert status == "quarantined"
    assert "replaced" in reason
    assert bench.scan()[1].new_alerts == 1


def test_a_dump_dated_back_behind_the_watermark_is_still_seen(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.scan()
    path = bench.drop("x.txt", "ann@example.com:a\n")
    [file] = [one for one in bench.box.place.files() if one.name == path.name]
    register_file(bench.db, file, bench.keyring, known_at=datetime(2026, 3, 1, tzinfo=UTC))
    _, recorded = bench.scan()
    assert recorded.new_alerts == 1
    assert bench.rows("SELECT first_seen_at FROM kordant.exposures") == [(datetime(2026, 3, 1, tzinfo=UTC),)]


def test_a_scan_of_one_tier_leaves_the_others_for_their_own(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", tier="premium")
    subscribe(bench.db, bench.keyring, "bob@example.com", tier="basic")
    bench.drop("x.txt", "ann@example.com:a\nbob@example.com:b\n")
    assert bench.scan(Scope(tiers=("premium",)))[1].new_alerts == 1
    assert bench.scan(Scope(tiers=("basic",)))[1].new_alerts == 1


def test_a_day_covers_the_pairs_that_became_known_on_it(bench: Bench) -> None:
    day = datetime(2026, 3, 2, tzinfo=UTC)
    subscribe(bench.db, bench.keyring, "ann@example.com")
    for offset, name in enumerate(["a.txt", "b.txt", "c.txt"]):
        path = bench.drop(name, f"ann@example.com:{name}\n")
        [file] = [one for one in bench.box.place.files() if one.name == path.name]
        known_at = day + timedelta(days=offset - 1, hours=12)
        register_file(bench.db, file, bench.keyring, known_at=known_at)
    matched, recorded = bench.scan(since=day, until=day + timedelta(days=1))
    assert (matched.dumps, matched.hits, recorded.new_alerts) == (1, 1, 1)
    assert bench.rows("SELECT checked_on, new_exposures FROM kordant.source_verdicts") == [(day.date(), 1)]


def test_days_in_any_order_give_what_one_scan_gives(bench: Bench) -> None:
    day = datetime(2026, 3, 2, tzinfo=UTC)
    subscribe(bench.db, bench.keyring, "ann@example.com", created_at=day + timedelta(days=1, hours=3))
    for offset, name in enumerate(["a.txt", "b.txt", "c.txt"]):
        path = bench.drop(name, f"ann@example.com:{name}\n")
        [file] = [one for one in bench.box.place.files() if one.name == path.name]
        register_file(bench.db, file, bench.keyring, known_at=day + timedelta(days=offset, hours=12))
    for offset in (2, 0, 1):
        start = day + timedelta(days=offset)
        bench.scan(since=start, until=start + timedelta(days=1))
    days = {k: v for k, v in bench.everything().items() if k in {"exposures", "evidence", "alerts"}}
    _, recorded = bench.scan()
    assert recorded.new_alerts == 0
    assert {k: v for k, v in bench.everything().items() if k in days} == days
    assert len(days["exposures"]) == 3


def test_without_any_dump_the_verdict_is_unknown_not_clean(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.scan()
    assert bench.rows("SELECT verdict, reason FROM kordant.source_verdicts") == [
        ("unknown", "no breach dump was ingested yet")
    ]


def test_a_dump_that_cannot_be_read_makes_the_verdict_unknown_until_it_is_repaired(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("good.txt", "bob@example.com:b\n")
    whole = gzip.compress(b"ann@example.com:a\n" * 100)
    bench.drop("bad.txt.gz", whole[: len(whole) // 2])
    matched, recorded = bench.scan()
    assert (len(matched.quarantined), recorded.unknown, recorded.clean) == (1, 1, 0)
    [(reason,)] = bench.rows("SELECT reason FROM kordant.breach_dumps WHERE status = 'quarantined'")
    assert "\n" not in reason
    assert reason
    assert not bench.scan()[0].quarantined, "a quarantined dump is not read again as it is"
    bench.drop("bad.txt.gz", whole)
    matched, recorded = bench.scan()
    assert (matched.hits, recorded.exposed, recorded.unknown) == (1, 1, 0)
    assert bench.rows("SELECT status FROM kordant.breach_dumps ORDER BY 1") == [
        ("ingested",),
        ("ingested",),
        ("superseded",),
    ]


def test_a_dismissed_dump_no_longer_makes_anything_unknown(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("good.txt", "bob@example.com:b\n")
    bench.drop("bad.gz", b"\x1f\x8b\x08\x00junk")
    matched, _ = bench.scan()
    with bench.db.begin() as connection:
        assert dumps.move(connection, matched.quarantined[0], DumpStatus.DISMISSED)
    assert bench.scan()[1].clean == 1


def test_a_dump_whose_file_vanished_is_quarantined_with_that_reason(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    path = bench.drop("x.txt", "ann@example.com:a\n")
    plan = bench.plan()
    path.unlink()
    assert len(bench.match(plan).quarantined) == 1
    [(reason,)] = bench.rows("SELECT reason FROM kordant.breach_dumps")
    assert "no longer in the drop place" in reason


def test_a_dump_whose_folder_this_machine_does_not_see_is_tried_again_and_changes_no_verdict(
    bench: Bench, tmp_path: Path
) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    plan = bench.plan()
    elsewhere = replace(bench.box, place=DropFolder(tmp_path / "not mounted"))
    with pytest.raises(TransientError, match="KORDANT_DROP_DIR"):
        replace(bench, box=elsewhere).match(plan)
    assert bench.rows("SELECT status, reason FROM kordant.breach_dumps") == [("registered", None)]
    assert bench.match(plan).new_exposures == 1


@pytest.mark.parametrize(("verified", "alerts"), [(True, 1), (False, 0)])
def test_a_sensitive_breach_alerts_only_the_verified_owner(bench: Bench, verified: bool, alerts: int) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", verified=verified)
    _catalogue(bench.db, Breach(name="Delicate", title="Delicate", is_sensitive=True))
    bench.drop("Delicate.txt", "ann@example.com:a\n")
    _, recorded = bench.scan()
    assert recorded.new_alerts == alerts


def test_once_the_owner_is_verified_a_withheld_exposure_is_alerted(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", verified=False)
    _catalogue(bench.db, Breach(name="Delicate", title="Delicate", is_sensitive=True))
    bench.drop("Delicate.txt", "ann@example.com:a\n")
    bench.scan()
    with bench.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.watchlist_items SET verified_at = now()"))
    assert bench.scan()[1].new_alerts == 1


@pytest.mark.parametrize(
    "breach",
    [
        Breach(name="Odd", title="Odd", is_fabricated=True),
        Breach(name="Odd", title="Odd", is_retired=True),
        Breach(name="Odd", title="Odd", is_spam_list=True),
    ],
)
def test_what_is_no_incident_raises_no_alert(bench: Bench, breach: Breach) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    _catalogue(bench.db, breach)
    bench.drop("odd.txt", "ann@example.com:a\n")
    matched, recorded = bench.scan()
    assert (matched.hits, recorded.new_alerts, recorded.clean) == (1, 0, 1)


def test_a_forgotten_subscriber_is_scanned_no_more(bench: Bench) -> None:
    ann = subscribe(bench.db, bench.keyring, "ann@example.com")
    with bench.db.begin() as connection:
        assert subscribers.forget(connection, ann.subscriber_id)
    bench.drop("x.txt", "ann@example.com:a\n")
    assert bench.scan()[0].hits == 0


def test_a_catalogue_that_is_not_json_does_not_stop_the_scan_and_is_said(bench: Bench) -> None:
    class Html:
        def read(self) -> bytes:
            return b"<html>busy</html>"

    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("x.txt", "ann@example.com:a\n")
    plan = bench.plan(catalogue=Html())
    assert plan.catalogue_problem is not None
    assert "is not JSON" in plan.catalogue_problem
    assert bench.match(plan).hits == 1


def test_progress_counts_the_bytes_of_what_is_ingested(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    content = "ann@example.com:a\n" * 1000
    bench.drop("x.txt", content)
    plan = bench.plan()
    bench.match(plan)
    with Progress(bench.db, "test") as progress:
        progress.flush("end")
    reading = read_progress(bench.db, "test")
    assert reading is not None
    assert reading.message == "end"


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("ssn_536904399.txt", ".txt"),
        ("GR1601101050000010547023795.csv.gz", ".csv.gz"),
        ("phone_2025550143_card-4111111111111111.JSON", ".json"),
        ("529.982.247-25_cpf.txt", ".txt"),
        ("ann.roe＠example.com", ""),
        ("ann@example.txt.com", ""),
        ("Ann Roe born 1980.gz.roe", ""),
        ("\udcff\udcfe.sql", ".sql"),
    ],
)
def test_nothing_of_a_files_name_is_kept_but_how_it_is_written(bench: Bench, name: str, ending: str) -> None:
    bench.drop(name, "bob@example.com:b\n")
    bench.scan()
    [(label,)] = bench.rows("SELECT file_label FROM kordant.breach_dumps")
    assert re.fullmatch(r"[0-9a-f]{12}" + re.escape(ending), label)
    for table in ("breach_dumps", "breaches"):
        kept = "\n".join(row[0] for row in bench.rows(f"SELECT t::text FROM kordant.{table} t"))
        parts = [part for part in re.split(r"[^\w＠@-]+|_", name) if len(part) > 4 and part.isprintable()]
        assert not [part for part in parts if part in kept]


def test_items_read_in_parts_give_what_all_at_once_give(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "zed@example.com")
    bench.drop("old.txt", "".join(f"person{number}@example.com:a\n" for number in range(0, 40, 2)))
    assert bench.scan()[0].lines == 20
    for number in [*range(40), 6]:  # two watch one identifier
        subscribe(bench.db, bench.keyring, f"person{number}@example.com")
    bench.drop("new.txt", "".join(f"person{number}@example.com:a\n" for number in range(0, 40, 3)))
    plan = replace(bench.plan(), items_at_once=3)
    assert (plan.items, len(plan.chunks)) == (42, 2)
    assert bench.match(plan).hits == 21 + 15
    service.record(plan, db=bench.db)
    found = bench.everything()
    for table in ("exposure_evidence", "notification_outbox", "alerts", "alerted", "exposures", "scan_watermarks"):
        with bench.db.begin() as connection:
            connection.execute(sa.text(f"DELETE FROM kordant.{table}"))
    assert bench.scan()[0].hits == 21 + 15
    after = bench.everything()
    assert {name: after[name] for name in ("evidence", "outbox", "verdicts")} == {
        name: found[name] for name in ("evidence", "outbox", "verdicts")
    }


def test_parts_of_the_items_are_all_of_them_in_the_order_of_a_corpus(bench: Bench) -> None:
    for number in range(40):
        subscribe(bench.db, bench.keyring, f"person{number}@example.com")
    watched = scans.Watched(
        scopes=(Scope(),), job="darkwatch_scan", since=None, until=datetime.now(UTC), overlap=timedelta(0)
    )
    with bench.db.connect() as connection:
        whole = scans.watched_items(connection, watched)
        parts = [scans.watched_items(connection, watched, part=(number, 8)) for number in range(8)]
        assert scans.watched_facts(connection, watched).items == whole.height == 40
    assert sorted(pl.concat(parts)["item_id"]) == sorted(whole["item_id"])
    words = [[int.from_bytes(one[:8], "little") for one in part["blind_index"]] for part in parts]
    assert all(max(before) < min(after) for before, after in pairwise(filter(None, words)))
