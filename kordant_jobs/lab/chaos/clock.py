"""A wall clock that jumps under the processes that are started with its environment. Monotonic clocks go on, as they do
when a machine's time is set."""

from pathlib import Path

LIBRARY = "faketime/libfaketimeMT.so.1"
PACKAGE = "faketime"
"""libfaketime, and its Debian package."""


class JumpingClock:
    """The clock of processes that are started with `environ`; right until it jumps."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        found = sorted([*Path("/usr/lib").glob(f"*/{LIBRARY}"), *Path("/usr/lib64").glob(LIBRARY)])
        self._library = found[0] if found else None
        self.set_ahead(0)

    @property
    def is_there(self) -> bool:
        """True if libfaketime is installed: without it no clock jumps."""
        return self._library is not None

    @property
    def environ(self) -> dict[str, str]:
        """The environment of processes whose clock this is."""
        if self._library is None:
            return {}
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_ahead(self, seconds: int) -> None:
        """Set it so many seconds ahead of the true time, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.replace(self._file)  # it is read while this is written
