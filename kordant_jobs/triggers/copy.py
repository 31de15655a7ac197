"""The last valid price list, in a file. Code is loaded from it, so that no import needs the database.

The reloader writes it whenever the table changes; without a file the catalogue's rows are used.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from kordant_jobs.catalog import SCHEDULES
from kordant_jobs.domain.schedules.rows import StoredScheduleRow, row_from
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.schedules.config import CATALOGUE

_ROWS = TypeAdapter(tuple[StoredScheduleRow, ...])
NAME = "schedules.json"
"""The file's name in the state folder."""


def seeded() -> tuple[StoredScheduleRow, ...]:
    """The catalogue's own rows, before any edit."""
    ever = datetime.fromtimestamp(0, UTC)
    return tuple(StoredScheduleRow(row=row, version=0, changed_at=ever, changed_by=CATALOGUE) for row in SCHEDULES)


def write(folder: Path, rows: Sequence[StoredScheduleRow]) -> bool:
    """Write the rows to the folder's file, atomically. Returns whether that changed it."""
    text = _ROWS.dump_json(tuple(rows), indent=1).decode()
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
        found = _ROWS.validate_json((folder / NAME).read_bytes())
        for one in found:
            row_from(one.row.to_json())
    except (OSError, ValueError, PermanentError):
        return seeded()
    return found
