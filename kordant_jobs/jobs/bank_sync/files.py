"""Banks' files from the drop folder: a folder an entity, named by its id. What was read is removed; what is no
statement stays beside it as *.refused. A file may be dropped twice: its rows are there once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from kordant_jobs.adapters.banks.files import NoStatement, Statement, read_statements
from kordant_jobs.domain.finance.limits import next_due
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.domain.finance.values import ConnectionRead
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.finance import connections, saving
from kordant_jobs.store.people.keyring import Keyring

REFUSED = ".refused"
BYTES_MAX = 64 << 20


@dataclass
class Taken:
    """Files that were read, their new rows, and those that were refused: by a keyed hash of the name, and why."""

    files: int = 0
    rows: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def take_files(folder: Path, *, db: Engine, keyring: Keyring, now: datetime) -> Taken:
    """Read every file that waits. One that cannot be read stops no other."""
    taken = Taken()
    if not folder.is_dir():
        return taken
    for own in sorted(folder.iterdir()):
        try:
            entity_id = UUID(own.name)
        except ValueError:
            continue
        for path in sorted(own.iterdir()):
            if path.suffix == REFUSED or not path.is_file() or path.name.startswith("."):
                continue
            try:
                taken.rows += _take(path, entity_id, db=db, keyring=keyring, now=now)
            except (NoStatement, PermanentError, saving.TooManyBad, IntegrityError) as why:
                path.rename(path.with_name(path.name + REFUSED))
                reason = str(why) if isinstance(why, NoStatement | PermanentError) else type(why).__name__
                taken.refused.append((keyring.file_key(path.name).hex(), reason))
            else:
                path.unlink()
                taken.files += 1
    return taken


def _take(path: Path, entity_id: UUID, *, db: Engine, keyring: Keyring, now: datetime) -> int:
    """Keep what one file says, in one transaction; how many rows are new.

    Raises:
        NoStatement: it is none.
        PermanentError: there is no such entity, or its account is read elsewhere just now.
        TooManyBad: too many of its rows could not be understood.
    """
    if path.stat().st_size > BYTES_MAX:
        raise NoStatement("larger than any statement")
    by_bank = defaultdict[str, list[Statement]](list)
    for statement in read_statements(path.read_bytes()):
        by_bank[statement.bank].append(statement)
    rows = 0
    with db.begin() as connection:
        for bank, statements in by_bank.items():
            made = connections.create(
                connection,
                keyring,
                entity_id=entity_id,
                provider=Provider.FILE,
                institution=bank,
                item=f"{entity_id}|{bank}",
                now=now,
            )
            claimed = connections.claim(connection, keyring, made, now=now)
            if claimed is None:
                raise PermanentError("its connection is paused, or read elsewhere.")
            moments = [one.as_of_at for one in statements if one.as_of_at is not None]
            read = ConnectionRead(
                accounts=tuple(one.read for one in statements), cursor={}, as_of_at=max(moments, default=None)
            )
            due_at = next_due(Provider.FILE, now, spread=0.0)
            saved = saving.save(connection, keyring, claimed, read, run_id=None, now=now, due_at=due_at)
            rows += len(saved.created)
    return rows
