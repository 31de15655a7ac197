"""The fetch of a day's instruments, in requests; and their join with a county's watched parcels: ours in Postgres, the
peer in plain pandas.

Both joins begin after the fetch, with everything in Postgres, and end with the watches to compare. The peer reads the
same tables with `pandas.read_sql` and merges them.
"""

import resource
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.counties.asking import Server
from kordant_jobs.adapters.counties.description import TableDescription, TableKind, shipped
from kordant_jobs.adapters.counties.drivers import Place, Row, Span, TableReader
from kordant_jobs.adapters.counties.reading import CountyReader
from kordant_jobs.lab.figures import Figure
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.darkwatch import scans
from kordant_jobs.store.property import matching

_FILL = """
SET LOCAL session_replication_role = replica;
INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() FROM generate_series(1, :people);
INSERT INTO kordant.subscriptions (id, subscriber_id, tier)
    SELECT gen_random_uuid(), id, 'premium' FROM kordant.subscribers;
INSERT INTO kordant.scan_watermarks (subscription_id, job, known_until)
    SELECT id, 'hometitle_scan', now() - interval '1 day' FROM kordant.subscriptions;
INSERT INTO kordant.watched_properties (id, subscription_id, subscriber_id, county, parcel_index, created_at)
    SELECT gen_random_uuid(), s.id, s.subscriber_id, 'bench', decode(md5('parcel' || n), 'hex'),
           now() - interval '9 days'
    FROM generate_series(1, :watched) n
    JOIN (SELECT id, subscriber_id, row_number() OVER () - 1 AS place FROM kordant.subscriptions) s
      ON s.place = n % :people;
INSERT INTO kordant.property_instruments (id, county, key, code, event, form, content_hash, changed_at)
    SELECT gen_random_uuid(), 'bench', 'D' || n, 'DEED', 'ownership_change', 'plain', '', now() - interval '5 hours'
    FROM generate_series(1, :new) n;
INSERT INTO kordant.property_lots (parcel_index, instrument_id)
    SELECT decode(md5('parcel' || (substr(key, 2)::bigint * 17 % (2 * :watched))), 'hex'), id
    FROM kordant.property_instruments;
ANALYZE kordant.watched_properties; ANALYZE kordant.property_instruments; ANALYZE kordant.property_lots;
ANALYZE kordant.scan_watermarks; ANALYZE kordant.subscriptions
"""
"""Without the checks of foreign keys, which would take most of the time at a million watches."""


