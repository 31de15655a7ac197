"""From a dump that lies in the drop folder to alert rows, by the job's own steps, for many premium subscribers."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.dumps import DumpLimits
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan.service import DropBox
from kordant_jobs.store import database
from kordant_jobs.store.bulk import write_frame
from kordant_jobs.store.embedded import EmbeddedPostgres
from kordant_jobs.store.keyring import Keyring
from kordant_jobs.store.progress import Progress
from kordant_jobs.store.scans import Scope

PER_LINE = 1_000
"""One subscriber in so many stands in the dump, among as many lines as there are subscribers."""
SETTLED = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

_PEOPLE = """
INSERT INTO kordant.breaches (name, source, title, data_classes)
    VALUES ('Shoply', 'hibp', 'Shoply', ARRAY['Email addresses', 'Passwords']);
INSERT INTO kordant.subscribers (id) SELECT id FROM arriving;
INSERT INTO kordant.subscriptions (id, subscriber_id, tier) SELECT id, id, 'premium' FROM arriving;
INSERT INTO kordant.watchlist_items (id, subscription_id, subscriber_id, kind, identifier_encrypted, blind_index)
    SELECT gen_random_uuid(), id, id, 'email', '\\x00', blind_index FROM arriving;
INSERT INTO kordant.scan_watermarks (subscription_id, job, known_until)
    SELECT id, 'darkwatch_scan', now() FROM arriving;
"""


def retro_scan(subscribers: int) -> dict[str, Any]:
    """Seconds from the file to the last alert row, and by step.

    Raises:
        KordantError: the alerts are not those of the people in the dump.
    """
    with (
        tempfile.TemporaryDirectory(prefix="kordant-bench-") as temporary,
        EmbeddedPostgres(Path(temporary) / "postgres") as server,
    ):
        folder = Path(temporary)
        db, keyring = database.create_engine(server.url()), Keyring(os.urandom(32))
        database.upgrade(db)
        _fill(db, keyring, subscribers)
        limits = DumpLimits(max_bytes=1 << 40, max_ratio=200)
        box = DropBox(folder=folder / "drop", keep_files=True, limits=limits, phone_region="US")
        planted = _drop(box.folder, subscribers)
        found = _scan(db, keyring, box, Corpus(folder / "corpus"))
        db.dispose()
    if found["alerts"] != planted:
        raise KordantError(f"{planted} people stand in the dump and {found['alerts']} were alerted.")
    return found


def _fill(db: Engine, keyring: Keyring, subscribers: int) -> None:
    with db.begin() as connection:
        keyring.check(connection)
        connection.exec_driver_sql("CREATE TEMP TABLE arriving (id uuid, blind_index bytea) ON COMMIT DROP")
        people = pl.Series(keyring.blind_indexes("email", map(_address, range(subscribers))), dtype=pl.Binary)
        ids = pl.int_range(subscribers, eager=True).cast(pl.String).str.zfill(32)
        write_frame(connection, pl.DataFrame({"id": ids, "blind_index": people}), "arriving")
        connection.exec_driver_sql(_PEOPLE)
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))


def _address(number: int) -> str:
    return f"person{number}@mail.example"


def _drop(folder: Path, lines: int) -> int:
    folder.mkdir()
    numbers = [number if not number % PER_LINE else number + 10**9 for number in range(lines)]
    path = folder / "Shoply.txt"
    path.write_text("".join(f"{_address(number)}:secret{number % 977}\n" for number in numbers))
    os.utime(path, (SETTLED, SETTLED))
    return len(range(0, lines, PER_LINE))


def _scan(db: Engine, keyring: Keyring, box: DropBox, corpus: Corpus) -> dict[str, Any]:
    began = time.perf_counter()
    plan, _ = service.plan_scan(
        Scope(tiers=("premium",)), since=None, until=None, db=db, keyring=keyring, box=box, catalogue=None
    )
    planned = time.perf_counter()
    with Progress(db, "bench") as progress:
        for chunk in plan.chunks:
            service.match_chunk(plan, chunk, db=db, keyring=keyring, box=box, corpus=corpus, progress=progress)
    matched = time.perf_counter()
    recorded = service.record(plan, db=db)
    ended = time.perf_counter()
    return {
        "seconds": ended - began,
        "plan_s": planned - began,
        "match_s": matched - planned,
        "record_s": ended - matched,
        "alerts": recorded.new_alerts,
    }
