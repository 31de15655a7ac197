"""Insights over real tables: found, kept, resolved, dismissed; nothing lost by a kill, an update or one bad entity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.finance.values import ZONE
from kordant_jobs.domain.insights.assess import INSIGHT_SCHEMA, assess
from kordant_jobs.domain.insights.insight import ALGORITHM, Kind, Status
from kordant_jobs.jobs.insights_refresh import service
from kordant_jobs.jobs.insights_refresh.service import Failure, Refreshed
from kordant_jobs.lab.households.books import books_of
from kordant_jobs.lab.households.fill import entity_id
from kordant_jobs.lab.households.generator import World
from kordant_jobs.privacy.held import stored_data
from kordant_jobs.store.finance import entities, tables
from kordant_jobs.store.insights import books, reading, saving
from kordant_jobs.store.insights.saving import Saved
from kordant_jobs.store.people.keyring import Keyring


def nothing(done: int, what: str) -> None:
    """No progress to be told."""


def now_of(world: World) -> datetime:
    return datetime.combine(world.as_of, time(12), ZONE).astimezone(UTC)


def refresh(
    db: Engine, now: datetime, *, named: tuple[UUID, ...] = (), force: bool = False, batch: int = 1000
) -> Refreshed:
    plan = service.plan(named=named, force=force, db=db, now=now)
    results = [service.refresh(plan, chunk, db=db, progress=nothing, batch=batch) for chunk in plan.chunks]
    (one,) = results or [Refreshed()]
    return one


def rows(db: Engine, query: str, **given: Any) -> list[Any]:
    with db.begin() as connection:
        result = connection.execute(sa.text(query), given)
        return list(result.all()) if result.returns_rows else []


def change(db: Engine, query: str, **given: Any) -> None:
    """Change bank data as a sync does: the entity's version goes up in the same transaction."""
    with db.begin() as connection:
        connection.execute(sa.text(query), given)
        connection.execute(sa.text("UPDATE kordant.entity_versions SET data_version = data_version + 1"))


def test_what_is_found_in_the_tables_is_what_the_rules_find_in_the_books(db: Engine, world: World) -> None:
    done = refresh(db, now_of(world))
    expected = assess(books_of(world), today=world.as_of, corrections={})
    by_kind = dict(rows(db, "SELECT kind, count(*) FROM kordant.insights GROUP BY 1"))
    assert by_kind == dict(expected["kind"].value_counts().iter_rows())
    assert done.entities == 5
    assert done.new == len(expected) > 100


def test_a_second_refresh_writes_nothing_and_only_what_changed_is_stale(db: Engine, world: World) -> None:
    refresh(db, now_of(world))
    assert refresh(db, now_of(world)) == Refreshed()
    again = refresh(db, now_of(world), force=True)
    assert (again.entities, again.new, again.changed, again.resolved) == (5, 0, 0, 0)
    one = entity_id(world, 2)
    rows(db, "UPDATE kordant.entity_versions SET data_version = 9 WHERE entity_id = :id", id=one)
    assert refresh(db, now_of(world)).entities == 1
    rows(
        db,
        "UPDATE kordant.entity_versions SET refreshed_algorithm = :old WHERE entity_id = :id",
        id=one,
        old=ALGORITHM - 1,
    )
    assert refresh(db, now_of(world)).entities == 1, "other rules"
    assert refresh(db, now_of(world)) == Refreshed()
    assert refresh(db, now_of(world) + timedelta(days=1)).entities == 5, "a new day"


def test_an_insight_that_still_holds_says_when_it_was_checked_last(db: Engine, keyring: Keyring, world: World) -> None:
    later = now_of(world) + timedelta(hours=1)
    refresh(db, now_of(world))
    assert refresh(db, later, force=True).changed == 0
    with db.connect() as connection:
        assert {one.checked_at for one in reading.find(connection, keyring)} == {later}


def test_batches_of_any_size_find_the_same(db: Engine, world: World) -> None:
    query = "SELECT entity_id, kind, dedup_key, facts, evidence, confidence FROM kordant.insights ORDER BY 1, 2, 3"
    refresh(db, now_of(world), batch=2)
    before = rows(db, query)
    rows(db, "DELETE FROM kordant.insights")
    refresh(db, now_of(world), force=True)
    assert rows(db, query) == before