def measure(*, watched: int, new: int, rounds: int = 2) -> Sequence[Figure]:
    """Both, in turn, in a Postgres of the bench's own; the best of some rounds."""
    with tempfile.TemporaryDirectory(prefix="kordant-bench-") as folder, EmbeddedPostgres(Path(folder)) as postgres:
        db = database.create_engine(postgres.url("postgres"))
        migrate.upgrade(db)
        with db.begin() as connection:
            for statement in _FILL.split(";"):
                values = {"people": max(1, watched // 5), "watched": watched, "new": new}
                used = {name: value for name, value in values.items() if f":{name}" in statement}
                connection.execute(sa.text(statement), used)
        ours: list[tuple[float, int]] = []
        theirs: list[tuple[float, int]] = []
        peak_mb = 0.0
        for _ in range(rounds):
            ours.append(_timed(db, _ours))
            peak_mb = peak_mb or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            theirs.append(_timed(db, _peer))
        db.dispose()
    if ours[0][1] != theirs[0][1]:
        raise AssertionError(f"the peer found {theirs[0][1]} watches, we {ours[0][1]}")
    seconds, peer_s = min(one[0] for one in ours), min(one[0] for one in theirs)
    return [
        Figure(key="match_1e6_s", value=seconds, unit="s", goal=None, peer="pandas", peer_value=peer_s),
        Figure(key="match_ratio", value=peer_s / seconds, unit="times", goal=5, direction="min"),
        Figure(key="match_peak_mb", value=peak_mb, unit="MB", goal=1024),
        fetch(new),
    ]


class _Source(TableReader):
    """A county's tables in memory, rows in order, that counts what it is asked."""

    def __init__(self, rows: Mapping[TableKind, list[dict[str, str]]]) -> None:
        super().__init__(shipped()["nyc"], Server())
        self.rows = {self.county.tables[kind].dataset: found for kind, found in rows.items()}
        self.places = {
            self.county.tables[kind].dataset: [(row["document_id"], row["id"]) for row in found]
            for kind, found in rows.items()
        }
        self.own_id = "id"

    def freshness(self) -> str:
        """Always the same."""
        self.server.requests += len(self.rows)
        return "1"

    def query(self, table: TableDescription, where: str, order: str, limit: int) -> tuple[list[Row], bool]:
        """The newest mark, which is all that is asked so."""
        self.server.requests += 1
        return [{"good_through_date": "1"}], False

    def page(self, table: TableDescription, span: Span, last: Place | None) -> tuple[list[Row], bool]:
        """One page of rows, as a server would return it."""
        self.server.requests += 1
        places = self.places[table.dataset]
        start = bisect_right(places, last or (span.after or "", "~"))
        end = len(places) if span.upto is None else bisect_right(places, (span.upto, "~"))
        return list(self.rows[table.dataset][start : min(end, start + table.page)]), end - start >= table.page


def fetch(new: int) -> Figure:
    """The requests that one day's documents take, against the fewest that pages of 50,000 rows allow."""
    each = {TableKind.INSTRUMENTS: 1.0, TableKind.LOTS: 1.2, TableKind.PARTIES: 2.4, TableKind.REFERENCES: 0.5}
    rows: dict[TableKind, list[dict[str, str]]] = {}
    for kind, share in each.items():
        numbers = sorted(f"{int(at / share):08d}" for at in range(int(new * share)))
        rows[kind] = [
            {"document_id": key, "id": f"{at:08d}", "doc_type": "EASE", "borough": "3", "block": "1", "lot": "1",
             "party_type": "1", "name": "A B", "reference_by_doc_id": "1", "good_through_date": "1"}
            for at, key in enumerate(numbers)
        ]  # fmt: skip
    reader = CountyReader(shipped()["nyc"], _Source(rows))
    reader.freshness()
    since = dict.fromkeys(reader.newest_watermarks(today=date(2026, 5, 1)), "0")
    documents = sum(len(part.documents) for part in reader.read(since, today=date(2026, 5, 1)))
    if documents != new:
        raise AssertionError(f"{documents} documents came of {new}")
    fewest = sum(-(-len(found) // reader.county.tables[kind].page) for kind, found in rows.items())
    return Figure(key="fetch_requests", value=reader.tables.server.requests, unit="", goal=None,
                  peer="the fewest", peer_value=fewest)  # fmt: skip


def _timed(db: Engine, work: Callable[[Connection], int]) -> tuple[float, int]:
    with db.begin() as connection:
        began = time.perf_counter()
        found = work(connection)
        return time.perf_counter() - began, found


def _ours(connection: Connection) -> int:
    scans.choose(connection, scans.Scope())
    return len(matching.due(connection, "bench"))


def _peer(connection: Connection) -> int:
    query = "SELECT w.id, w.parcel_index, w.subscription_id FROM kordant.watched_properties w WHERE w.county = 'bench'"
    watches = pd.read_sql(sa.text(query), connection)
    query = """SELECT l.parcel_index, i.changed_at FROM kordant.property_lots l
               JOIN kordant.property_instruments i ON i.id = l.instrument_id"""
    lots = pd.read_sql(sa.text(query), connection)
    marks = pd.read_sql(sa.text("SELECT subscription_id, known_until FROM kordant.scan_watermarks"), connection)
    watches["parcel_index"] = watches["parcel_index"].map(bytes)
    lots["parcel_index"] = lots["parcel_index"].map(bytes)
    both = watches.merge(lots, on="parcel_index").merge(marks, on="subscription_id")
    return int(both[both["changed_at"] >= both["known_until"] - pd.Timedelta(hours=1)]["id"].nunique())
