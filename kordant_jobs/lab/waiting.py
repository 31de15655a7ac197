"""Waiting for a fact, for benches and trials."""

import time
from collections.abc import Callable

from kordant_jobs.errors import TransientError


def wait_until(done: Callable[[], object], timeout_s: float, failed: str, *, look_every_s: float = 0.02) -> float:
    """Wait until `done` answers true. Returns the moment, on the wall clock.

    Raises:
        TransientError: it was not so in time; the text begins with `failed`.
    """
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() >= deadline:
            raise TransientError(f"{failed} in {timeout_s:g} s: see the logs, and try again on a machine less busy")
        time.sleep(look_every_s)
    return time.time()
