"""The time to verify the audit log: the whole chain with its codes, beside a bare read and hash of the same rows."""

import hashlib
import io
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.access.audit import GENESIS, Entry, link
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.figures import Figure
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring

_AT = datetime(2026, 6, 1, tzinfo=UTC)


def _fill(db: Engine, keyring: Keyring, rows: int) -> None:
    """Rows as the writers and the trigger make them, past both: they would take a millisecond each."""
    lines, before = io.StringIO(), GENESIS
    for seq in range(1, rows + 1):
        entry = Entry(actor=f"user:{seq % 50}", role="operator", source="http", action="requests.cancel",
                      target_kind="request", target_id=f"{seq:032x}").text(_AT)  # fmt: skip
        mac = keyring.sign(log.PURPOSE, entry.encode())
        own = link(before, seq, mac, entry)
        lines.write(f"{seq}\t{entry}\t\\\\x{mac.hex()}\t\\\\x{before.hex()}\t\\\\x{own.hex()}\n")
        before = own
    lines.seek(0)
    with db.begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.copy_expert("COPY kordant.audit_log (seq, entry, mac, prev_hash, hash) FROM STDIN", lines)


def _bare(db: Engine) -> float:
    began = time.perf_counter()
    with db.connect() as connection:
        streamed = connection.execution_options(stream_results=True, yield_per=10_000).execute(
            sa.text("SELECT entry FROM kordant.audit_log ORDER BY seq")
        )
        for part in streamed.partitions():
            for (entry,) in part:
                hashlib.sha256(entry.encode()).digest()
    return time.perf_counter() - began


def measure(rows: int = 1_000_000) -> list[Figure]:
    """Verify a log of `rows` rows.

    Raises:
        KordantError: the log is not valid.
    """
    with tempfile.TemporaryDirectory(prefix="kordant-bench-") as folder, EmbeddedPostgres(Path(folder)) as postgres:
        db, keyring = database.create_engine(postgres.url()), Keyring(os.urandom(32))
        migrate.upgrade(db)
        with db.begin() as connection:
            keyring.check(connection)
        _fill(db, keyring, rows)
        bare = _bare(db)
        began = time.perf_counter()
        with db.connect() as connection:
            verdict = log.check(connection, keyring)
        took = time.perf_counter() - began
        db.dispose()
    if not verdict.holds or verdict.checked != rows:
        raise KordantError(f"the log does not hold: {verdict}.")
    million = 1_000_000 / rows
    return [
        Figure(key="verify_1e6_s", value=took * million, unit="s", goal=20.0, peer="read and hash",
               peer_value=bare * million),
    ]  # fmt: skip
