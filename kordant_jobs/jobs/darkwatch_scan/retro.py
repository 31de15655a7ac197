"""Matches a new dump with watched items while it is read, so that subscribers found in it are alerted at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import date
from uuid import UUID

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import SECRETS
from kordant_jobs.adapters.dumps import BlindBatch
from kordant_jobs.jobs.darkwatch_scan.alerting import write_alerts
from kordant_jobs.store.darkwatch import scans
from kordant_jobs.store.darkwatch.dumps import DumpRow

TELL_EVERY_S = 1.0
"""The most seconds that found items wait for others while a dump is read, so that a transaction writes some hundred,
not one."""


class Watch:
    """Finds watched items in the blocks of one dump, in their order, and writes provisional alerts.

    The alert of a found subscriber has the first line, 'once', and the strongest secret so far. The rest is known at
    the end of the dump; the scan that then reads the corpus completes the alert.
    """

    def __init__(
        self,
        dump: DumpRow,
        pairs: Iterable[pl.DataFrame],
        *,
        db: Engine,
        today: date,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pairs`: item_id, blind_index (16 bytes) and seen_at of the items for which the dump is new, in parts that
        ascend by blind index. Of each item 40 bytes are kept, and `Members`."""
        from kordant_jobs.adapters.kernels.members import Members

        index, self._ids, self._seen_at = (np.concatenate(parts) for parts in zip(*map(_sorted, pairs), strict=True))
        first = np.ones(len(index), bool)
        first[1:] = (index[1:] != index[:-1]).any(axis=1)
        self._starts = np.append(np.flatnonzero(first), len(index))  # several may watch one identifier
        self._members = Members(index[first])
        self._lines = np.full(len(self._starts) - 1, np.iinfo(np.uint64).max, np.uint64)
        self._secrets = np.zeros(len(self._starts) - 1, np.uint8)
        self._waiting: list[npt.NDArray[np.int32]] = []
        self._dump, self._db, self._today = dump, db, today
        self._monotonic, self._reported_at = monotonic, -np.inf
        self.new_exposures = 0

    def check(self, batch: BlindBatch, *, before_it_counts: bool) -> None:
        """Search the next block. Writes alerts when it is time, or before the block counts as read."""
        places, keys = self._members.find(batch.index, len(batch.line))
        if len(keys):
            lines, secrets = batch.line[places], batch.secret[places]
            news = keys[(lines < self._lines[keys]) | (secrets > self._secrets[keys])]
            np.minimum.at(self._lines, keys, lines)
            np.maximum.at(self._secrets, keys, secrets)
            if len(news):
                self._waiting.append(news)
        if before_it_counts or self._monotonic() - self._reported_at >= TELL_EVERY_S:
            self.write_alerts()

    def write_alerts(self) -> None:
        """Write the exposures found since the last call, and their alerts, in one transaction."""
        if not self._waiting:
            return
        hits = self._hits(np.unique(np.concatenate(self._waiting)))
        with self._db.begin() as connection:
            self.new_exposures += scans.save_hits(connection, hits)
            scans.choose_found(connection)
            write_alerts(connection, today=self._today, provisional=True)
        self._waiting, self._reported_at = [], self._monotonic()

    def _hits(self, keys: npt.NDArray[np.int32]) -> pl.DataFrame:
        starts, ends = self._starts[keys], self._starts[keys + 1]
        counts = ends - starts
        ahead = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        key = np.repeat(keys, counts)
        rows = np.repeat(starts, counts) + ahead
        return pl.DataFrame(
            {
                "item_id": [str(UUID(bytes=row.tobytes())) for row in self._ids[rows]],
                "seen_at": pl.Series(self._seen_at[rows]).cast(scans.MOMENT),
            },
            schema={"item_id": pl.String, "seen_at": scans.MOMENT},
        ).with_columns(
            pl.Series("line", self._lines[key]),
            pl.lit(1, pl.UInt32).alias("occurrences"),
            pl.Series("secret", SECRETS.categories.gather(self._secrets[key]), SECRETS),
            pl.lit(self._dump.breach_name).alias("breach_name"),
            pl.lit(str(self._dump.id)).alias("dump_id"),
            pl.lit(None, pl.List(pl.String)).alias("sites"),  # known when the whole dump is
        )


def _sorted(pairs: pl.DataFrame) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A part of the pairs by blind index: the indexes as two words, the ids as 16 bytes, and the microseconds of
    seen_at."""
    index = np.frombuffer(b"".join(pairs["blind_index"].to_list()), np.uint64).reshape(-1, 2)
    ids = pairs["item_id"].str.replace_all("-", "", literal=True).str.decode("hex").to_list()
    order = np.lexsort((index[:, 1], index[:, 0]))
    seen_at = pairs["seen_at"].cast(pl.Int64).to_numpy()
    return index[order], np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)[order], seen_at[order]
