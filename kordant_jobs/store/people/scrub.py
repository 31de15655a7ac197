"""Removes the old bytes of deleted keys from Postgres' own files: from the tables at once, from the log as soon as
possible.

A deleted or changed row stays in its table's file until that is rewritten, and in the write-ahead log until its
segments are removed. The key table is small (a hundred bytes a subscriber), so it is rewritten completely. Backups and
replicas keep their content; their owner decides for how long.
"""

from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

TABLES = ("subscriber_keys", "entity_keys", "keyring_check")
"""The tables of wrapped keys. Ciphertexts without their key reveal nothing."""
ROUNDS = 2
"""A server deletes the log's segments older than the checkpoint before the last one, so two checkpoints are needed."""


@dataclass(frozen=True, kw_only=True)
class Scrubbed:
    """The result of scrubbing. `log`: the server's log was truncated as well, which only its administrators may do."""

    tables: bool
    log: bool

    @property
    def words(self) -> str:
        """The result as a sentence."""
        if self.tables and self.log:
            return "gone from the database's files and its log"
        if self.tables:
            return (
                "gone from the database's files; from its log once the server has recycled it (this role may not "
                "checkpoint: grant pg_checkpoint, or wait for two of its checkpoints)"
            )
        return "still in the database's files until the next VACUUM FULL of kordant.subscriber_keys (this role may not)"


def scrub(db: Engine) -> Scrubbed:
    """Rewrite the tables of keys, and truncate the log where that is allowed. Writers of these tables wait for it."""
    tables = log = False
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with suppress(DBAPIError):
            for table in TABLES:
                connection.execute(sa.text(f"VACUUM (FULL) kordant.{table}"))
            tables = True
        with suppress(DBAPIError):
            for _ in range(ROUNDS):
                connection.execute(sa.text("SELECT pg_switch_wal()"))
                connection.execute(sa.text("CHECKPOINT"))
            log = True
    return Scrubbed(tables=tables, log=log)