def test_an_insight_whose_evidence_is_gone_is_resolved(db: Engine, world: World) -> None:
    refresh(db, now_of(world))
    (key, evidence), *_ = rows(db, "SELECT dedup_key, evidence FROM kordant.insights WHERE kind = 'duplicate'")
    change(db, "UPDATE kordant.transactions SET state = 'removed', removed_at = now() WHERE id = :id", id=evidence[-1])
    assert refresh(db, now_of(world)).resolved >= 1
    ((status,),) = rows(
        db, "SELECT status FROM kordant.insights WHERE kind = 'duplicate' AND dedup_key = :key", key=key
    )
    assert status == "resolved"


def test_a_dismissed_insight_comes_back_only_when_it_changed_materially(db: Engine, world: World) -> None:
    refresh(db, now_of(world))
    query = (
        "SELECT id, dedup_key, evidence FROM kordant.insights "
        "WHERE kind = 'recurring' AND facts->>'sort' = 'subscription' AND cardinality(evidence) >= 6"
    )
    (found, _, evidence), *_ = rows(db, query)
    with db.begin() as connection:
        reading.decide(connection, found, Status.DISMISSED)
    status = "SELECT status, facts->>'amount' FROM kordant.insights WHERE id = :id"
    more = "UPDATE kordant.transactions SET amount = amount * :times WHERE id = ANY(:ids)"
    ((_, before),) = rows(db, status, id=found)
    change(db, more, times=1.005, ids=evidence)
    refresh(db, now_of(world))
    ((now, amount),) = rows(db, status, id=found)
    assert (now, amount != before) == ("dismissed", True)
    change(db, more, times=2, ids=evidence)
    refresh(db, now_of(world))
    assert rows(db, status, id=found)[0][0] == "new"


def test_a_change_that_lands_during_a_refresh_leaves_the_entity_stale(db: Engine, world: World) -> None:
    one, now = entity_id(world, 0), now_of(world)
    with db.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        loaded = books.load(connection, [one])
    change(db, "UPDATE kordant.transactions SET amount = amount - 1 WHERE entity_id = :id", id=one)
    with db.begin() as connection:
        found = assess(loaded.books, today=world.as_of)
        saving.save(connection, loaded, found, announce_from=world.as_of, now=now)
    with db.connect() as connection:
        assert one in saving.stale_entities(connection, day_began=now - timedelta(hours=12))


def test_a_refresh_of_older_data_neither_adds_nor_resolves_what_a_later_one_said(db: Engine, world: World) -> None:
    one, now = entity_id(world, 0), now_of(world)
    with db.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        older = books.load(connection, [one])
    change(db, "DELETE FROM kordant.transactions WHERE entity_id = :id AND booked_on < '2025-04-01'", id=one)
    assert refresh(db, now, named=(one,)).new > 0
    said = "SELECT kind, dedup_key, facts, status FROM kordant.insights WHERE entity_id = :id ORDER BY 1, 2"
    later = rows(db, said, id=one)
    with db.begin() as connection:
        found = assess(older.books, today=world.as_of)
        saved = saving.save(connection, older, found, announce_from=world.as_of, now=now + timedelta(hours=1))
    assert saved == Saved()
    assert rows(db, said, id=one) == later


def test_nothing_is_said_of_an_entity_that_was_forgotten_during_its_refresh(db: Engine, world: World) -> None:
    one = entity_id(world, 0)
    with db.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        loaded = books.load(connection, [one])
    with db.begin() as connection:
        entities.forget(connection, one)
        found = assess(loaded.books, today=world.as_of)
        saved = saving.save(connection, loaded, found, announce_from=world.as_of, now=now_of(world))
    assert saved == Saved()
    assert rows(db, "SELECT 1 FROM kordant.insights WHERE entity_id = :id", id=one) == []


