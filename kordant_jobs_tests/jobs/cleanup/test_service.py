"""What has served its time goes, on real tables of every kind, and nothing else."""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.retention.policies import BY_KIND, Action
from kordant_jobs.jobs.cleanup import service
from kordant_jobs.jobs.cleanup.elsewhere import ELSEWHERE, Means
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention import deleting
from kordant_jobs.store.retention.kinds import TABLES, TAKEN_ALONG
from kordant_jobs.store.tables import metadata
from kordant_jobs_tests.jobs.cleanup.conftest import (
    NOW,
    add_closed_account,
    add_verdicts,
    clean_up,
    count_rows,
    figures_of,
)
from kordant_jobs_tests.jobs.people import subscribe


def test_every_kind_is_found_somewhere_and_every_table_is_ruled_or_says_why_not() -> None:
    deleting_kinds = {kind for kind, one in BY_KIND.items() if one.action is not Action.KEEP}
    assert set(TABLES) | set(ELSEWHERE) == deleting_kinds
    assert not set(TABLES) & set(ELSEWHERE)
    assert service.unruled_tables() == ()


def test_no_deletion_reads_a_whole_table_for_a_foreign_key(db: Engine) -> None:
    with db.connect() as connection:
        for kind in TABLES.values():
            assert deleting.unindexed_references(connection, kind.table) == []


def test_a_table_whose_children_have_no_index_is_left_alone(means: Means, db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE kordant.child (id int, parent uuid REFERENCES kordant.cleanup_plans (id))")
        )
    made = service.plan(means, kinds=("cleanup_plans", "api_replies"))
    assert "kordant.child (parent)" in dict(made.stopped)["cleanup_plans"]
    assert made.chunks == (("api_replies",),)


def test_what_has_served_its_time_goes_and_the_rest_stays(means: Means, db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    add_verdicts(db, person, 1, 729, 732, 5000)
    done = clean_up(means, "scan_verdicts")["scan_verdicts"]
    assert (done.deleted, done.left, done.failed) == (2, 0, None)
    assert count_rows(db, "source_verdicts") == 2
    told = figures_of(db)["scan_verdicts"]
    assert (told["deleted"], told["planned"], told["held"]) == (2, 2, 0)


def test_what_goes_along_is_what_the_foreign_keys_say() -> None:
    children: dict[str, set[str]] = defaultdict(set)
    for one in metadata.tables.values():
        for key in one.foreign_keys:
            if key.ondelete == "CASCADE":
                children[key.column.table.name].add(one.name)
    kinds = {one.table: one.kind for one in TABLES.values()} | {"reports": "reports"}
    derived: dict[str, tuple[str, ...]] = {}
    for table in kinds:
        found, left = {table}, [table]
        while left:
            new = children[left.pop()] - found
            found |= new
            left += new
        derived[table] = tuple(sorted(kinds[name] for name in found - {table} if name in kinds))
    assert {table: along for table, along in derived.items() if along} == dict(TAKEN_ALONG)


def test_a_row_that_is_locked_is_left_without_waiting_and_goes_the_next_time(
    means: Means, db: Engine, keyring: Keyring
) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    add_verdicts(db, person, 800, 900)
    with db.begin() as other:
        other.execute(sa.text("SELECT 1 FROM kordant.source_verdicts WHERE source = 'source 0' FOR UPDATE"))
        done = clean_up(means, "scan_verdicts")["scan_verdicts"]
        assert (done.deleted, done.left, done.failed) == (1, 1, None)
    assert clean_up(means, "scan_verdicts")["scan_verdicts"].deleted == 1


def test_a_closed_account_goes_after_its_transactions_and_these_in_batches(
    means: Means, db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "FIRST_ROWS", 10)
    monkeypatch.setattr(deleting, "ROWS_MAX", 10)
    add_closed_account(db, transactions=35)
    policy = BY_KIND["closed_accounts"]
    assert (found := service.count(means, policy, NOW)).rows == 1
    assert found.along == 35, "what goes along is counted before"
    batches = list(deleting.delete(db, TABLES["closed_accounts"], policy.cutoff(NOW.date())))
    assert [one.along for one in batches if one.along] == [10, 10, 10, 5]
    assert (count_rows(db, "transactions"), count_rows(db, "bank_accounts")) == (0, 0)


def test_contents_that_no_report_names_go_after_a_week(means: Means, db: Engine, tmp_path: Path) -> None:
    old, young = means.report_storage.put(b"%PDF old"), means.report_storage.put(b"%PDF young")
    then = (NOW - timedelta(days=9)).timestamp()
    os.utime(tmp_path / "reports" / old, (then, then))
    assert clean_up(means, "orphaned_documents")["orphaned_documents"].deleted == 1
    assert not (tmp_path / "reports" / old).exists()
    assert (tmp_path / "reports" / young).exists()


def test_a_dump_of_the_corpus_that_no_row_names_goes(means: Means) -> None:
    dump_id = uuid4()
    with means.corpus.write(dump_id, origin="test"):
        pass
    assert means.corpus.dumps() == [dump_id]
    assert clean_up(means, "orphaned_corpus")["orphaned_corpus"].deleted == 1
    assert means.corpus.dumps() == []
