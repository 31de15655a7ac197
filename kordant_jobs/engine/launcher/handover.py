"""Replaces the warm process by its successor when its code has changed, without losing a run.

The new program starts by exec in the same process, so that its children stay its children. Its state is passed through
an unnamed file; the listening socket and the children's sockets stay open.
"""

import json
import os
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from kordant_jobs.engine.launcher.code import fingerprint
from kordant_jobs.engine.launcher.front import ENDS_KEPT, Ends, Front
from kordant_jobs.engine.launcher.pool import Child, Pool
from kordant_jobs.engine.launcher.run import Run
from kordant_jobs.engine.system import System

WARM = "warm"
"""The word that starts the warm process on an application's command line."""
_FLAG = "--resume"


@dataclass
class State:
    """The state passed on by the predecessor; empty after a fresh start."""

    server: socket.socket | None = None
    turn: int | None = None
    """The descriptor of the lock that lets exactly one process serve."""
    ends: Ends = field(default_factory=Ends)
    children: list[dict[str, Any]] = field(default_factory=list)
    backlog: list[dict[str, Any]] = field(default_factory=list)
    fails: list[dict[str, Any]] = field(default_factory=list)


def resume() -> State:
    """The state that the predecessor passed to this process by exec."""
    if _FLAG not in sys.argv:
        return State()
    with os.fdopen(int(sys.argv[sys.argv.index(_FLAG) + 1]), "rb") as file:
        file.seek(0)
        passed = json.load(file)
    kept: deque[tuple[int, dict[str, Any]]] = deque(((m["seq"], m) for m in passed["ends"]), maxlen=ENDS_KEPT)
    for child in passed["children"]:
        os.set_inheritable(child["control"], False)
    os.set_inheritable(passed["turn"], False)
    server = socket.socket(fileno=passed["server"])
    server.set_inheritable(False)
    return State(
        server=server,
        turn=passed["turn"],
        ends=Ends(boot=passed["boot"], last=passed["last"], kept=kept),
        children=passed["children"],
        backlog=passed["backlog"],
        fails=passed["fails"],
    )


def take_over(state: State, pool: Pool) -> None:
    """Put the passed state into a new pool."""
    for passed in state.children:
        control = socket.socket(fileno=passed["control"])
        child = Child(pid=passed["pid"], start=passed["start"], control=control, ready=True)
        child.run = Run.from_wire(passed["run"])
        child.buffer = passed["buffer"].encode()
        pool.adopt(child)
    pool.backlog.extend(Run.from_wire(run) for run in state.backlog)
    pool.fails.extend(Run.from_wire(run) for run in state.fails)


class Reload:
    """Decides whether and how the process is replaced by the new code."""

    def __init__(self, system: System) -> None:
        self._module = system.definitions
        self._command = [sys.executable, "-m", system.app, WARM]
        self.loaded = fingerprint(self._module)
        """The code that this process runs; nothing: it shall start again."""
        self._refused: str | None = None
        self._probe: subprocess.Popen[bytes] | None = None
        self._probed = ""

    @property
    def probing(self) -> bool:
        """True while a process tries to import the new code."""
        return self._probe is not None

    def due(self, *, worn_out: bool, others: dict[int, int | None]) -> bool:
        """True when the code on disk has changed and can be imported, or this process has run enough runs.

        The import is tried in a separate process, over several calls. Its pid is in `others` meanwhile, with its exit
        code once the pool has reaped it. Code that cannot be imported is ignored until it changes.
        """
        if self._probe is not None:
            code = others[self._probe.pid]
            if code is None:
                return False
            del others[self._probe.pid]
            self._probe.returncode = code
            self._probe = None
            if code != 0:
                self._refused = self._probed
                sys.stderr.write("the new code cannot be imported (see above); going on with what is loaded\n")
            return code == 0 and fingerprint(self._module) == self._probed
        now = fingerprint(self._module)
        if (now != self.loaded or worn_out) and now != self._refused:
            self._probed = now
            script = "import importlib, sys; importlib.import_module(sys.argv[1])"
            self._probe = subprocess.Popen([sys.executable, "-c", script, self._module], stdin=subprocess.DEVNULL)
            others[self._probe.pid] = None
        return False

    def restart_if_changed(self) -> None:
        """Exec the program again when the code has changed: for a standby process, which has no state to pass on."""
        if fingerprint(self._module) != self.loaded:
            os.execv(sys.executable, self._command)

    def become_new(self, front: Front, pool: Pool, turn: int | None) -> None:
        """Exec the program again, passing the listening socket, the runs and the ends. Returns only when a child is
        writing another run's end; try again later."""
        if any(child.failing for child in pool.children.values()):
            self.loaded = ""
            return
        pool.end_idle()
        running = [child for child in pool.children.values() if child.run]
        passed: dict[str, Any] = {
            "server": front.server.fileno(),
            "turn": turn,
            "boot": front.ends.boot,
            "last": front.ends.last,
            "ends": [message for _, message in front.ends.kept],
            "children": [_child_to_wire(child) for child in running],
            "backlog": [run.to_wire() for run in pool.backlog],
            "fails": [run.to_wire() for run in pool.fails],
        }
        file = os.memfd_create("kordant-warm", 0)
        with os.fdopen(os.dup(file), "wb") as writer:
            writer.write(json.dumps(passed).encode())
        for descriptor in (passed["server"], turn, *(child.control.fileno() for child in running)):
            os.set_inheritable(descriptor, True)
        os.set_inheritable(file, True)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [*self._command, _FLAG, str(file)])


def _child_to_wire(child: Child) -> dict[str, Any]:
    return {
        "pid": child.pid,
        "start": child.start,
        "control": child.control.fileno(),
        "buffer": child.buffer.decode(),
        "run": child.run.to_wire() if child.run else None,
    }
