"""A subscription's life: what serves it follows at once, and nothing is left behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.catalog import enqueue, enqueue_named
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.catalog.subscription_changed import SubscriptionChanged
from kordant_jobs.domain.people.subscriptions import SubscriptionStatus, Tier
from kordant_jobs.domain.schedules.cadence import next_due
from kordant_jobs.engine.requests import Priority, RequestStatus
from kordant_jobs.engine.store import requests
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.subscription_changed import service
from kordant_jobs.jobs.subscription_changed.service import remove_schedules_for_subscription, schedule_for_subscription
from kordant_jobs.lab.engine import Done, FakeClock, RunContext, drain, statuses
from kordant_jobs.store.people import subscriptions
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.triggers import price_list
from kordant_jobs_tests.jobs.people import subscribe


@pytest.fixture
def listed(db: Engine) -> Engine:
    with db.begin() as connection:
        price_list.ensure(connection)
    return db


def served(db: Engine, subscription_id: UUID) -> dict[str, str]:
    with db.connect() as connection:
        return {one.job: one.tier for one in due_slots.of_subscription(connection, subscription_id)}


def queued(db: Engine) -> list[requests.Request]:
    with db.connect() as connection:
        return requests.find(connection, requests.Filter(statuses=(RequestStatus.PENDING,)))


def test_a_new_subscription_is_served_and_its_first_scan_is_queued_before_all_others(
    listed: Engine, keyring: Keyring
) -> None:
    person = subscribe(listed, keyring, "ann@example.com")
    with listed.begin() as connection:
        slots = schedule_for_subscription(connection, person.subscription_id, requested_by="test")
    assert [one.job for one in slots] == ["darkwatch_scan", "hometitle_scan", "reports_generate"]
    (scan,) = queued(listed)
    assert (scan.job, scan.priority, scan.entity_key) == (
        "darkwatch_scan", Priority.CRITICAL, str(person.subscription_id),
    )  # fmt: skip
    with listed.begin() as connection:
        assert schedule_for_subscription(connection, person.subscription_id, requested_by="test") == slots
    assert len(queued(listed)) == 1, "safe to repeat"


def test_rolled_back_nothing_of_it_was(listed: Engine, keyring: Keyring) -> None:
    person = subscribe(listed, keyring, "ann@example.com")
    with listed.connect() as connection:
        schedule_for_subscription(connection, person.subscription_id, requested_by="test")
        connection.rollback()
    assert (served(listed, person.subscription_id), queued(listed)) == ({}, [])


def test_an_upgrade_moves_the_next_due_at_once_and_asks_for_a_scan(listed: Engine, keyring: Keyring) -> None:
    person = subscribe(listed, keyring, "ann@example.com", tier="basic")
    now = datetime(2026, 11, 22, tzinfo=UTC)
    due = []
    for tier in (Tier.BASIC, Tier.PREMIUM):
        with listed.begin() as connection:
            subscriptions.set_tier(connection, person.subscription_id, tier)
            connection.execute(
                sa.text("UPDATE kordant.subscriptions SET started_at = '2026-11-21' WHERE id = :id"),
                {"id": person.subscription_id},
            )
            slots = schedule_for_subscription(connection, person.subscription_id, requested_by="test")
            (slot,) = [one for one in slots if one.job == "darkwatch_scan"]
            stored = scheduler_config.get(connection, (slot.job, slot.tier))
            assert stored is not None
            due.append(next_due(stored.row, slot.anchor, slot.slot, now))
    assert due[0] is not None
    assert due[1] is not None
    assert (due[0].date().isoformat(), due[1].date().isoformat()) == ("2026-12-21", "2026-11-22")
    assert served(listed, person.subscription_id)["reports_generate"] == "premium"
    assert len(queued(listed)) == 1, "the scan that waits serves for both"


def test_a_downgrade_takes_away_what_the_tier_does_not_have(listed: Engine, keyring: Keyring) -> None:
    person = subscribe(listed, keyring, "ann@example.com")
    for tier in (Tier.PREMIUM, Tier.BASIC):
        with listed.begin() as connection:
            subscriptions.set_tier(connection, person.subscription_id, tier)
            schedule_for_subscription(connection, person.subscription_id, requested_by="test")
    assert served(listed, person.subscription_id) == {"darkwatch_scan": "basic", "hometitle_scan": "basic"}


@pytest.mark.parametrize("to", [SubscriptionStatus.PAUSED, SubscriptionStatus.CANCELLED])
def test_at_its_end_no_row_and_no_request_stays_but_the_history_does(
    listed: Engine, keyring: Keyring, to: SubscriptionStatus
) -> None:
    person, other = (subscribe(listed, keyring, f"{name}@example.com") for name in ("ann", "bob"))
    with listed.begin() as connection:
        for one in (person, other):
            schedule_for_subscription(connection, one.subscription_id, requested_by="test")
        subscriptions.move(connection, person.subscription_id, to)
        assert remove_schedules_for_subscription(connection, person.subscription_id) == 4
    assert served(listed, person.subscription_id) == {}
    assert served(listed, other.subscription_id)
    assert statuses(listed) == {RequestStatus.CANCELLED: 1, RequestStatus.PENDING: 1}
    with listed.begin() as connection:
        with pytest.raises(PermanentError, match="is not active"):
            schedule_for_subscription(connection, person.subscription_id, requested_by="test")
        subscriptions.move(connection, person.subscription_id, SubscriptionStatus.ACTIVE)
        assert schedule_for_subscription(connection, person.subscription_id, requested_by="test")


def test_a_move_that_there_is_not_is_refused(listed: Engine, keyring: Keyring) -> None:
    person = subscribe(listed, keyring, "ann@example.com")
    with listed.begin() as connection:
        subscriptions.move(connection, person.subscription_id, SubscriptionStatus.CANCELLED)
        with pytest.raises(PermanentError, match="is cancelled: it cannot become paused"):
            subscriptions.move(connection, person.subscription_id, SubscriptionStatus.PAUSED)
        with pytest.raises(PermanentError, match="there is no subscription"):
            subscriptions.set_tier(connection, uuid4(), Tier.PLUS)


def test_the_event_places_a_subscription_and_does_not_stop_itself(listed: Engine, keyring: Keyring) -> None:
    """The product writes its row and the event in one transaction, by SQL."""
    new, gone = (subscribe(listed, keyring, f"{name}@example.com") for name in ("ann", "bob"))
    with listed.begin() as connection:
        due_slots.place(connection, [gone.subscription_id])
        subscriptions.move(connection, gone.subscription_id, SubscriptionStatus.CANCELLED)
        for person in (new, gone):
            entity = str(person.subscription_id)
            enqueue_named(
                connection, "subscription.changed", {"subscription_id": entity}, requested_by="product",
                entity_key=entity,
            )  # fmt: skip

    def place(work: RunContext) -> None:
        ids = work.order.run_config["ops"]["place"]["config"]["subscription_ids"]
        service.place([UUID(one) for one in ids], db=work.db)
        work.complete(*(Done(request_id=one.id) for one in work.requests()))

    scanned: list[object] = []
    handlers = {"subscription_changed": place, "darkwatch_scan": lambda work: scanned.append(work.order.run_config)}
    for ahead_s in (0, 60):
        drain(listed, handlers, FakeClock(datetime.now(UTC) + timedelta(seconds=ahead_s)), until=datetime.now(UTC))
    assert served(listed, new.subscription_id)
    assert served(listed, gone.subscription_id) == {}
    assert scanned == [
        {"ops": {"plan": {"config": {"subscription_ids": [str(new.subscription_id)], "read_dumps": False}}}}
    ]


def test_many_events_are_one_run() -> None:
    ids = sorted(uuid4() for _ in range(3))
    config = SubscriptionChanged.run_config([SubscriptionChanged(subscription_ids=(one,)) for one in ids])
    assert config["ops"]["place"]["config"]["subscription_ids"] == [str(one) for one in ids]


def test_a_lost_event_heals(listed: Engine, keyring: Keyring) -> None:
    """Rows were written behind everybody's back: whoever keeps the house sees it, and puts it right."""
    new, gone = (subscribe(listed, keyring, f"{name}@example.com") for name in ("ann", "bob"))
    with listed.begin() as connection:
        schedule_for_subscription(connection, gone.subscription_id, requested_by="test")
        connection.execute(
            sa.text("UPDATE kordant.subscriptions SET status = 'cancelled' WHERE id = :id"),
            {"id": gone.subscription_id},
        )
    with listed.begin() as connection:
        assert due_slots.misplaced(connection)
        assert due_slots.place(connection) == 6
        assert not due_slots.misplaced(connection)
    assert served(listed, new.subscription_id) == {
        "darkwatch_scan": "premium",
        "hometitle_scan": "premium",
        "reports_generate": "premium",
    }
    assert served(listed, gone.subscription_id) == {}


def test_a_queued_scan_of_a_cancelled_subscription_never_runs(listed: Engine, keyring: Keyring) -> None:
    person = subscribe(listed, keyring, "ann@example.com")
    with listed.begin() as connection:
        enqueue(
            connection,
            DarkwatchScan(subscription_ids=(person.subscription_id,)),
            requested_by="test",
            entity_key=str(person.subscription_id),
        )
        subscriptions.move(connection, person.subscription_id, SubscriptionStatus.CANCELLED)
        remove_schedules_for_subscription(connection, person.subscription_id)
    assert queued(listed) == []
