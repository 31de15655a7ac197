"""What stops a clean-up that would delete too much, and what a broken one leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.retention.policies import BY_KIND
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.cleanup import rules, service
from kordant_jobs.jobs.cleanup.elsewhere import Means
from kordant_jobs.postgres.database import session_lock
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention import deleting, policies, records
from kordant_jobs.store.retention.deleting import Batch
from kordant_jobs.store.retention.kinds import TABLES
from kordant_jobs_tests.jobs.cleanup.conftest import NOW, add_verdicts, clean_up, count_rows, figures_of
from kordant_jobs_tests.jobs.people import subscribe


def _set_term(db: Engine, days: int, *, approved_by: str | None) -> None:
    from dataclasses import replace

    with db.begin() as connection:
        term = replace(BY_KIND["scan_verdicts"], keep_days=days)
        policies.set_term(connection, term, by="cli:ann", approved_by=approved_by)


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
    assert kept < count_rows(db, "api_replies") < 500
    done = clean_up(means, "api_replies")["api_replies"]
    assert done.left == 0
    assert count_rows(db, "api_replies") == pytest.approx(kept, abs=50)  # a day more or less, by the hour of this test


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
    left = count_rows(db, "api_replies")
    assert 0 < left < 300
    told = figures_of(db)["api_replies"]
    assert (told["planned"], told["deleted"]) == (300, 300 - left)
    if is_retried_whole:
        made = service.plan(means, plan_id=planned.id)
    assert service.clean(made, "api_replies", means=means, progress=lambda *_: None).failed is None
    assert count_rows(db, "api_replies") == 0
    assert figures_of(db)["api_replies"]["deleted"] == (left if is_retried_whole else 300)


def test_an_unattended_run_stops_at_unlikely_figures_and_a_plan_that_a_person_read_does_not(
    means: Means, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "SMALL", 2)
    person = subscribe(db, keyring, "ann@example.com")
    add_verdicts(db, person, 800, 900, 1000)
    made = service.plan(means, kinds=("scan_verdicts", "api_replies"))
    assert "3 rows are 100% of the table" in dict(made.stopped)["scan_verdicts"]
    assert made.chunks == (("api_replies",),)
    plan = service.make_plan(means, kinds=("scan_verdicts",), now=service.check_clock(db))
    assert clean_up(means, plan_id=plan.id)["scan_verdicts"].deleted == 3


def test_a_plan_is_refused_when_a_policy_changed_or_the_figures_did(
    means: Means, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "DRIFT_ROWS", 0)
    person = subscribe(db, keyring, "ann@example.com")
    add_verdicts(db, person, 800)
    plan = service.make_plan(means, kinds=("scan_verdicts",), now=service.check_clock(db))
    add_verdicts(db, subscribe(db, keyring, "ben@example.com"), 800, 900)
    with pytest.raises(PermanentError, match="1 rows were planned and 3 are found"):
        service.plan(means, plan_id=plan.id)
    plan = service.make_plan(means, kinds=("scan_verdicts",), now=service.check_clock(db))
    _set_term(db, 600, approved_by="cli:eve")
    with pytest.raises(PermanentError, match="changed since the plan"):
        service.plan(means, plan_id=plan.id)
    with pytest.raises(PermanentError, match="there is no plan"):
        service.plan(means, plan_id=uuid4())
    assert count_rows(db, "source_verdicts") == 3


def test_a_shorter_term_only_counts_in_its_first_run(means: Means, db: Engine, keyring: Keyring) -> None:
    add_verdicts(db, subscribe(db, keyring, "ann@example.com"), 50)
    _set_term(db, 30, approved_by="cli:eve")
    assert clean_up(means, "scan_verdicts") == {}
    assert figures_of(db)["scan_verdicts"]["planned"] == 1
    assert clean_up(means, "scan_verdicts")["scan_verdicts"].deleted == 1


def test_a_dry_run_counts_and_deletes_nothing(means: Means, db: Engine, keyring: Keyring) -> None:
    add_verdicts(db, subscribe(db, keyring, "ann@example.com"), 800)
    made = service.plan(means, kinds=("scan_verdicts",), dry_run=True)
    assert made.chunks == ()
    assert figures_of(db)["scan_verdicts"]["planned"] == 1
    assert count_rows(db, "source_verdicts") == 1


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
    add_verdicts(db, subscribe(db, keyring, "ann@example.com"), 800)
    made = service.plan(means, kinds=("scan_verdicts",))
    with session_lock(db, "kordant:cleanup scan_verdicts", wait=False) as is_alone:
        assert is_alone
        done = service.clean(made, "scan_verdicts", means=means, progress=lambda *_: None)
    assert "another clean-up" in str(done.failed)
    assert count_rows(db, "source_verdicts") == 1


def test_one_kind_that_fails_stops_no_other(
    means: Means, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_verdicts(db, subscribe(db, keyring, "ann@example.com"), 800)

    def broken(*_: Any, **__: Any) -> Iterator[Batch]:
        raise OSError("no such place")

    monkeypatch.setattr(deleting, "delete", broken)
    done = clean_up(means, "scan_verdicts", "job_history")
    assert "no such place" in str(done["scan_verdicts"].failed)
    assert done["job_history"].failed is None


def test_the_report_is_closed_and_stands_in_the_audit_log(means: Means, db: Engine, keyring: Keyring) -> None:
    made = service.plan(means, kinds=("api_replies",))
    service.clean(made, "api_replies", means=means, progress=lambda *_: None)
    service.finish(made, db=db, keyring=keyring)
    with db.connect() as connection:
        entries = log.entries(connection, target=str(made.report_id), limit=9)
        assert log.check(connection, keyring).holds
        assert records.reports(connection, limit=1)[0].ended_at is not None
    assert entries[0][1]["after"] == {"api_replies": {"deleted": 0, "held": 0}}
