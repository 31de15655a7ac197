"""Files in the drop place: finds new ones, registers them as dumps, and removes them once they are in the corpus."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.drop_folder import DroppedFile, DropPlace, DropStore
from kordant_jobs.adapters.dumps import DumpLimits, content_sha256
from kordant_jobs.domain.darkwatch.exposures import DumpStatus
from kordant_jobs.errors import DumpUnreadable, TransientError
from kordant_jobs.store.darkwatch import breaches, dumps
from kordant_jobs.store.people.keyring import Keyring

LABEL_EXTENSIONS = frozenset(
    {"7z", "br", "bz2", "csv", "db", "eml", "gpg", "gz", "html", "json", "jsonl", "log", "lz4", "mbox", "ndjson"}
    | {"parquet", "sql", "sqlite", "tar", "tgz", "tsv", "txt", "vcf", "xls", "xlsx", "xml", "xz", "yaml", "yml"}
    | {"zip", "zst"}
)
"""The file-name endings that a label keeps: those of formats. Any other ending may be a part of a name."""


@dataclass(frozen=True, kw_only=True)
class DropBox:
    """The drop place of dumps, and the options for reading them."""

    place: DropPlace
    keep_files: bool
    limits: DumpLimits
    phone_region: str


def label_of(name: str, keyring: Keyring) -> str:
    """The label of a file where people see it: 12 digits of the keyed hash of its name, and the endings of its format.
    A name may hold personal data in any form (`ssn_536904399.txt`), so nothing else of it is kept."""
    endings = [part.lower() for part in name.split(".")[1:][-2:]]
    kept = [part for part in endings[:-1] if endings[-1] in LABEL_EXTENSIONS and part in LABEL_EXTENSIONS]
    kept += [part for part in endings[-1:] if part in LABEL_EXTENSIONS]
    return ".".join([keyring.file_key(name).hex()[:12], *kept])


def now_of(connection: Connection) -> datetime:
    """The database's clock, which all processes share."""
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def new_files(db: Engine, box: DropBox, keyring: Keyring) -> list[DroppedFile]:
    """The files in the drop place that are not registered with their current size and time.

    Raises:
        TransientError: the place does not answer.
    """
    with db.connect() as connection:
        seen, now = dumps.seen_files(connection), now_of(connection)
    return [
        file
        for file in box.place.files(settled_at=now)
        if (keyring.file_key(file.name), file.size, file.mtime_ns) not in seen
    ]


def register_file(
    db: Engine,
    file: DroppedFile,
    keyring: Keyring,
    *,
    name: str | None = None,
    known_at: datetime | None = None,
    breach_name: str | None = None,
    shape: str | None = None,
    content: Path | None = None,
    dump_id: UUID | None = None,
) -> UUID | None:
    """Register one dropped file. None when its content was registered before: that dump is then read from this file.
    `name` is the file's final name, where it has a temporary one; `content`: the same bytes on this machine; `dump_id`:
    the new dump's id. The repaired version of a quarantined file belongs to the same breach, since subscribers may have
    been alerted of it already.

    Raises:
        DumpUnreadable: it cannot be opened.
        TransientError: it cannot be read just now.
    """
    with file.place.fetch(file) if content is None else nullcontext(content) as path:
        digest = bytes.fromhex(content_sha256(path))
    called = name or file.name
    facts = dumps.FileFacts(
        key=keyring.file_key(called),
        label=label_of(called, keyring),
        size=file.size,
        mtime_ns=file.mtime_ns,
        place=file.place.id(),
    )
    with db.begin() as connection:
        moment = known_at or now_of(connection)
        breach = breach_name or breaches.catalogued_breach_of_file(connection, called)
        breach = breach or dumps.breach_of_quarantined(connection, facts.key)
        breach = breach or breaches.own_breach_of_file(connection, digest, moment)
        return dumps.register(
            connection, digest, facts, breach_name=breach, known_at=moment, told_shape=shape, dump_id=dump_id
        )


def register_dropped(db: Engine, box: DropBox, keyring: Keyring) -> int:
    """Register every new file in the drop place. Returns the number with new content.

    Raises:
        TransientError: an object store does not answer. What was registered by then stays.
    """
    made = 0
    for file in new_files(db, box, keyring):
        try:
            made += register_file(db, file, keyring) is not None
        except DumpUnreadable:
            continue  # it vanished, or can't be opened: it stays unregistered and is tried at the next scan
        except TransientError:
            if isinstance(box.place, DropStore):
                raise  # its sensor does not ask for the same files twice: this run is tried again
    if not box.keep_files:
        _remove_ingested(db, box, keyring)
    return made


def _remove_ingested(db: Engine, box: DropBox, keyring: Keyring) -> None:
    """Remove files whose content is in the corpus: a killed run left them, or they were dropped twice."""
    with db.connect() as connection:
        ingested = dumps.seen_files(connection, DumpStatus.INGESTED)
    for file in box.place.files():
        if (keyring.file_key(file.name), file.size, file.mtime_ns) in ingested:
            box.place.remove(file)


def file_of(dump: dumps.DumpRow, box: DropBox, keyring: Keyring) -> DroppedFile:
    """The file of a registered dump.

    Raises:
        DumpUnreadable: it is gone, or was replaced by another one.
        TransientError: the place in which it lies is not the one that this machine has, or does not answer.
    """
    for file in box.place.files():
        if keyring.file_key(file.name) == dump.file_key:
            if (file.size, file.mtime_ns) != (dump.file_size, dump.file_mtime_ns):
                raise DumpUnreadable("the file was replaced before it was read. The next scan takes what lies there.")
            return file
    if dump.place is not None and dump.place != box.place.id():
        raise TransientError(
            f"dump {dump.id} lies in a drop place that this machine does not see: mount the same folder on every host "
            "(KORDANT_DROP_DIR), or set the same KORDANT_DROP_URL. The run is tried again."
        )
    raise DumpUnreadable("the file is no longer in the drop place. Put it back, or dismiss the dump.")
