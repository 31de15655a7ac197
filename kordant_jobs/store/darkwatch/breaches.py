"""The table of breaches: those of the catalogue, and those known only from a dump."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.darkwatch.breaches import Breach, BreachSource
from kordant_jobs.store.darkwatch.tables import breaches, catalogue_imports

CATALOGUE_TTL = timedelta(hours=1)
"""The time for which a scan does not check the catalogue again."""

UNKNOWN_DATA_CLASSES = ("Email addresses",)


def catalogue_is_fresh(connection: Connection, now: datetime) -> bool:
    """True when the catalogue was checked within `CATALOGUE_TTL`."""
    newest = connection.execute(sa.select(sa.func.max(catalogue_imports.c.checked_at))).scalar()
    return newest is not None and now - newest < CATALOGUE_TTL


def catalogue_is_known(connection: Connection, content: bytes) -> bool:
    """True when this exact catalogue was imported before; also records the check."""
    digest = hashlib.sha256(content).digest()
    table = catalogue_imports
    done = connection.execute(sa.update(table).where(table.c.content_sha256 == digest).values(checked_at=sa.func.now()))
    return done.rowcount > 0


def save_catalogue(connection: Connection, content: bytes, found: Sequence[Breach], *, rejected: int) -> int:
    """Write the catalogue's breaches, overwriting changed ones, and record the import. Returns the number of new
    ones."""
    count = sa.select(sa.func.count()).select_from(breaches)
    before = connection.execute(count).scalar_one()
    if found:
        rows = [{**asdict(breach), "data_classes": list(breach.data_classes)} for breach in found]
        statement = insert(breaches)
        changed = {
            column.name: statement.excluded[column.name]
            for column in breaches.columns
            if column.name not in {"name", "known_at"}
        }
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed), rows)
    note = insert(catalogue_imports).values(
        content_sha256=hashlib.sha256(content).digest(), breaches=len(found), rejected=rejected
    )
    connection.execute(note.on_conflict_do_nothing())
    return connection.execute(count).scalar_one() - before


def catalogued_breach_of_file(connection: Connection, file_name: str) -> str | None:
    """The breach in the catalogue with the name of a dropped file (`Adobe.csv.gz` → Adobe, in any case)."""
    stem = file_name.split(".", maxsplit=1)[0].lower()
    digest = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).digest()  # the server need not see the name
    known = sa.func.sha256(sa.func.convert_to(sa.func.lower(breaches.c.name), "UTF8"))
    return connection.execute(sa.select(breaches.c.name).where(known == digest)).scalar()


def own_breach_of_file(connection: Connection, content_sha256: bytes, known_at: datetime) -> str:
    """A breach for a dropped file that is not in the catalogue, named by its content."""
    own = f"dump-{content_sha256.hex()[:12]}"
    row = insert(breaches).values(
        name=own,
        source=BreachSource.DUMP,
        title="Unattributed dump",
        data_classes=list(UNKNOWN_DATA_CLASSES),
        known_at=known_at,
    )
    connection.execute(row.on_conflict_do_nothing())
    return own
