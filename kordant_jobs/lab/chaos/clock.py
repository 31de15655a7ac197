"""A wall clock that jumps under the processes that are started with its environment: `clock.c`, before the C library.

Monotonic clocks go on, as they do when a machine's time is set. (libfaketime, as Debian has it, makes Python's `sleep`
fail.)
"""

import shutil
import subprocess
from pathlib import Path

COMPILER = "cc"
SOURCE = Path(__file__).with_suffix(".c")


class JumpingClock:
    """The clock of processes that are started with `environ`; right until it jumps."""

    def __init__(self, folder: Path) -> None:
        self._file, self._library = folder / "clock", folder / "clock.so"
        self.set_ahead(0)
        self.is_there = shutil.which(COMPILER) is not None
        """True if there is a C compiler: without it no clock jumps."""
        if self.is_there:
            subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-o", self._library, SOURCE], check=True)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of processes whose clock this is."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)} if self.is_there else {}

    def set_ahead(self, seconds: int) -> None:
        """Set it so many seconds ahead of the true time, or behind it."""
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:  # they have it open: it stays the same
            file.write(seconds.to_bytes(8, "little", signed=True))
