"""The drop place of clips: lists its files, named `<id of the subscription>…`, and reports those that no run
accepts."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from kordant_jobs.adapters.drop_folder import DroppedFile, DropPlace, has_finished_name
from kordant_jobs.adapters.voice.decoding import ENDINGS

ID_LENGTH = 36
LEFT_AFTER = timedelta(hours=1)
"""The age from which on no run will accept a file: runs come every half hour."""


def dropped_clips(place: DropPlace, *, settled_at: datetime | None = None) -> Iterator[tuple[UUID, DroppedFile]]:
    """The files whose names begin with an id, each with that id. With `settled_at`, only those that no process is
    writing then. Files without an id are left out, since their owner is unknown."""
    for file in place.files(settled_at=settled_at):
        owner = _owner(file.name)
        if owner is not None and (settled_at is None or place.is_complete(file, settled_at)):
            yield owner, file


def _owner(name: str) -> UUID | None:
    try:
        return UUID(name[:ID_LENGTH])
    except ValueError:
        return None


def left_behind(place: DropPlace, now: datetime) -> dict[str, int]:
    """The number of entries of the drop place that no run accepts, by reason. They stay there unencrypted until an
    operator removes them. `refused`: the name has an id, but of no subscription that is served, or the file is too
    large."""
    found: Counter[str] = Counter()
    for entry in place.entries():
        if now.timestamp() - entry.changed_at < LEFT_AFTER.total_seconds():
            continue
        if not entry.is_plain:
            found["no plain file"] += 1
        elif not has_finished_name(entry.name):
            found["named as unfinished"] += 1
        else:
            found["no id in the name" if _owner(entry.name) is None else "refused"] += 1
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
