"""The rate at which open removal requests are decided: ours in sets, beside a loop that loads, decides and saves one by
one.

Both do the same: read a due request, decide by the same rules, write its move with its event. Ours are in the chunks
that a run makes, one after the other. The loop gets a hundredth of the requests; its time is extrapolated.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.removals.brokers import BrokerRow, ListSource, RemovalChannel
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.removebrokers_process import rules, service
from kordant_jobs.lab.figures import Figure
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import catalogue, due, moves

NOW = datetime(2026, 6, 1, 6, tzinfo=UTC)
BROKERS = 100
LOOP_SHARE = 100

_FILL = """
INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, :people);
INSERT INTO kordant.subscriptions (id, subscriber_id, tier) SELECT gen_random_uuid(), id, 'premium'
FROM kordant.subscribers;
INSERT INTO kordant.removal_requests (id, subscriber_id, subscription_id, broker_id, law, address_token, next_at)
SELECT gen_random_uuid(), s.subscriber_id, s.id, b.id, 'ccpa', s.id::text || b.id::text, :now
FROM kordant.subscriptions s CROSS JOIN kordant.brokers b;
WITH events AS (
    INSERT INTO kordant.removal_events (id, request_id, from_state, to_state, reason, actor, at)
    SELECT gen_random_uuid(), id, 'draft', 'queued', 'asked', 'bench', :now FROM kordant.removal_requests
    RETURNING id, request_id
) UPDATE kordant.removal_requests r SET state = 'queued', last_event_id = e.id FROM events e WHERE e.request_id = r.id;
WITH events AS (
    INSERT INTO kordant.removal_events (id, request_id, from_state, to_state, reason, actor, at)
    SELECT gen_random_uuid(), id, 'queued', 'sent', 'sent', 'bench', :now FROM kordant.removal_requests
    RETURNING id, request_id
) UPDATE kordant.removal_requests r
SET state = 'sent', last_event_id = e.id, channel = 'email', attempts = 1, sent_on = '2026-04-01',
    confirm_by_on = '2026-04-15', answer_by_on = '2026-05-16', extended_by_on = '2026-06-30', answered = true
FROM events e WHERE e.request_id = r.id
"""


@contextmanager
def _world(requests: int) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="kordant-bench-") as folder, EmbeddedPostgres(Path(folder)) as postgres:
        db, keyring = database.create_engine(postgres.url()), Keyring(os.urandom(32))
        migrate.upgrade(db)
        rows = [
            BrokerRow(
                source=ListSource.KORDANT,
                key=f"b{n}",
                name=f"Broker {n}",
                domains=(f"b{n}.com",),
                emails=(f"p@b{n}.com",),
            )
            for n in range(BROKERS)
        ]
        with db.begin() as connection:
            keyring.check(connection)
            catalogue.import_rows(connection, ListSource.KORDANT, rows, now=NOW)
        with db.begin() as connection:
            connection.execute(sa.text("SET LOCAL enable_nestloop = off"))  # the new tables have no figures yet
            for statement in _FILL.split(";\n"):
                connection.execute(sa.text(statement), {"people": max(1, requests // BROKERS), "now": NOW})
        with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
        yield db
        db.dispose()


def _loop(db: Engine, brokers: list[UUID], number: int) -> float:
    """Load, decide and save one by one, a transaction each. Seconds a request."""
    with db.connect() as connection:
        query = "SELECT id, broker_id FROM kordant.removal_requests WHERE next_at <= :now ORDER BY id LIMIT :number"
        chosen = connection.execute(sa.text(query), {"now": NOW, "number": number}).all()
    began = time.perf_counter()
    for row in chosen:
        with db.begin() as connection:
            works = due.ways(connection, [row.broker_id], agent=False)
            frame = due.load(connection, [row.broker_id], NOW, works, only=row.id)
            decided = rules.decide(frame, NOW).rename({"state": "from_state"})
            ways = {one: (due.best(open_), open_.get(RemovalChannel.EMAIL)) for one, open_ in works.items()}
            moves.apply(connection, decided, now=NOW, actor="loop", ways=ways)
    return (time.perf_counter() - began) / len(chosen)


def measure(requests: int = 100_000) -> list[Figure]:
    """Decide this number of due requests: each becomes overdue, with its event and a reminder to its broker.

    Raises:
        KordantError: not every request was decided.
    """
    with _world(requests) as db:
        with db.connect() as connection:
            brokers = list(connection.execute(sa.text("SELECT id FROM kordant.brokers ORDER BY id")).scalars())
            total = connection.execute(sa.text("SELECT count(*) FROM kordant.removal_requests")).scalar_one()
        looped = min(total, max(20, total // LOOP_SHARE))
        each = _loop(db, brokers, looped)
        chunks = [brokers[place :: service.CHUNKS_MOST] for place in range(service.CHUNKS_MOST)]
        began = time.perf_counter()
        written = sum(service.decide_due_requests(chunk, db=db, now=NOW)[1] for chunk in chunks)
        took = time.perf_counter() - began
        if written != total - looped:
            raise KordantError(f"{written} of {total - looped} requests were decided.")
    scaled = took * total / (total - looped)
    loop = each * total
    return [
        Figure(
            key="decide_1e5_s", value=scaled * 100_000 / total, unit="s", goal=5.0,
            peer="one by one", peer_value=loop * 100_000 / total,
        ),
        Figure(key="decide_ratio", value=loop / scaled, unit="×", goal=20, direction="min"),
    ]  # fmt: skip
