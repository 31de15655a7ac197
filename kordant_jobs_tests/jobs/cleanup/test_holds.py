"""Legal holds: what they keep, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.retention.policies import Hold
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.cleanup import service
from kordant_jobs.jobs.cleanup.elsewhere import Means
from kordant_jobs.privacy.forget import forget
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention import holds
from kordant_jobs.store.retention.kinds import TABLES, TAKEN_ALONG
from kordant_jobs_tests.jobs.cleanup.conftest import (
    NOW,
    add_closed_account,
    add_verdicts,
    clean_up,
    count_rows,
    figures_of,
)
from kordant_jobs_tests.jobs.people import Person, subscribe


def _hold(db: Engine, **named: Any) -> UUID:
    hold = Hold(id=uuid4(), reason="court order 1", placed_by="test", **named)
    with db.begin() as connection:
        holds.place(connection, hold)
    return hold.id


def test_a_hold_keeps_its_owner_its_kind_or_its_range_until_it_is_released(
    means: Means, db: Engine, keyring: Keyring
) -> None:
    ann, ben = (subscribe(db, keyring, f"{name}@example.com") for name in ("ann", "ben"))
    for person in (ann, ben):
        add_verdicts(db, person, 800, 900)
    of_ann = _hold(db, owner_id=ann.subscriber_id)
    of_another_kind = _hold(db, kind="notifications")
    of_a_range = _hold(db, since=NOW - timedelta(days=850), kind="scan_verdicts")
    assert clean_up(means, "scan_verdicts")["scan_verdicts"].deleted == 1  # Ben's of 900 days
    assert figures_of(db)["scan_verdicts"]["held"] == 3
    for hold in (of_ann, of_another_kind, of_a_range):
        with db.begin() as connection:
            assert holds.release(connection, hold, by="test")
    assert clean_up(means, "scan_verdicts")["scan_verdicts"].deleted == 3


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
    assert clean_up(means, "voice_analyses")["voice_analyses"].deleted == 0
    with db.begin() as connection:
        holds.release(connection, hold, by="test")
    assert clean_up(means, "voice_analyses")["voice_analyses"].deleted == 1


def test_a_hold_that_comes_after_the_plan_is_heeded(means: Means, db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    add_verdicts(db, person, 800, 900)
    made = service.plan(means, kinds=("scan_verdicts",))
    assert made.total == 2
    _hold(db, owner_id=person.subscriber_id)
    done = service.clean(made, "scan_verdicts", means=means, progress=lambda *_: None)
    assert done.deleted == 0
    assert count_rows(db, "source_verdicts") == 2


def test_a_hold_keeps_the_transactions_of_a_closed_account(means: Means, db: Engine) -> None:
    add_closed_account(db, transactions=5)
    _hold(db, kind="transactions")
    assert clean_up(means, "closed_accounts")["closed_accounts"].deleted == 0
    assert count_rows(db, "transactions") == 5


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
    assert clean_up(means, "ended_subscribers")["ended_subscribers"].deleted == 1
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
