"""Measures the time from a dump in the drop folder to alert rows, by the job's own steps, for many premium
subscribers."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.drop_folder import DropFolder
from kordant_jobs.adapters.dumps import DumpLimits
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox
from kordant_jobs.postgres import database
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring

PER_LINE = 1_000
"""One subscriber in this number is in the dump; they are spread over all of it."""
CHECK_EVERY_S = 0.05
_ROWS = 500_000
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


def retro_scan(subscribers: int, dump_bytes: int) -> dict[str, Any]:
    """Seconds from a file in the drop folder to the first and the last alert row, as another connection sees
    them, to the end of the scan, and by step. What comes before (two seconds in which the file must rest, the sensor,
    the start of a run) is not in it: see `bench engine`.

    Raises:
        KordantError: the alerts are not those of the people in the dump.
    """
    with (
        tempfile.TemporaryDirectory(prefix="kordant-bench-") as temporary,
        EmbeddedPostgres(Path(temporary) / "postgres") as server,
    ):
        folder = Path(temporary)
        db, keyring = database.create_engine(server.url()), Keyring(os.urandom(32))
        migrate.upgrade(db)
        _fill(db, keyring, subscribers)
        limits = DumpLimits(max_bytes=1 << 40, max_ratio=200)
        box = DropBox(place=DropFolder(folder / "drop"), keep_files=True, limits=limits, phone_region="US")
        planted = _drop(folder / "drop", subscribers, dump_bytes)
        found = _scan(db, keyring, box, Corpus(folder / "corpus"), planted=planted)
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


def _drop(folder: Path, subscribers: int, dump_bytes: int) -> int:
    folder.mkdir()
    path = folder / "Shoply.txt"
    watched = range(0, subscribers, PER_LINE)
    parts = max(1, dump_bytes // (_ROWS * len(f"{_address(10**9)}:secret000\n")))
    with path.open("wb") as file:
        for part in range(parts):
            numbers = pl.int_range(_ROWS, eager=True) + 10**9 + part * _ROWS
            mine = list(watched)[part::parts]
            spread = pl.int_range(len(mine), eager=True) * (_ROWS // max(1, len(mine)))
            numbers = numbers.scatter(spread, mine)
            secrets = (numbers % 977).cast(pl.String)
            lines = "person" + numbers.cast(pl.String) + "@mail.example:secret" + secrets
            file.write(("\n".join(lines.to_list()) + "\n").encode())
    os.utime(path, (SETTLED, SETTLED))
    return len(watched)


class _Seen(threading.Thread):
    """Looks at the alert rows until there are as many as there should be, or it is asked to end."""

    def __init__(self, db: Engine, planted: int) -> None:
        super().__init__(name="alerts", daemon=True)
        self._db, self._planted = db, planted
        self.first: float | None = None
        self.last: float | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        with self._db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while self.last is None and not self.ended.wait(CHECK_EVERY_S):
                count = connection.execute(sa.text("SELECT count(*) FROM kordant.alerts")).scalar_one()
                now = time.perf_counter()
                self.first = now if count and self.first is None else self.first
                self.last = now if count >= self._planted else None


def _scan(db: Engine, keyring: Keyring, box: DropBox, corpus: Corpus, *, planted: int) -> dict[str, Any]:
    seen = _Seen(db, planted)
    seen.start()
    began = time.perf_counter()
    plan = service.plan_scan(
        Scope(tiers=("premium",)), since=None, until=None, db=db, keyring=keyring, box=box, catalogue=None
    )
    planned = time.perf_counter()
    with Progress(db, "bench") as progress:
        for chunk in plan.chunks:
            service.match_chunk(plan, chunk, db=db, keyring=keyring, box=box, corpus=corpus, progress=progress)
    matched = time.perf_counter()
    recorded = service.record(plan, db=db)
    ended = time.perf_counter()
    seen.join(timeout=5)
    seen.ended.set()
    if seen.first is None or seen.last is None:
        raise KordantError("not everybody who stands in the dump was alerted.")
    return {
        "seconds": seen.last - began,
        "first_s": seen.first - began,
        "plan_s": planned - began,
        "match_s": matched - planned,
        "record_s": ended - matched,
        "scan_s": ended - began,
        "alerts": recorded.new_alerts,
    }
