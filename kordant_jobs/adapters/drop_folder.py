"""The drop folder: breach dumps put there by operators or programs. Lists and removes files; reads no dump."""

import fcntl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

SETTLED_AFTER = timedelta(seconds=2)
"""A file that changed within this time may still be being written."""

UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", ".partial")
"""Endings that upload programs give to an unfinished file (rsync and others use a leading dot)."""


@dataclass(frozen=True, kw_only=True)
class DroppedFile:
    """A file in the drop folder, with its size and time at the check."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The file's name. It may be personal: it never goes into a log, a tag or the database."""
        return self.path.name


def is_being_written(path: Path) -> bool | None:
    """True when a process on this machine has the file open for writing; None: the system cannot tell (a network mount,
    another user's file, not Linux)."""
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # refused while a process writes; ends with the file
            return False
    except (AttributeError, OSError) as error:
        return True if isinstance(error, BlockingIOError) else None


MARK = ".kordant-place"
"""A file in the drop folder with the folder's id. It shows when another machine has a different folder at that path, or
none."""


def place_of(folder: Path) -> str:
    """The id of a drop folder, written to it at the first call; the same from every machine that mounts it.

    Raises:
        OSError: it cannot be read or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark = folder / MARK
    if not mark.exists():
        fresh = folder / f"{MARK}.{uuid4().hex}"
        fresh.write_text(uuid4().hex, encoding="ascii")
        with suppress(FileExistsError):
            mark.hardlink_to(fresh)  # whole, and by one process only
        fresh.unlink()
    return mark.read_text(encoding="ascii")


def dropped_files(folder: Path, *, settled_at: datetime | None = None) -> list[DroppedFile]:
    """The regular files in `folder`, by name; with `settled_at` only those that had stopped changing by then. A missing
    folder is created."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = []
    for path in sorted(folder.iterdir()):
        if (
            path.name.startswith(".")
            or path.name.lower().endswith(UNFINISHED)
            or path.is_symlink()
            or not path.is_file()
        ):
            continue
        try:
            facts = path.stat()
        except FileNotFoundError:
            continue
        if settled_at and settled_at.timestamp() - facts.st_mtime < SETTLED_AFTER.total_seconds():
            continue
        files.append(DroppedFile(path=path, size=facts.st_size, mtime_ns=facts.st_mtime_ns))
    return files
