"""Clips that were dropped: files `<id of the subscription>…`. Lists and removes them; takes none in."""

from __future__ import annotations

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
"""The time without a change after which a file counts as complete where the system cannot tell whether it is open."""
LEFT_AFTER = timedelta(hours=1)
"""Runs come every half hour: what is older then is taken in by none."""


def dropped_clips(folder: Path, *, settled_at: datetime | None = None) -> Iterator[tuple[UUID, DroppedFile]]:
    """The files whose names begin with an id, with that id; at `settled_at` only those that no process writes any more.
    Others stay: whose they are cannot be known."""
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
    """A writer that pauses still has the file open. Where that cannot be seen, only time tells."""
    written = is_being_written(file.path)
    return now.timestamp() - file.mtime_ns / 1e9 >= SETTLED_UNSEEN.total_seconds() if written is None else not written


def has_changed(file: DroppedFile) -> bool:
    """True when a file is another one than was listed, or has grown since; a file that is gone has."""
    try:
        facts = file.path.stat()
    except OSError:
        return True
    return (facts.st_size, facts.st_mtime_ns) != (file.size, file.mtime_ns) or bool(is_being_written(file.path))


def left_behind(folder: Path, now: datetime) -> dict[str, int]:
    """The number of entries of the folder that no run takes in, by reason: they lie there in clear until a person
    removes them.
    `refused`: the name is a clip's, and it is no subscription's that is served, or the file is too large."""
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
    """Stands for these very files; says nothing of their names."""
    facts = [f"{owner} {file.name} {file.size} {file.mtime_ns}" for owner, file in files]
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest() if facts else ""


def ending_of(name: str) -> str:
    """The ending of a file's name where it is one of sound; any other may be a part of a name.

    >>> ending_of("Voice message.M4A"), ending_of("call from.maria")
    ('m4a', '')
    """
    ending = name.rpartition(".")[2].lower()
    return ending if ending in ENDINGS else ""
