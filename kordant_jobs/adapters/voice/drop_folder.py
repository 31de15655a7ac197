"""Clips that were dropped: a folder a subscription, named after its id. Lists them; what becomes of them is a job's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

from kordant_jobs.adapters.drop_folder import DroppedFile, dropped_files
from kordant_jobs.adapters.voice.decoding import ENDINGS


def dropped_clips(folder: Path, *, settled_at: datetime | None = None) -> Iterator[tuple[UUID, DroppedFile]]:
    """The files of every folder that is named after an id, with that id."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for own in sorted(folder.iterdir()):
        try:
            subscription_id = UUID(own.name)
        except ValueError:
            continue
        if own.is_dir() and not own.is_symlink():
            yield from ((subscription_id, file) for file in dropped_files(own, settled_at=settled_at))


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
