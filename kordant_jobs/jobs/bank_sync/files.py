"""Banks' files from the drop folder, which has a subfolder for each entity, named by its id. A file that was read is
removed. A file that is not a statement is renamed to *.refused; one that cannot be read at the moment waits. A file may
be dropped twice: its rows are stored once."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from kordant_jobs.adapters.banks.files import NoStatement, Statement, read_statements
from kordant_jobs.catalog import OfEntity, publish
from kordant_jobs.domain.finance.limits import next_due
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.domain.finance.values import BadRow, ConnectionRead
from kordant_jobs.errors import KeyringError, PermanentError, TransientError
from kordant_jobs.store.finance import connections, saving
from kordant_jobs.store.people.keyring import Keyring

REFUSED = ".refused"
BYTES_MAX = 64 << 20
UNREADABLE = (
    NoStatement, PermanentError, saving.TooManyBad, ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
    DataError, IntegrityError,
)  # fmt: skip
"""Exceptions that a file's content may cause: that file is refused, the others are read."""


@dataclass
class Taken:
    """The number of files read and of new rows, and the refused and waiting files: the keyed hash of each name, with
    the reason."""

    files: int = 0
    rows: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)


def take_files(folder: Path, *, db: Engine, keyring: Keyring, now: datetime) -> Taken:
    """Read every waiting file. A file that cannot be read does not stop the others."""
    taken = Taken()
    for path, entity_id in _dropped(folder):
        name = keyring.file_key(path.name).hex()
        try:
            taken.rows += _take(path, entity_id, db=db, keyring=keyring, now=now)
            path.unlink()
            taken.files += 1
        except (TransientError, OSError) as why:
            taken.waiting.append((name, str(why) if isinstance(why, TransientError) else type(why).__name__))
        except KeyringError:
            raise  # no file is to blame
        except UNREADABLE as why:
            is_ours = isinstance(
                why, NoStatement | BadRow | PermanentError | saving.TooManyBad
            )  # their texts hold nothing of the file
            reason = str(why) if is_ours else type(why).__name__
            taken.refused.append((name, reason))
            with suppress(OSError):  # it is refused again then
                _set_aside(path, reason)
    return taken


def _set_aside(path: Path, reason: str) -> None:
    """Rename a refused file, without overwriting another, and write the reason to a hidden file beside it."""
    names = (f"{path.name}{number}{REFUSED}" for number in chain([""], (f".{n}" for n in count(2))))
    place = next(one for one in map(path.with_name, names) if not one.exists())
    _reason_of(place).write_text(reason)
    path.rename(place)


def _reason_of(refused: Path) -> Path:
    return refused.with_name(f".{refused.name}.why")


def refused_files(folder: Path, entity_id: UUID | None = None) -> list[dict[str, object]]:
    """Refused files that are still in the folder, of one entity or of all: `entity_id`, `file`, `reason`, `at`."""
    found = list[dict[str, object]]()
    for own in _listed(folder):
        if entity_id is not None and own.name != str(entity_id):
            continue
        for path in _listed(own):
            if path.suffix == REFUSED and not path.name.startswith("."):
                why = _reason_of(path)
                reason = why.read_text() if why.is_file() else None
                at = datetime.fromtimestamp(path.stat().st_ctime, UTC)
                found.append({"entity_id": own.name, "file": path.name, "reason": reason, "at": at})
    return found


def _dropped(folder: Path) -> Iterator[tuple[Path, UUID]]:
    """The waiting files, each with its entity. A folder that cannot be listed counts as empty."""
    for own in _listed(folder):
        try:
            entity_id = UUID(own.name)
        except ValueError:
            continue
        for path in _listed(own):
            if path.suffix != REFUSED and path.is_file() and not path.name.startswith("."):
                yield path, entity_id


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _take(path: Path, entity_id: UUID, *, db: Engine, keyring: Keyring, now: datetime) -> int:
    """Store the content of one file, in one transaction. Returns the number of new rows.

    Raises:
        NoStatement: the file is not a statement.
        PermanentError: there is no such entity.
        TransientError: its connection is paused, or a file of the same bank is read elsewhere just now.
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
                raise TransientError("its connection is paused, or read elsewhere.")
            moments = [one.as_of_at for one in statements if one.as_of_at is not None]
            read = ConnectionRead(
                accounts=tuple(one.read for one in statements), cursor={}, as_of_at=max(moments, default=None)
            )
            due_at = next_due(Provider.FILE, now, spread=0.0)
            saved = saving.save(connection, keyring, claimed, read, run_id=None, now=now, due_at=due_at)
            rows += len(saved.created)
            if saved.data_version is not None:
                publish(connection, "sync.completed", OfEntity(entity_id=entity_id), requested_by="bank_sync")
    return rows
