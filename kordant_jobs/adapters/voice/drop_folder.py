"""Clips that were dropped: files `<id of the subscription>…`. Lists them; what becomes of them is a job's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

from kordant_jobs.adapters.drop_folder import DroppedFile, dropped_files
from kordant_jobs.adapters.voice.decoding import ENDINGS

ID_LENGTH = 36


def dropped_clips(folder: Path, *, settled_at: datetime | None = None) -> Iterator[tuple[UUID, DroppedFile]]:
    """The files whose names begin with an id, with that id. Others stay: whose they are cannot be known."""
    for file in dropped_files(folder, settled_at=settled_at):
        try:
            yield UUID(file.name[:ID_LENGTH]), file
        except ValueError:
            continue


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