def test_a_killed_refresh_goes_on_where_it_broke(db: Engine, world: World) -> None:
    now = now_of(world)
    plan = service.plan(named=(), force=False, db=db, now=now)

    def killed(done: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service.refresh(plan, plan.chunks[0], db=db, progress=killed, batch=2)
    assert rows(db, "SELECT count(DISTINCT entity_id) FROM kordant.insights") == [(2,)]
    assert refresh(db, now).entities == 3
    assert rows(db, "SELECT count(DISTINCT entity_id) FROM kordant.insights") == [(5,)]


def test_one_entity_with_impossible_books_stops_no_other(db: Engine, world: World) -> None:
    bad = entity_id(world, 3)
    change(db, "UPDATE kordant.transactions SET amount = 'NaN' WHERE entity_id = :id", id=bad)
    done = refresh(db, now_of(world))
    assert done.entities == 4
    assert done.failed == (Failure(entity_id=bad, error="FeatureNotSupported"),)
    with db.connect() as connection:
        assert saving.stale_entities(connection, day_began=now_of(world) - timedelta(hours=12)) == [bad]


def test_a_chunk_refreshes_the_entities_of_its_range_only(db: Engine, world: World) -> None:
    ids = sorted(entity_id(world, number) for number in range(5))
    for force in (False, True):
        plan = replace(service.plan(named=(), force=force, db=db, now=now_of(world)), chunks=((ids[1], ids[3]),))
        assert service.refresh(plan, plan.chunks[0], db=db, progress=nothing).entities == 3
    with db.connect() as connection:
        left = saving.stale_entities(connection, day_began=now_of(world) - timedelta(hours=12))
        assert left == [ids[0], ids[4]]


def test_rows_of_impossible_days_are_left_out(db: Engine, world: World) -> None:
    one = entity_id(world, 1)
    first = "(SELECT id FROM kordant.transactions WHERE entity_id = :id LIMIT 1)"
    move = f"UPDATE kordant.transactions SET booked_on = :day WHERE id = {first}"
    for day in ("1900-01-01", "2150-01-01"):
        change(db, move, id=one, day=day)
    assert refresh(db, now_of(world)).failed == ()


def test_the_owner_is_notified_of_recent_duplicates_and_rises_once(db: Engine, world: World) -> None:
    done = refresh(db, now_of(world))
    announced = rows(
        db, "SELECT facts->>'kind', count(*) FROM kordant.finance_notices WHERE kind = 'insight' GROUP BY 1"
    )
    assert done.announced == sum(count for _, count in announced)
    assert {kind for kind, _ in announced} <= {"duplicate", "price_rise", "unusual"}
    since = world.as_of - timedelta(days=14)
    recent = rows(
        db,
        "SELECT count(*) FROM kordant.insights WHERE kind = ANY(:kinds) AND about_on >= :since",
        kinds=["duplicate", "price_rise", "unusual"],
        since=since,
    )
    assert recent == [(done.announced,)]
    queued = "SELECT count(*) FROM kordant.notification_outbox WHERE category = 'finance'"
    before = rows(db, queued)
    refresh(db, now_of(world), force=True)
    assert rows(db, queued) == before
    mine = "SELECT count(*) FROM kordant.finance_notices WHERE kind = 'insight' AND entity_id = :id"
    assert before == rows(db, mine, id=entity_id(world, 0)), "only the entity with a subscription is told"


def test_a_balance_that_may_fall_below_zero_is_notified_again_in_another_month(db: Engine, world: World) -> None:
    one, announced = entity_id(world, 0), []
    with db.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        loaded = books.load(connection, [one])
    for day in (date(2025, 9, 20), date(2025, 9, 25), None, date(2025, 9, 28), None, date(2025, 11, 3)):
        low = {"entity": 0, "kind": "forecast", "key": "below zero", "facts": "{}", "material": "", "evidence": [],
               "confidence": 0.7, "unknown": None, "day": day and (day - date(1970, 1, 1)).days}  # fmt: skip
        with db.begin() as connection:
            found = pl.DataFrame([low] if day else [], schema=INSIGHT_SCHEMA)
            saved = saving.save(connection, loaded, found, announce_from=world.as_of, now=now_of(world))
            announced.append(service._queue_notices(connection, saved))
    assert announced == [1, 0, 0, 0, 0, 1]


def test_a_person_reads_the_payee_which_the_tables_do_not_hold_in_clear(
    db: Engine, keyring: Keyring, world: World
) -> None:
    refresh(db, now_of(world))
    with db.connect() as connection:
        found = reading.find(connection, keyring, kinds=[Kind.RECURRING])
    assert all(one.line for one in found)
    words = {word for one in found for word in str(one.line).upper().split() if len(word) > 5}
    ((kept,),) = rows(db, "SELECT string_agg(dedup_key || facts::text, ' ') FROM kordant.insights")
    assert not {word for word in words if word in kept}


def test_forgetting_and_exporting_an_entity_cover_its_insights(db: Engine, keyring: Keyring, world: World) -> None:
    refresh(db, now_of(world))
    one = entity_id(world, 0)
    with db.connect() as connection:
        by_table = {part.table: len(part.rows) for part in stored_data(connection, keyring, one, root=tables.entities)}
    assert by_table["kordant.insights"] > 10
    with db.begin() as connection:
        entities.forget(connection, one)
    assert rows(db, "SELECT count(*) FROM kordant.insights WHERE entity_id = :id", id=one) == [(0,)]
    assert refresh(db, now_of(world) + timedelta(days=1)).entities == 4
