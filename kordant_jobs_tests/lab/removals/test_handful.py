from __future__ import annotations

from sqlalchemy import Engine

from kordant_jobs.lab.removals.handful import KINDS, play_handful, removal_states
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe


def test_two_months_with_a_handful_of_brokers_end_in_different_states(db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@mail.example", name="Ann Example")
    play_handful(db, keyring, [person.subscription_id])
    states = removal_states(db)
    assert sum(states.values()) == len(KINDS)
    assert states["verified_removed"] == 3
    assert {"needs_identity", "needs_user_action"} <= set(states)
