"""Every reader's worst input takes time that grows with its size, and little of it. CPU time of this thread counts."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from kordant_jobs.adapters.dumps import Blinder, open_dump
from kordant_jobs.domain.identifiers.blinding import BlindingKey
from kordant_jobs.errors import DumpUnreadable
from kordant_jobs.lab.world.worst import WORST
from kordant_jobs_tests.adapters.dumps.planted import LIMITS

BLINDER = Blinder(BlindingKey(key=bytes(32)))
SMALL, LARGE = 1 << 17, 1 << 19
TRIES = 3
GROWTH, NOISE_S, MOST = 6, 0.08, 50
"""Four times the size takes at most six times as long, a constant part apart (a quadratic reader takes sixteen), and no
longer than fifty million additions: three seconds where a million take 60 ms."""


def million_additions_s() -> float:
    """The CPU time of a million additions here and now: a machine at half its speed takes twice as long for both."""
    before = time.process_time()
    sum(number + 1 for number in range(1_000_000))
    return time.process_time() - before


def cpu_s(path: Path, content: bytes) -> float:
    path.write_bytes(content)
    before = time.process_time()
    with contextlib.suppress(DumpUnreadable), open_dump(path, limits=LIMITS, phone_region="US") as dump:
        for _ in dump.blinded(BLINDER):
            pass
    return time.process_time() - before


@pytest.mark.parametrize("name", WORST)
def test_time_grows_with_the_size(name: str, tmp_path: Path) -> None:
    make, path = WORST[name], tmp_path / "dump"
    cpu_s(path, make(1 << 13))  # loads what is loaded once
    small = cpu_s(path, make(SMALL))
    allowed = min(GROWTH * max(small, NOISE_S), MOST * million_additions_s())
    content = make(LARGE)
    taken = [cpu_s(path, content)]
    while taken[-1] > allowed and len(taken) < TRIES:  # others on this machine cost a run caches, not its growth
        taken.append(cpu_s(path, content))
    assert min(taken) <= allowed, taken
