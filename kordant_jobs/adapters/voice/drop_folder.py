"""The drop folder of clips: lists its files, named `<id of the subscription>…`, and reports those that no run
accepts."""

import hashlib
import stat
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from kordant_jobs.adapters.drop_folder import MARK, UNFINISHED, DroppedFile, dropped_files, is_being_written
from kordant_jobs.adapters.voice.decoding import ENDINGS

ID_LENGTH = 36
SETTLED_UNSEEN = timedelta(seconds=30)
"""The time without a change after which a file is complete, on systems that cannot tell whether it is open."""
LEFT_AFTER = timedelta(hours=1)
"""The age from which on no run will accept a file: runs come every half hour."""


def dropped_clips(folder: Path, *, settled_at: datetime | None = None) -> Iterator[tuple[UUID, DroppedFile]]:
    """The files whose names begin with an id, each with that id. With `settled_at`, only those that no process is
    writing then. Files without an id are left out, since their owner is unknown."""
    for file in dropped_files(folder, settled_at=settled_at):
        owner = _owner(file.name)
        if owner is not None and (settled_at is None or _is_complete(file, settled_at)):
            yield owner, file


def _owner(name: str) -> UUID | None:
    try:
        return UUID(name[:ID_LENGTH])
    except ValueError:
        return None


def _is_complete(file: DroppedFile, now: datetime) -> bool:
    """True when no process has the file open; if the system cannot tell, when it was unchanged for `SETTLED_UNSEEN`."""
    written = is_being_written(file.path)
    return now.timestamp() - file.mtime_ns / 1e9 >= SETTLED_UNSEEN.total_seconds() if written is None else not written


def has_changed(file: DroppedFile) -> bool:
    """True when a file was changed, replaced or removed since it was listed, or is being written."""
    try:
        facts = file.path.stat()
    except OSError:
        return True
    return (facts.st_size, facts.st_mtime_ns) != (file.size, file.mtime_ns) or bool(is_being_written(file.path))


def left_behind(folder: Path, now: datetime) -> dict[str, int]:
    """The number of entries of the folder that no run accepts, by reason. They stay there unencrypted until an operator
    removes them. `refused`: the name has an id, but of no subscription that is served, or the file is too large."""
    found: Counter[str] = Counter()
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue  # a run took it in meanwhile
        if path.name.startswith(MARK) or now.timestamp() - facts.st_mtime < LEFT_AFTER.total_seconds():
            continue
        if not stat.S_ISREG(facts.st_mode):
            found["no plain file"] += 1
        elif path.name.startswith(".") or path.name.lower().endswith(UNFINISHED):
            found["named as unfinished"] += 1
        else:
            found["no id in the name" if _owner(path.name) is None else "refused"] += 1
    return dict(found)


def facts_of(files: list[tuple[UUID, DroppedFile]]) -> str:
    """A hash that identifies these files in their current state, without their names; empty for no files."""
    facts = [f"{owner} {file.name} {file.size} {file.mtime_ns}" for owner, file in files]
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest() if facts else ""


def ending_of(name: str) -> str:
    """The ending of a file's name if it is a known one of sound, else "" (it may be a part of a name).

    >>> ending_of("Voice message.M4A"), ending_of("call from.maria")
    ('m4a', '')
    """
    ending = name.rpartition(".")[2].lower()
    return ending if ending in ENDINGS else ""
