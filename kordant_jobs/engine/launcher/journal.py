"""The running runs, each in a small file in the state folder, so that the next process after a crash can end them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run that was accepted. `pid` and `start` (clock ticks) identify the process that runs it; 0 when there is
    none."""

    run_id: str
    pid: int
    start: int


class Journal:
    """The journal of one warm process. An entry is written before a run is accepted and before a child gets it, and
    removed once its end is known."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def add(self, entry: Entry) -> None:
        """Record a run, and which process has it."""
        path = self._folder / entry.run_id
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(entry)), encoding="utf-8")
        fresh.rename(path)

    def remove(self, run_id: str) -> None:
        """Remove a run whose end is in Dagster's storage."""
        (self._folder / run_id).unlink(missing_ok=True)

    def left(self) -> Iterator[Entry]:
        """The entries that the previous process left. A file that cannot be read is removed."""
        for path in sorted(self._folder.iterdir()):
            with suppress(OSError, ValueError, TypeError):
                yield Entry(**json.loads(path.read_text(encoding="utf-8")))
                continue
            path.unlink(missing_ok=True)
