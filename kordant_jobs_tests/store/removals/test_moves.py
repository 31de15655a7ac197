from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.states import REMOVAL_MOVES, RemovalState
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import moves, requests
from kordant_jobs_tests.jobs.removals import NOW, add_brokers, add_profiled, ask, broker_row


def test_the_database_holds_the_same_table_of_moves(db: Engine) -> None:
    with db.connect() as connection:
        rows = connection.execute(sa.text("SELECT from_state, to_state FROM kordant.removal_moves"))
        assert sorted((row.from_state, row.to_state) for row in rows) == sorted(
            (before.value, after.value) for before, found in REMOVAL_MOVES.items() for after in found
        )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walk=st.lists(st.sampled_from(RemovalState), min_size=1, max_size=12))
def test_no_walk_through_the_states_leaves_the_table(db: Engine, keyring: Keyring, walk: list[RemovalState]) -> None:
    """Whichever moves are tried, the database allows exactly those of the table, and each has its event."""
    with db.begin() as connection:
        connection.execute(sa.text("TRUNCATE kordant.subscribers, kordant.brokers CASCADE"))
    brokers = add_brokers(db, [broker_row("spoken")])
    [request] = ask(db, add_profiled(db, keyring), list(brokers.values()))
    at, moved = RemovalState.DRAFT, 0
    for to in walk:
        one = {"id": str(request), "from_state": at.value, "to_state": to.value, "reason": "test"}
        try:
            with db.begin() as connection:
                moves.apply(connection, moves.frame_of([one]), now=NOW, actor="test")
            allowed = True
        except IntegrityError:
            allowed = False
        assert allowed == (to in REMOVAL_MOVES[at] or to is at)
        if allowed and to is not at:
            at, moved = to, moved + 1
    with db.connect() as connection:
        story = requests.story(connection, request)
    assert story.request.state == at
    assert [one.to_state for one in story.events if one.from_state != one.to_state].count(at) >= (1 if moved else 0)
    assert sum(one.from_state != one.to_state for one in story.events) == moved


def test_a_move_by_hand_without_an_event_is_refused_and_so_is_a_request_that_begins_elsewhere(
    db: Engine, keyring: Keyring
) -> None:
    brokers = add_brokers(db, [broker_row("spoken"), broker_row("other")])
    person = add_profiled(db, keyring)
    ask(db, person, [brokers["spoken.com"]])
    with pytest.raises(IntegrityError, match="has no event"), db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.removal_requests SET state = 'queued'"))
    with pytest.raises(IntegrityError, match="may not go from draft to verified_removed"), db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.removal_requests SET state = 'verified_removed'"))
    with pytest.raises(IntegrityError, match="begins as a draft"), db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.removal_requests (id, subscriber_id, subscription_id, broker_id, law, "
                "address_token, state) SELECT gen_random_uuid(), :who, :plan, :broker, 'ccpa', 'x', 'completed'"
            ),
            {"who": person.subscriber_id, "plan": person.subscription_id, "broker": brokers["other.com"]},
        )


def test_a_request_that_another_process_moved_is_left_as_it_is(db: Engine, keyring: Keyring) -> None:
    brokers = add_brokers(db, [broker_row("spoken")])
    [request] = ask(db, add_profiled(db, keyring), list(brokers.values()))
    stale = {"id": str(request), "from_state": "sent", "to_state": "completed", "reason": "test"}
    with db.begin() as connection:
        assert moves.apply(connection, moves.frame_of([stale]), now=NOW, actor="test") == 0
        assert requests.get(connection, request).state == "draft"


@pytest.mark.parametrize("number", [moves.FEW, moves.FEW + 1])
def test_few_moves_and_many_are_written_alike(db: Engine, keyring: Keyring, number: int) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("TRUNCATE kordant.subscribers, kordant.brokers CASCADE"))
    brokers = add_brokers(db, [broker_row(f"b{n}") for n in range(number)])
    made = ask(db, add_profiled(db, keyring), list(brokers.values()))
    rows = [
        {"id": str(one), "from_state": "draft", "to_state": "queued", "reason": "asked", "action": "request",
         "next_at": NOW, "sent_on": NOW.date(), "evidence": '{"n": 1}'}
        for one in made
    ]  # fmt: skip
    ways: dict[UUID, tuple[moves.Way | None, str | None]] = {
        one: ((RemovalChannel.EMAIL, f"p@{key}"), None) for key, one in brokers.items()
    }
    with db.begin() as connection:
        assert moves.apply(connection, moves.frame_of(rows), now=NOW, actor="test", ways=ways) == number
        query = """
            SELECT DISTINCT r.state, r.channel, r.next_at, e.evidence ->> 'n' AS n, e.from_state, m.kind,
                   m.contact = 'p@' || b.key AS is_right
            FROM kordant.removal_requests r JOIN kordant.removal_events e ON e.id = r.last_event_id
            JOIN kordant.removal_messages m ON m.request_id = r.id JOIN kordant.brokers b ON b.id = m.broker_id
        """
        assert list(map(tuple, connection.execute(sa.text(query)))) == [
            ("queued", "email", NOW, "1", "draft", "request", True)
        ]
