"""A clock that jumps under other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kordant_jobs.lab.chaos.clock import COMPILER, JumpingClock

CLOCKS = "import time\nwhile input() == 'read': time.sleep(0.01); print(time.time(), time.monotonic(), flush=True)"


def test_the_wall_clock_of_its_processes_jumps_while_they_run_and_the_monotonic_one_does_not(tmp_path: Path) -> None:
    clock = JumpingClock(tmp_path)
    if not clock.is_there:
        pytest.skip(f"there is no C compiler ({COMPILER})")
    with subprocess.Popen(
        [sys.executable, "-c", CLOCKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **clock.environ},
    ) as process:  # fmt: skip
        asks, answers = process.stdin, process.stdout
        assert asks is not None
        assert answers is not None

        def read() -> list[float]:
            asks.write("read\n")
            asks.flush()
            return [float(word) for word in answers.readline().split()]

        wall, steady = read()
        for ahead_s in (3600, -3600):
            clock.set_ahead(ahead_s)
            new_wall, new_steady = read()
            assert new_wall - wall == pytest.approx(ahead_s, abs=60)
            assert 0 <= new_steady - steady < 60
        asks.close()
        process.kill()
