"""A process that is killed before a step that was drawn, or from outside: for campaigns against senders."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

BY_THE_CLOCK = 5
"""Every fifth kill comes from outside, at a moment."""
LATEST_S = 0.25

FREE = """
UPDATE kordant.notification_outbox SET lease_id = NULL WHERE status = 'sending'
"""
"""Free the claims of a killed sender at once, as if its lease had run out."""


@dataclass(kw_only=True)
class Fuse:
    """Ends this process before step number `at` of those that `sys.setprofile` tells of and that count."""

    at: int
    steps: int = field(default=0)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """One call or return."""
        if event in {"call", "return"}:
            if not str(frame.f_globals.get("__name__", "")).startswith("kordant_jobs."):
                return
        elif getattr(argument, "__name__", "") not in _OUTWARD:
            return
        self.steps += 1
        if self.steps == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


_OUTWARD = {"execute", "commit", "rollback", "send", "sendall", "recv", "recv_into", "close"}
"""Functions in C by which a process acts on others."""


def killed(work: Callable[[], object], *, fuse: int | None, after_s: float) -> bool:
    """Do `work` in a process of its own that is killed. True when it was still running."""
    child = os.fork()
    if child == 0:
        try:
            if fuse is not None:
                sys.setprofile(Fuse(at=fuse))
            work()
        finally:
            os._exit(0)
    if fuse is None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL
