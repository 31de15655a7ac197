"""The last valid price list, in a file. Code is loaded from it, so that no import needs the database.

The reloader writes it whenever the table changes; without a file the catalogue's rows are used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kordant_jobs.catalog import SCHEDULES
from kordant_jobs.domain.schedules.rows import Pause, StoredScheduleRow, row_from
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.schedules.config import CATALOGUE

NAME = "schedules.json"
"""The file's name in the state folder."""


def seeded() -> tuple[StoredScheduleRow, ...]:
    """The catalogue's own rows, before any edit."""
    ever = datetime.fromtimestamp(0, UTC)
    return tuple(StoredScheduleRow(row=row, version=0, changed_at=ever, changed_by=CATALOGUE) for row in SCHEDULES)


def write(folder: Path, rows: Sequence[StoredScheduleRow]) -> bool:
    """Write the rows to the folder's file, atomically. Returns whether that changed it."""
    text = json.dumps([_to_json(one) for one in rows], indent=1, sort_keys=True)
    target = folder / NAME
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return False
    draft = target.with_name(f".{NAME}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(target)
    return True


def read(folder: Path) -> tuple[StoredScheduleRow, ...]:
    """The rows in the folder's file; the catalogue's when there is none, or when `write` did not write it."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return tuple(_from_json(one) for one in found)
    except (OSError, ValueError, KeyError, TypeError, PermanentError):
        return seeded()


def _to_json(one: StoredScheduleRow) -> dict[str, Any]:
    pause = one.pause and {
        **asdict(one.pause),
        "since": one.pause.since.isoformat(),
        "until": one.pause.until and one.pause.until.isoformat(),
    }
    return {
        "row": one.row.to_json(),
        "version": one.version,
        "changed_at": one.changed_at.isoformat(),
        "changed_by": one.changed_by,
        "pause": pause,
    }


def _from_json(values: dict[str, Any]) -> StoredScheduleRow:
    pause = values["pause"]
    return StoredScheduleRow(
        row=row_from(values["row"]),
        version=values["version"],
        changed_at=datetime.fromisoformat(values["changed_at"]),
        changed_by=values["changed_by"],
        pause=pause
        and Pause(
            reason=pause["reason"],
            by=pause["by"],
            since=datetime.fromisoformat(pause["since"]),
            until=pause["until"] and datetime.fromisoformat(pause["until"]),
        ),
    )
