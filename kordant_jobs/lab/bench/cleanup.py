"""The speed of deleting expired rows, and how long a concurrent writer waits. Ours by ranges of the heap,
beside the common way: pick 5,000 rows, join by id, again and again. Both heed the same cutoff on the same rows; ours
looks for legal holds, too."""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.lab.figures import Figure
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention import deleting
from kordant_jobs.store.retention.kinds import TABLES

KIND = TABLES["scan_verdicts"]
NOW = datetime(2026, 6, 1, 6, tzinfo=UTC)
CUTOFF = NOW - timedelta(days=700)
DAYS = 1_000
QUIET_S = 2.0
PEER_S = 60.0
"""The peer stops then; its time is extrapolated by the rows that it deleted."""

_FILL = """
INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, :people);
INSERT INTO kordant.subscriptions (id, subscriber_id, tier) SELECT gen_random_uuid(), id, 'premium'
FROM kordant.subscribers;
INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, exposures, new_exposures,
                                     covered_until, checked_at)
SELECT s.id, 'dumps', (at AT TIME ZONE 'UTC')::date, 'clean', 0, 0, at, at
FROM kordant.subscriptions s, generate_series(0, :days - 1) day,
     LATERAL (SELECT cast(:now AS timestamptz) - day * interval '1 day') x(at);
CREATE TABLE kordant.peer (LIKE kordant.source_verdicts INCLUDING ALL);
INSERT INTO kordant.peer SELECT * FROM kordant.source_verdicts
"""

_PEER = sa.text("""
DELETE FROM kordant.peer t USING (
    SELECT subscription_id, source, checked_on FROM kordant.peer WHERE checked_at < :cutoff LIMIT 5000
    FOR UPDATE SKIP LOCKED
) x WHERE (t.subscription_id, t.source, t.checked_on) = (x.subscription_id, x.source, x.checked_on)
""")

_WRITE = """
UPDATE kordant.{table} SET new_exposures = new_exposures + 1
WHERE (subscription_id, source, checked_on) = (:s, 'dumps', cast(:day AS date))
"""


def measure(*, rows: int) -> list[Figure]:
    """Fill two tables alike, and delete the old rows of each in its way."""
    with _world(max(1, rows // DAYS)) as db:
        with db.connect() as connection:
            old = deleting.count(connection, KIND, CUTOFF).rows
        quiet, _, _ = _beside(db, KIND.table, lambda: time.sleep(QUIET_S))
        batches: list[deleting.Batch] = []
        ours, took, size = _beside(db, KIND.table, lambda: batches.extend(deleting.delete(db, KIND, CUTOFF)))
        peer_rows = [0]
        theirs, peer_took, _ = _beside(db, "peer", lambda: peer_rows.__setitem__(0, _peer(db)))
        with db.connect() as connection:
            left = deleting.count(connection, KIND, CUTOFF).rows
        deleting.make_free(db, KIND)
        added = max(_p99(ours) - _p99(quiet), 0.0)
        peer_added = max(_p99(theirs) - _p99(quiet), 0.0)
    seconds_of_peer = peer_took * old / max(peer_rows[0], 1)
    peer = "5,000 by id"
    return [
        Figure(key="delete_s", value=took, unit="s", goal=seconds_of_peer / 10, peer=peer, peer_value=seconds_of_peer),
        Figure(key="left_rows", value=left, unit="rows", goal=0),
        Figure(key="longest_batch", value=max(one.seconds for one in batches), unit="s", goal=1.0),
        Figure(key="writer_added_p99", value=added, unit="s", goal=0.1, peer=peer, peer_value=peer_added),
        Figure(key="writer_max", value=max(ours), unit="s", goal=1.0, peer=peer, peer_value=max(theirs)),
        Figure(key="rows_deleted", value=sum(one.rows for one in batches), unit="rows", goal=None),
        Figure(key="table_after", value=size / 1e6, unit="MB", goal=None),
    ]


def _peer(db: Engine) -> int:
    gone, began = 0, time.monotonic()
    while time.monotonic() - began < PEER_S:
        with db.begin() as connection:
            count = connection.execute(_PEER, {"cutoff": CUTOFF}).rowcount
        if not count:
            break
        gone += count
    return gone


def _beside(db: Engine, table: str, work: Callable[[], object]) -> tuple[list[float], float, int]:
    """Do `work` while another session writes young rows; the writer's waits, the work's seconds, the table's bytes."""
    waits, stop = [0.0], threading.Event()
    with db.connect() as connection:
        some = list(connection.execute(sa.text("SELECT id FROM kordant.subscriptions LIMIT 100")).scalars())

    def write() -> None:
        turn = 0
        while not stop.is_set():
            day = (NOW - timedelta(days=turn % 300)).date()
            began = time.monotonic()
            with db.begin() as connection:
                connection.execute(sa.text(_WRITE.format(table=table)), {"s": some[turn % len(some)], "day": day})
            waits.append(time.monotonic() - began)
            turn += 1
            stop.wait(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    began = time.monotonic()
    work()
    took = time.monotonic() - began
    stop.set()
    writer.join()
    with db.connect() as connection:
        size = connection.execute(sa.text(f"SELECT pg_total_relation_size('kordant.{table}')")).scalar_one()
    return waits, took, size


def _p99(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=100)[98] if len(waits) > 1 else 0.0


@contextmanager
def _world(people: int) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="kordant-bench-") as folder, EmbeddedPostgres(Path(folder)) as postgres:
        db, keyring = database.create_engine(postgres.url()), Keyring(os.urandom(32))
        migrate.upgrade(db)
        with db.begin() as connection:
            keyring.check(connection)
            for statement in _FILL.split(";\n"):
                connection.execute(sa.text(statement), {"people": people, "days": DAYS, "now": NOW})
        with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
        try:
            yield db
        finally:
            db.dispose()
