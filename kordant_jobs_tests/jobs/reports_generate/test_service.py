"""Reports on a real database: the right figures, once, and kept whatever breaks."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.domain.darkwatch.exposures import Judgement, Verdict
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.errors import TransientError
from kordant_jobs.jobs.reports_generate import service
from kordant_jobs.jobs.reports_generate.figures import figures_of
from kordant_jobs.jobs.reports_generate.pool import IN_PROCESS_MAX
from kordant_jobs.jobs.reports_generate.rules import CloseReason, Period, ReportFigures, ReportKind, period_before
from kordant_jobs.jobs.reports_generate.service import ReportScope, ReportSummary
from kordant_jobs.store.darkwatch.tables import exposures, source_verdicts
from kordant_jobs.store.notifications.tables import notification_outbox
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscribers as subscribers_table
from kordant_jobs.store.people.tables import subscriptions, watchlist_items
from kordant_jobs.store.reports import reports as store_reports
from kordant_jobs.store.reports.tables import reports
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach, add_exposure, add_verdict

JUNE = Period(kind=ReportKind.MONTHLY, start_on=date(2026, 6, 1), end_on=date(2026, 7, 1))
MAY = datetime(2026, 5, 3, tzinfo=UTC)


def make(db: Engine, keyring: Keyring, folder: Path, scope: ReportScope | None = None, **more: Any) -> ReportSummary:
    """One run over everybody in June."""
    (ids,) = service.plan(scope or ReportScope(), JUNE, db=db).chunks or ((),)
    how: dict[str, Any] = {"storage": LocalReportStorage(folder), "progress": Progress(db, "run"), **more}
    return service.generate(ids, JUNE, db=db, keyring=keyring, **how)


def rows(db: Engine) -> dict[UUID, Any]:
    with db.connect() as connection:
        return {row.subscription_id: row for row in connection.execute(sa.select(reports))}


def affected(db: Engine, keyring: Keyring, breach: str = "Adobe") -> Person:
    """A subscriber with one new exposure, one from before, and one that is not told."""
    person = subscribe(db, keyring, "jane.roe@watched.example", name="Jane Roe")
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, breach), severity=Severity.CRITICAL)
    add_alert(db, person.subscription_id, item_id, add_breach(db, f"{breach}Old"), seen_at=MAY)
    add_exposure(db, item_id, add_breach(db, f"{breach}Intimate"), judgement=Judgement.WITHHELD_SENSITIVE)
    add_verdict(db, person.subscription_id, Verdict.EXPOSED, exposed=2, new=1)
    return person


def test_a_report_is_kept_under_its_hash_with_its_figures(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)
    summary = make(db, keyring, tmp_path)
    assert (summary.subscriptions, summary.made, summary.failed) == (1, 1, 0)
    row = rows(db)[person.subscription_id]
    content = (tmp_path / row.storage_key).read_bytes()
    assert content.startswith(b"%PDF")
    assert hashlib.sha256(content).digest() == row.content_sha256
    assert row.storage_key == f"{row.content_sha256.hex()[:2]}/{row.content_sha256.hex()}.pdf"
    figures = row.figures
    assert (figures["new"], figures["open"], figures["overall"], figures["items"]) == (1, 2, "exposed", 1)
    assert figures["by_severity"] == {"critical": 1, "high": 1, "medium": 0, "low": 0}
    assert figures["sources"] == {"dumps": "exposed"}


def test_run_twice_nothing_is_made_again_until_a_figure_changes(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)
    make(db, keyring, tmp_path)
    first = rows(db)[person.subscription_id]
    assert make(db, keyring, tmp_path) == ReportSummary(subscriptions=1, unchanged=1)
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Another"))
    assert make(db, keyring, tmp_path).made == 1
    second = rows(db)[person.subscription_id]
    assert len(rows(db)) == 1
    assert (second.id, second.figures["new"]) == (first.id, 2)
    assert second.content_sha256 != first.content_sha256


def test_the_same_answer_once_more_on_the_same_day_makes_no_new_report_and_another_day_does(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    person = subscribe(db, keyring, "new@watched.example")

    def look(day: int, hour: int) -> None:
        with db.begin() as connection:
            connection.execute(sa.delete(source_verdicts).where(source_verdicts.c.checked_on == date(2026, 6, day)))
        moment = datetime(2026, 6, day, hour, tzinfo=UTC)
        add_verdict(db, person.subscription_id, Verdict.CLEAN, checked_at=moment)

    look(10, 12)
    assert make(db, keyring, tmp_path).made == 1
    look(10, 17)
    assert make(db, keyring, tmp_path) == ReportSummary(subscriptions=1, unchanged=1)
    look(11, 12)
    assert make(db, keyring, tmp_path).made == 1


def test_made_again_by_force_it_has_the_same_bytes(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)
    make(db, keyring, tmp_path)
    first = rows(db)[person.subscription_id].content_sha256
    assert make(db, keyring, tmp_path, force=True).made == 1
    assert rows(db)[person.subscription_id].content_sha256 == first


def test_a_subscription_that_was_never_checked_is_unknown(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = subscribe(db, keyring, "new@watched.example")
    make(db, keyring, tmp_path)
    figures = rows(db)[person.subscription_id].figures
    assert (figures["overall"], figures["sources"]) == ("unknown", {"dumps": "unknown"})


def test_the_last_verdict_of_the_period_counts_and_later_ones_do_not(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    person = subscribe(db, keyring, "new@watched.example")
    own = person.subscription_id
    add_verdict(db, own, Verdict.UNKNOWN, reason="down", checked_at=datetime(2026, 6, 1, tzinfo=UTC))
    add_verdict(db, own, Verdict.CLEAN, checked_at=datetime(2026, 6, 30, 23, tzinfo=UTC))
    add_verdict(db, own, Verdict.UNKNOWN, reason="down", checked_at=datetime(2026, 7, 1, tzinfo=UTC))
    make(db, keyring, tmp_path)
    assert rows(db)[own].figures["overall"] == "clean"


def test_an_unknown_time_zone_stops_no_report(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)
    with db.begin() as connection:
        connection.execute(sa.update(subscriptions).values(time_zone="Moon/Base"))
    assert make(db, keyring, tmp_path).made == 1
    assert set(rows(db)) == {person.subscription_id}


def test_only_affected_leaves_the_others_out(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)
    subscribe(db, keyring, "clean@watched.example")
    assert make(db, keyring, tmp_path, ReportScope(only_affected=True)).made == 1
    assert set(rows(db)) == {person.subscription_id}


def test_one_broken_subscriber_is_counted_and_stops_no_other(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    broken, whole = affected(db, keyring), affected(db, keyring, "Other")
    with db.begin() as connection:
        connection.execute(
            sa.update(subscribers_table)
            .where(subscribers_table.c.id == broken.subscriber_id)
            .values(name_encrypted=b"\0" * 40)
        )
    summary = make(db, keyring, tmp_path)
    assert (summary.made, summary.failed) == (1, 1)
    assert set(rows(db)) == {whole.subscription_id}


def test_a_subscriber_forgotten_meanwhile_gets_none(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)
    (ids,) = service.plan(ReportScope(), JUNE, db=db).chunks
    with db.begin() as connection:
        subscribers.forget(connection, person.subscriber_id)
    summary = service.generate(
        ids, JUNE, db=db, keyring=keyring, storage=LocalReportStorage(tmp_path), progress=Progress(db, "run")
    )
    assert (summary.made, rows(db)) == (0, {})


class FullAfter:
    """A store that takes one report and is full."""

    def __init__(self, folder: Path) -> None:
        self.inner, self.taken = LocalReportStorage(folder), 0

    def put(self, content: bytes) -> str:
        self.taken += 1
        if self.taken > 1:
            raise TransientError("a report cannot be written (No space left on device).")
        return self.inner.put(content)

    def get(self, key: str) -> bytes:
        return self.inner.get(key)

    def delete(self, key: str) -> None:
        self.inner.delete(key)


def test_a_full_store_stops_the_run_keeps_what_was_made_and_the_next_run_goes_on(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    for name in ("One", "Two", "Three"):
        affected(db, keyring, name)
    with pytest.raises(TransientError, match="No space left"):
        make(db, keyring, tmp_path, storage=FullAfter(tmp_path))
    assert len(rows(db)) == 1
    assert make(db, keyring, tmp_path) == ReportSummary(subscriptions=3, made=2, unchanged=1, pages=4)


def test_more_than_a_few_reports_are_made_by_processes_and_one_broken_stops_no_other(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    people = [affected(db, keyring, f"Breach{number}") for number in range(IN_PROCESS_MAX + 2)]
    with db.begin() as connection:
        connection.execute(
            sa.update(subscribers_table)
            .where(subscribers_table.c.id == people[3].subscriber_id)
            .values(name_encrypted=b"\0" * 40)
        )
    summary = make(db, keyring, tmp_path, processes=1)
    assert (summary.subscriptions, summary.made, summary.failed) == (len(people), len(people) - 1, 1)
    by_processes = {one: row.content_sha256 for one, row in rows(db).items()}
    for person in people[:2]:
        make(db, keyring, tmp_path, ReportScope(subscription_ids=(person.subscription_id,)), force=True)
    assert {one: row.content_sha256 for one, row in rows(db).items()} == by_processes


def _figures(db: Engine, person: Person, period: Period = JUNE) -> ReportFigures:
    with db.connect() as connection:
        facts = store_reports.facts(
            connection,
            [person.subscription_id],
            kind=period.kind,
            before=period_before(period).start_on,
            start=period.start_on,
            end=period.end_on,
        )
    (found,) = figures_of(facts, period)
    return found


def _closed(db: Engine, exposure_id: UUID, day: date, **more: Any) -> None:
    with db.begin() as connection:
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        connection.execute(
            sa.update(exposures).where(exposures.c.id == exposure_id).values(dismissed_at=moment, **more)
        )


def test_what_was_closed_in_the_period_is_listed_with_its_reason(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = person.items.values()
    ids = {}
    for name in ("Mine", "Fixed", "Long", "Later", "Fake", "Open"):
        add_alert(db, person.subscription_id, item_id, add_breach(db, name), seen_at=MAY)
        with db.connect() as connection:
            ids[name] = connection.execute(
                sa.select(exposures.c.id).where(exposures.c.breach_name == name)
            ).scalar_one()
    may = Period(kind=ReportKind.MONTHLY, start_on=date(2026, 5, 1), end_on=date(2026, 6, 1))
    service.generate(
        [person.subscription_id],
        may,
        db=db,
        keyring=keyring,
        storage=LocalReportStorage(tmp_path),
        progress=Progress(db, "run"),
    )
    _closed(db, ids["Mine"], date(2026, 6, 3), judgement=Judgement.NOT_ME)
    _closed(db, ids["Fixed"], date(2026, 6, 30))
    _closed(db, ids["Long"], date(2026, 5, 30))
    _closed(db, ids["Later"], date(2026, 7, 1))
    with db.begin() as connection:
        values = {"judgement": Judgement.NOT_A_BREACH}
        connection.execute(sa.update(exposures).where(exposures.c.id == ids["Fake"]).values(**values))
    found = _figures(db, person)
    assert {(one.breach_title, one.reason) for one in found.closed} == {
        ("Mine", CloseReason.NOT_ME),
        ("Fixed", CloseReason.CLOSED),
        ("Fake", CloseReason.WITHDRAWN),
    }
    assert [one.breach_title for one in found.exposures] == ["Open"]


def test_an_identifier_that_is_watched_no_more_takes_its_exposures_with_it(db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db), seen_at=MAY)
    with db.begin() as connection:
        values = {"removed_at": datetime(2026, 6, 5, tzinfo=UTC)}
        connection.execute(sa.update(watchlist_items).where(watchlist_items.c.id == item_id).values(**values))
    found = _figures(db, person)
    assert [one.reason for one in found.closed] == [CloseReason.NOT_WATCHED]
    assert (found.exposures, found.items_removed) == ((), 1)


def test_a_source_that_was_not_asked_again_is_unknown_and_its_last_word_is_kept_for_comparison(
    db: Engine, keyring: Keyring
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    for source in ("dumps", "leakcheck"):
        add_verdict(db, person.subscription_id, Verdict.CLEAN, source=source, checked_at=MAY)
    add_verdict(db, person.subscription_id, Verdict.CLEAN)
    announced = {one.source: (one.verdict, one.before) for one in _figures(db, person).sources}
    assert announced == {"dumps": (Verdict.CLEAN, Verdict.CLEAN), "leakcheck": (Verdict.UNKNOWN, Verdict.CLEAN)}


def test_a_scheduled_report_is_notified_once_with_its_row(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)

    def announced() -> int:
        query = sa.select(sa.func.count()).where(notification_outbox.c.report_id.is_not(None))
        with db.connect() as connection:
            return int(connection.execute(query).scalar_one())

    make(db, keyring, tmp_path, today=date(2026, 9, 1))
    assert announced() == 0, "made up for a period long over"
    for _ in range(2):
        make(db, keyring, tmp_path, today=date(2026, 7, 1), force=True)
        assert announced() == 1
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Another"))
    assert make(db, keyring, tmp_path, today=date(2026, 7, 2)).made == 1
    assert announced() == 1, "what is made again is opened by the link that was sent"


def test_what_was_closed_since_still_counts_where_it_was_first_seen(db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = person.items.values()
    for name in ("Closed", "NotMine", "Open"):
        add_alert(db, person.subscription_id, item_id, add_breach(db, name), seen_at=MAY)
    add_alert(db, person.subscription_id, item_id, add_breach(db, "New"))
    with db.connect() as connection:
        ids = dict(connection.execute(sa.select(exposures.c.breach_name, exposures.c.id)).tuples().all())
    with db.begin() as connection:
        connection.execute(sa.update(subscriptions).values(started_at=MAY))
    _closed(db, ids["Closed"], date(2026, 6, 3))
    _closed(db, ids["NotMine"], date(2026, 6, 3), judgement=Judgement.NOT_ME)
    found = _figures(db, person)
    assert [bar.found for bar in found.history][-2:] == [2, 1]
    assert len(found.exposures) == 2
