"""Reports whose time is over go, with their contents; nothing else does."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.reports.retention import KEEP_DAYS
from kordant_jobs.domain.retention.policies import Hold
from kordant_jobs.errors import TransientError
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs.store.reports import reports as store_reports
from kordant_jobs.store.reports.retention import GRACE, RetentionSummary, expire, spare
from kordant_jobs.store.reports.tables import report_leftovers, reports
from kordant_jobs.store.retention import holds
from kordant_jobs_tests.jobs.people import Person, subscribe

END = date(2026, 7, 1)


def keep(db: Engine, own: UUID, key: str, end: date = END) -> None:
    """A row of a report that is stored under `key`."""
    row = store_reports.ReportRow(
        subscription_id=own,
        kind="monthly",
        period_start_on=end - timedelta(days=30),
        period_end_on=end,
        figures={},
        figures_sha256=b"",
        content_sha256=b"",
        storage_key=key,
        pages=1,
    )
    with db.begin() as connection:
        store_reports.save(connection, [row])


def person(db: Engine, keyring: Keyring, tier: Tier = Tier.PLUS) -> Person:
    found = subscribe(db, keyring, f"{uuid4().hex}@watched.example")
    with db.begin() as connection:
        connection.execute(
            sa.update(subscriptions).where(subscriptions.c.id == found.subscription_id).values(tier=tier)
        )
    return found


def later() -> datetime:
    return datetime.now(UTC) + GRACE * 2


def left(db: Engine) -> int:
    with db.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(report_leftovers)).scalar_one()


def count(db: Engine) -> int:
    with db.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(reports)).scalar_one()


def test_each_tier_keeps_its_reports_as_long_as_it_says(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    storage = LocalReportStorage(tmp_path)
    for tier in Tier:
        keep(db, person(db, keyring, tier).subscription_id, storage.put(tier.encode()))
    for gone, tier in enumerate(sorted(Tier, key=lambda one: KEEP_DAYS[one]), start=1):
        last = datetime(END.year, END.month, END.day, tzinfo=UTC) + timedelta(days=KEEP_DAYS[tier])
        assert expire(db, storage, now=last).reports == 0
        assert expire(db, storage, now=last + timedelta(days=1)).reports == 1
        assert count(db) == len(Tier) - gone


def test_a_content_that_was_replaced_goes_after_its_grace_and_the_new_one_stays(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    own, storage = person(db, keyring).subscription_id, LocalReportStorage(tmp_path)
    old, new = storage.put(b"old"), storage.put(b"new")
    keep(db, own, old)
    keep(db, own, new)
    assert expire(db, storage, now=datetime.now(UTC)) == RetentionSummary(reports=0, contents=0, kept=0)
    assert expire(db, storage, now=later()) == RetentionSummary(reports=0, contents=1, kept=0)
    assert [path.name for path in tmp_path.rglob("*.pdf")] == [new[3:]]
    assert left(db) == 0


def test_a_content_that_is_named_again_stays(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    own, storage = person(db, keyring).subscription_id, LocalReportStorage(tmp_path)
    first, second = storage.put(b"first"), storage.put(b"second")
    for key in (first, second, first):
        keep(db, own, key)
    expire(db, storage, now=later())
    assert storage.get(first) == b"first"
    assert [path.name for path in tmp_path.rglob("*.pdf")] == [first[3:]]


def test_the_reports_of_the_forgotten_go(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    gone, stays = person(db, keyring), person(db, keyring)
    storage = LocalReportStorage(tmp_path)
    keep(db, gone.subscription_id, storage.put(b"gone"))
    keep(db, stays.subscription_id, storage.put(b"stays"))
    with db.begin() as connection:
        subscribers.forget(connection, gone.subscriber_id)
    assert expire(db, storage, now=later()).contents == 1
    assert [path.read_bytes() for path in tmp_path.rglob("*.pdf")] == [b"stays"]


def test_a_deleted_row_leaves_its_content_to_be_deleted(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    storage = LocalReportStorage(tmp_path)
    keep(db, person(db, keyring).subscription_id, storage.put(b"one"))
    with db.begin() as connection:
        connection.execute(sa.delete(reports))
    assert expire(db, storage, now=later()).contents == 1
    assert list(tmp_path.rglob("*.pdf")) == []


class Unwilling(LocalReportStorage):
    """A store that deletes nothing."""

    def delete(self, key: str) -> None:
        raise TransientError(f"the report {key} cannot be deleted (Read-only file system).")


def test_a_store_that_does_not_delete_is_counted_and_tried_again(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    own = person(db, keyring).subscription_id
    for content in (b"one", b"two"):
        keep(db, own, LocalReportStorage(tmp_path).put(content))
    assert expire(db, Unwilling(tmp_path), now=later()) == RetentionSummary(reports=0, contents=0, kept=1)
    assert expire(db, LocalReportStorage(tmp_path), now=later()).contents == 1


class RemadeMeanwhile(LocalReportStorage):
    """While a content is being deleted, a run makes the very same report again: before the delete if it can."""

    def __init__(self, folder: Path, db: Engine, own: UUID) -> None:
        super().__init__(folder)
        self._db, self._own = db, own
        self.threads: list[threading.Thread] = []

    def delete(self, key: str) -> None:
        thread = threading.Thread(target=self._make_again, args=(key, self.get(key)))
        self.threads.append(thread)
        thread.start()
        until = time.monotonic() + 10
        while thread.is_alive() and not self._waits() and time.monotonic() < until:
            time.sleep(0.01)
        super().delete(key)

    def _make_again(self, key: str, content: bytes) -> None:
        spare(self._db, key)
        self.put(content)
        keep(self._db, self._own, key)

    def _waits(self) -> bool:
        query = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with self._db.connect() as connection:
            return bool(connection.execute(query).scalar_one())


def test_a_report_made_again_while_its_content_is_deleted_can_be_opened(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    own = person(db, keyring).subscription_id
    storage = RemadeMeanwhile(tmp_path, db, own)
    key = storage.put(b"the same")
    keep(db, own, key)
    with db.begin() as connection:
        connection.execute(sa.delete(reports))
    assert expire(db, storage, now=later()).contents == 1
    (thread,) = storage.threads
    thread.join(10)
    assert count(db) == 1
    assert storage.get(key) == b"the same"


def test_a_content_that_a_run_is_about_to_name_again_stays(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    own, storage = person(db, keyring).subscription_id, LocalReportStorage(tmp_path)
    key = storage.put(b"the same")
    keep(db, own, key)
    with db.begin() as connection:
        connection.execute(sa.delete(reports))
        connection.execute(sa.update(report_leftovers).values(since_at=datetime.now(UTC) - GRACE * 2))
    spare(db, key)
    assert expire(db, storage, now=datetime.now(UTC)) == RetentionSummary(reports=0, contents=0, kept=0)
    assert storage.get(key) == b"the same"


def test_a_report_on_hold_outlives_its_term(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    storage = LocalReportStorage(tmp_path)
    held, other = person(db, keyring), person(db, keyring)
    keep(db, held.subscription_id, storage.put(b"%PDF held"))
    keep(db, other.subscription_id, storage.put(b"%PDF other"))
    hold = Hold(id=uuid4(), reason="court order 1", placed_by="test", owner_id=held.subscriber_id)
    with db.begin() as connection:
        holds.place(connection, hold)
    over = datetime.combine(END, datetime.min.time(), UTC) + timedelta(days=KEEP_DAYS[Tier.PLUS] + 1)
    assert expire(db, storage, now=over).reports == 1
    assert count(db) == 1
    with db.begin() as connection:
        holds.release(connection, hold.id, by="test")
    assert expire(db, storage, now=over).reports == 1
