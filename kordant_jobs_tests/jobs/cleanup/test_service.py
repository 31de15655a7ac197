"""What goes and what stays: by term, by hold, by guard; documents, dumps and whole subscribers; killed and repeated."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.domain.retention.policies import BY_KIND, Action, Hold
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.cleanup import rules, service
from kordant_jobs.jobs.cleanup.elsewhere import ELSEWHERE, Means
from kordant_jobs.postgres.database import session_lock
from kordant_jobs.privacy.forget import forget
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention import deleting, holds, policies, records
from kordant_jobs.store.retention.deleting import Batch
from kordant_jobs.store.retention.kinds import TABLES, TAKEN_ALONG
from kordant_jobs.store.tables import metadata
from kordant_jobs_tests.jobs.people import Person, subscribe

NOW = datetime.now(UTC)


@pytest.fixture
def means(db: Engine, keyring: Keyring, tmp_path: Path) -> Means:
    return Means(
        db=db,
        keyring=keyring,
        banks=Banks(),
        report_storage=LocalReportStorage(tmp_path / "reports"),
        corpus=Corpus(tmp_path / "corpus"),
        maildir=tmp_path / "mails",
        run_files=tmp_path / "runs",
    )


def _verdicts(db: Engine, person: Person, *days_old: int) -> None:
    rows = [
        {"s": person.subscription_id, "at": NOW - timedelta(days=days), "source": f"source {number}"}
        for number, days in enumerate(days_old)
    ]
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, exposures, "
                "new_exposures, covered_until, checked_at) VALUES (:s, :source, :at, 'clean', 0, 0, :at, :at)"
            ),
            rows,
        )


def _count(db: Engine, table: str) -> int:
    with db.connect() as connection:
        found: int = connection.execute(sa.text(f"SELECT count(*) FROM kordant.{table}")).scalar_one()
    return found


def _run(means: Means, *kinds: str, plan_id: UUID | None = None) -> dict[str, service.Cleaned]:
    made = service.plan(means, kinds=kinds, plan_id=plan_id)
    done = [service.clean(made, kind, means=means, progress=lambda *_: None) for one in made.chunks for kind in one]
    return {one.kind: one for one in done}


def _figures(db: Engine) -> Any:
    with db.connect() as connection:
        return records.reports(connection, limit=1)[0].figures


def _hold(db: Engine, **named: Any) -> UUID:
    hold = Hold(id=uuid4(), reason="court order 1", placed_by="test", **named)
    with db.begin() as connection:
        holds.place(connection, hold)
    return hold.id


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
    _verdicts(db, person, 1, 729, 732, 5000)
    done = _run(means, "scan_verdicts")["scan_verdicts"]
    assert (done.deleted, done.left, done.failed) == (2, 0, None)
    assert _count(db, "source_verdicts") == 2
    told = _figures(db)["scan_verdicts"]
    assert (told["deleted"], told["planned"], told["held"]) == (2, 2, 0)


def test_a_hold_keeps_its_owner_its_kind_or_its_range_until_it_is_released(
    means: Means, db: Engine, keyring: Keyring
) -> None:
    ann, ben = (subscribe(db, keyring, f"{name}@example.com") for name in ("ann", "ben"))
    for person in (ann, ben):
        _verdicts(db, person, 800, 900)
    of_ann = _hold(db, owner_id=ann.subscriber_id)
    of_another_kind = _hold(db, kind="notifications")
    of_a_range = _hold(db, since=NOW - timedelta(days=850), kind="scan_verdicts")
    assert _run(means, "scan_verdicts")["scan_verdicts"].deleted == 1  # Ben's of 900 days
    assert _figures(db)["scan_verdicts"]["held"] == 3
    for hold in (of_ann, of_another_kind, of_a_range):
        with db.begin() as connection:
            assert holds.release(connection, hold, by="test")
    assert _run(means, "scan_verdicts")["scan_verdicts"].deleted == 3


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


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("closed_accounts", "transactions"),
        ("ended_connections", "sync_results"),
        ("voice_analyses", "voice_sound"),
        ("reports", "notifications"),
    ],
)
def test_a_kind_on_hold_keeps_what_would_take_it_along(
    means: Means, db: Engine, keyring: Keyring, parent: str, child: str
) -> None:
    table = TABLES[parent].table if parent in TABLES else parent
    assert child in TAKEN_ALONG[table]
    held = f"SELECT {holds.held_sql(parent, table, owner='NULL::uuid', clock='now()')}"
    with db.connect() as connection:
        assert connection.execute(sa.text(held)).scalar() is False
    of_the_child = _hold(db, kind=child, before=NOW - timedelta(days=9999))
    with db.connect() as connection:
        assert connection.execute(sa.text(held)).scalar() is True
    with db.begin() as connection:
        holds.release(connection, of_the_child, by="test")
    _hold(db, kind="api_replies")
    with db.connect() as connection:
        assert connection.execute(sa.text(held)).scalar() is False


def test_a_hold_on_the_sound_of_clips_keeps_their_analyses(means: Means, db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.analysis_jobs (id, subscription_id, subscriber_id, content_key, bytes, ending, "
                "created_at, analysed_at) VALUES (gen_random_uuid(), :s, :p, 'x', 1, 'wav', :at, :at)"
            ),
            {"s": person.subscription_id, "p": person.subscriber_id, "at": NOW - timedelta(days=4000)},
        )
    hold = _hold(db, kind="voice_sound")
    assert _run(means, "voice_analyses")["voice_analyses"].deleted == 0
    with db.begin() as connection:
        holds.release(connection, hold, by="test")
    assert _run(means, "voice_analyses")["voice_analyses"].deleted == 1


def test_a_hold_that_comes_after_the_plan_is_heeded(means: Means, db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    _verdicts(db, person, 800, 900)
    made = service.plan(means, kinds=("scan_verdicts",))
    assert made.total == 2
    _hold(db, owner_id=person.subscriber_id)
    done = service.clean(made, "scan_verdicts", means=means, progress=lambda *_: None)
    assert done.deleted == 0
    assert _count(db, "source_verdicts") == 2


def test_a_row_that_is_locked_is_left_without_waiting_and_goes_the_next_time(
    means: Means, db: Engine, keyring: Keyring
) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    _verdicts(db, person, 800, 900)
    with db.begin() as other:
        other.execute(sa.text("SELECT 1 FROM kordant.source_verdicts WHERE source = 'source 0' FOR UPDATE"))
        done = _run(means, "scan_verdicts")["scan_verdicts"]
        assert (done.deleted, done.left, done.failed) == (1, 1, None)
    assert _run(means, "scan_verdicts")["scan_verdicts"].deleted == 1


def test_broken_off_between_two_batches_the_next_run_ends_the_same(
    means: Means, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "FIRST_PAGES", 1)
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.api_replies (principal_id, operation, key, body_hash, at) "
                "SELECT 'a', repeat('x', 500), n::text, '', now() - (n % 10) * interval '1 day' "
                "FROM generate_series(1, 500) n"
            )
        )
    kept = 150  # of today, yesterday and the day before
    begun = deleting.delete(db, TABLES["api_replies"], BY_KIND["api_replies"].cutoff(NOW.date()))
    assert next(begun).rows > 0
    begun.close()
    assert kept < _count(db, "api_replies") < 500
    done = _run(means, "api_replies")["api_replies"]
    assert done.left == 0
    assert _count(db, "api_replies") == pytest.approx(kept, abs=50)  # a day more or less, by the hour of this test


def _closed_account(db: Engine, *, transactions: int) -> None:
    """An account that no connection reads, closed for two months, with transactions of this year."""
    with db.begin() as connection:
        connection.execute(
            sa.text("""
            WITH e AS (INSERT INTO kordant.entities (id, kind) VALUES (gen_random_uuid(), 'household') RETURNING id),
            a AS (INSERT INTO kordant.bank_accounts
                (id, entity_id, kind, currency, institution, identity_index, created_at)
                SELECT gen_random_uuid(), id, 'checking', 'BRL', '1', 'x', now() - interval '60 days' FROM e
                RETURNING id, entity_id)
            INSERT INTO kordant.transactions (id, account_id, entity_id, alias, state, booked_on, amount, currency,
                                              type, content_hash, extra_hash)
            SELECT gen_random_uuid(), a.id, a.entity_id, decode(md5(n::text), 'hex'), 'posted', current_date, -1, 'BRL',
                   'pix', '', '' FROM a, generate_series(1, :rows) n
            """),
            {"rows": transactions},
        )


def test_a_closed_account_goes_after_its_transactions_and_these_in_batches(
    means: Means, db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "FIRST_ROWS", 10)
    monkeypatch.setattr(deleting, "ROWS_MAX", 10)
    _closed_account(db, transactions=35)
    policy = BY_KIND["closed_accounts"]
    assert (found := service.count(means, policy, NOW)).rows == 1
    assert found.along == 35, "what goes along is counted before"
    batches = list(deleting.delete(db, TABLES["closed_accounts"], policy.cutoff(NOW.date())))
    assert [one.along for one in batches if one.along] == [10, 10, 10, 5]
    assert (_count(db, "transactions"), _count(db, "bank_accounts")) == (0, 0)


def test_a_hold_keeps_the_transactions_of_a_closed_account(means: Means, db: Engine) -> None:
    _closed_account(db, transactions=5)
    _hold(db, kind="transactions")
    assert _run(means, "closed_accounts")["closed_accounts"].deleted == 0
    assert _count(db, "transactions") == 5


@pytest.mark.parametrize("is_retried_whole", [True, False])
def test_a_clean_up_that_was_killed_has_its_proof_and_goes_on(
    means: Means, db: Engine, monkeypatch: pytest.MonkeyPatch, is_retried_whole: bool
) -> None:
    monkeypatch.setattr(deleting, "FIRST_PAGES", 1)
    monkeypatch.setattr(rules, "DRIFT_ROWS", 0)
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.api_replies (principal_id, operation, key, body_hash, at) "
                "SELECT 'a', repeat('x', 500), n::text, '', now() - interval '9 days' FROM generate_series(1, 300) n"
            )
        )
    planned = service.make_plan(means, kinds=("api_replies",), now=service.check_clock(db))
    made = service.plan(means, plan_id=planned.id)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service.clean(made, "api_replies", means=means, progress=killed)
    left = _count(db, "api_replies")
    assert 0 < left < 300
    told = _figures(db)["api_replies"]
    assert (told["planned"], told["deleted"]) == (300, 300 - left)
    if is_retried_whole:
        made = service.plan(means, plan_id=planned.id)
    assert service.clean(made, "api_replies", means=means, progress=lambda *_: None).failed is None
    assert _count(db, "api_replies") == 0
    assert _figures(db)["api_replies"]["deleted"] == (left if is_retried_whole else 300)


def test_an_unattended_run_stops_at_unlikely_figures_and_a_plan_that_a_person_read_does_not(
    means: Means, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "SMALL", 2)
    person = subscribe(db, keyring, "ann@example.com")
    _verdicts(db, person, 800, 900, 1000)
    made = service.plan(means, kinds=("scan_verdicts", "api_replies"))
    assert "3 rows are 100% of the table" in dict(made.stopped)["scan_verdicts"]
    assert made.chunks == (("api_replies",),)
    plan = service.make_plan(means, kinds=("scan_verdicts",), now=service.check_clock(db))
    assert _run(means, plan_id=plan.id)["scan_verdicts"].deleted == 3


def test_a_plan_is_refused_when_a_policy_changed_or_the_figures_did(
    means: Means, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "DRIFT_ROWS", 0)
    person = subscribe(db, keyring, "ann@example.com")
    _verdicts(db, person, 800)
    plan = service.make_plan(means, kinds=("scan_verdicts",), now=service.check_clock(db))
    _verdicts(db, subscribe(db, keyring, "ben@example.com"), 800, 900)
    with pytest.raises(PermanentError, match="1 rows were planned and 3 are found"):
        service.plan(means, plan_id=plan.id)
    plan = service.make_plan(means, kinds=("scan_verdicts",), now=service.check_clock(db))
    _set_term(db, 600, approved_by="cli:eve")
    with pytest.raises(PermanentError, match="changed since the plan"):
        service.plan(means, plan_id=plan.id)
    with pytest.raises(PermanentError, match="there is no plan"):
        service.plan(means, plan_id=uuid4())
    assert _count(db, "source_verdicts") == 3


def _set_term(db: Engine, days: int, *, approved_by: str | None) -> None:
    from dataclasses import replace

    with db.begin() as connection:
        term = replace(BY_KIND["scan_verdicts"], keep_days=days)
        policies.set_term(connection, term, by="cli:ann", approved_by=approved_by)


def test_a_shorter_term_only_counts_in_its_first_run(means: Means, db: Engine, keyring: Keyring) -> None:
    _verdicts(db, subscribe(db, keyring, "ann@example.com"), 50)
    _set_term(db, 30, approved_by="cli:eve")
    assert _run(means, "scan_verdicts") == {}
    assert _figures(db)["scan_verdicts"]["planned"] == 1
    assert _run(means, "scan_verdicts")["scan_verdicts"].deleted == 1


def test_a_dry_run_counts_and_deletes_nothing(means: Means, db: Engine, keyring: Keyring) -> None:
    _verdicts(db, subscribe(db, keyring, "ann@example.com"), 800)
    made = service.plan(means, kinds=("scan_verdicts",), dry_run=True)
    assert made.chunks == ()
    assert _figures(db)["scan_verdicts"]["planned"] == 1
    assert _count(db, "source_verdicts") == 1


def test_nothing_is_deleted_by_a_clock_that_went_back(means: Means, db: Engine) -> None:
    service.plan(means, kinds=("api_replies",))
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.cleanup_reports SET clock = clock + interval '1 day'"))
    with pytest.raises(PermanentError, match="set the clocks right"):
        service.plan(means, kinds=("api_replies",))


def test_after_a_long_silence_only_a_plan_that_a_person_read_is_carried_out(means: Means, db: Engine) -> None:
    service.plan(means, kinds=("api_replies",))
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.cleanup_reports SET clock = clock - interval '10 years'"))
    with pytest.raises(PermanentError, match="cleanup run --plan"):
        service.plan(means, kinds=("api_replies",))
    read = service.make_plan(means, kinds=("api_replies",), now=service.check_clock(db, is_attended=True))
    assert service.plan(means, plan_id=read.id).chunks == (("api_replies",),)


def test_two_at_once_do_not_clean_the_same_kind(means: Means, db: Engine, keyring: Keyring) -> None:
    _verdicts(db, subscribe(db, keyring, "ann@example.com"), 800)
    made = service.plan(means, kinds=("scan_verdicts",))
    with session_lock(db, "kordant:cleanup scan_verdicts", wait=False) as is_alone:
        assert is_alone
        done = service.clean(made, "scan_verdicts", means=means, progress=lambda *_: None)
    assert "another clean-up" in str(done.failed)
    assert _count(db, "source_verdicts") == 1


def test_one_kind_that_fails_stops_no_other(
    means: Means, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    _verdicts(db, subscribe(db, keyring, "ann@example.com"), 800)

    def broken(*_: Any, **__: Any) -> Iterator[Batch]:
        raise OSError("no such place")

    monkeypatch.setattr(deleting, "delete", broken)
    done = _run(means, "scan_verdicts", "job_history")
    assert "no such place" in str(done["scan_verdicts"].failed)
    assert done["job_history"].failed is None


def test_a_subscriber_goes_a_year_after_the_end_and_not_while_on_hold(
    means: Means, db: Engine, keyring: Keyring
) -> None:
    gone, held, recent, active = (subscribe(db, keyring, f"{name}@example.com") for name in "abcd")
    with db.begin() as connection:
        for person, days in ((gone, 400), (held, 400), (recent, 300)):
            connection.execute(
                sa.text("UPDATE kordant.subscriptions SET status = 'cancelled', ended_at = :at WHERE id = :id"),
                {"at": NOW - timedelta(days=days), "id": person.subscription_id},
            )
    _hold(db, owner_id=held.subscriber_id)
    assert _run(means, "ended_subscribers")["ended_subscribers"].deleted == 1
    with db.connect() as connection:
        forgotten = set(
            connection.execute(sa.text("SELECT id FROM kordant.subscribers WHERE forgotten_at IS NOT NULL")).scalars()
        )
        keys = set(connection.execute(sa.text("SELECT subscriber_id FROM kordant.subscriber_keys")).scalars())
    assert forgotten == {gone.subscriber_id}
    assert keys == {held.subscriber_id, recent.subscriber_id, active.subscriber_id}


def test_who_is_on_hold_cannot_be_forgotten(means: Means, db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    hold = _hold(db, owner_id=person.subscriber_id)

    def gone(person: Person) -> bool:
        found = forget(
            person.subscriber_id,
            db=db,
            keyring=keyring,
            banks=means.banks,
            storage=means.report_storage,
            maildir=means.maildir,
        )
        return found is not None

    with pytest.raises(PermanentError, match="legal hold"):
        gone(person)
    with db.begin() as connection:
        holds.release(connection, hold, by="test")
    _hold(db, kind="catalogue_imports")  # rows of nobody
    of_a_kind = _hold(db, kind="notifications")
    with pytest.raises(PermanentError, match="legal hold"):
        gone(person)
    with db.begin() as connection:
        holds.release(connection, of_a_kind, by="test")
    assert gone(person)


def test_contents_that_no_report_names_go_after_a_week(means: Means, db: Engine, tmp_path: Path) -> None:
    old, young = means.report_storage.put(b"%PDF old"), means.report_storage.put(b"%PDF young")
    then = (NOW - timedelta(days=9)).timestamp()
    os.utime(tmp_path / "reports" / old, (then, then))
    assert _run(means, "orphaned_documents")["orphaned_documents"].deleted == 1
    assert not (tmp_path / "reports" / old).exists()
    assert (tmp_path / "reports" / young).exists()


def test_a_dump_of_the_corpus_that_no_row_names_goes(means: Means) -> None:
    dump_id = uuid4()
    with means.corpus.write(dump_id, origin="test"):
        pass
    assert means.corpus.dumps() == [dump_id]
    assert _run(means, "orphaned_corpus")["orphaned_corpus"].deleted == 1
    assert means.corpus.dumps() == []


def test_the_report_is_closed_and_stands_in_the_audit_log(means: Means, db: Engine, keyring: Keyring) -> None:
    made = service.plan(means, kinds=("api_replies",))
    service.clean(made, "api_replies", means=means, progress=lambda *_: None)
    service.finish(made, db=db, keyring=keyring)
    with db.connect() as connection:
        entries = log.entries(connection, target=str(made.report_id), limit=9)
        assert log.check(connection, keyring).holds
        assert records.reports(connection, limit=1)[0].ended_at is not None
    assert entries[0][1]["after"] == {"api_replies": {"deleted": 0, "held": 0}}
