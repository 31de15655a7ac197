from __future__ import annotations

import pytest

from kordant_jobs.lab.removals.behaviour import Behaviour
from kordant_jobs.lab.removals.simulation import Size, play, simulation


@pytest.mark.slow
def test_every_request_ends_in_a_true_state_and_no_broker_gets_more_than_its_cap() -> None:
    """Two people, a broker of each kind and as many that never answer, four months, on real servers."""
    size = Size(subscribers=2, brokers=32, days=100, cap=1)
    with simulation(size, seed=1) as made:
        books = play(made, size, seed=1)
        assert {one.behaviour for one in made.world.brokers} == set(Behaviour)
    assert books.faults == []
    assert books.requests == 64
    assert books.copies == 0
    assert books.for_a_person == 0
