"""Writes rows of accounts to the ledger: COPY, one look-up, and one statement that writes only what is new or changed.

Several accounts may be given at once. The caller holds the lease of each account's connection, in the transaction that
also commits its cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs.domain.finance.values import today_in
from kordant_jobs.store.finance.closing import close
from kordant_jobs.store.finance.identify import recognise, resolve, stage
from kordant_jobs.store.finance.rows import Outcome, Target, hash_rows
from kordant_jobs.store.finance.writing import write
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys


def upsert(
    connection: Connection,
    keyring: Keyring,
    keys: SubscriberKeys,
    targets: Sequence[Target],
    *,
    run_id: UUID | None,
    now: datetime,
) -> dict[UUID, Outcome]:
    """Write the rows read of these accounts, in the caller's transaction. Returns the outcome of each account."""
    outcomes = {target.account_id: Outcome() for target in targets}
    rows = hash_rows(keyring, targets, outcomes, today=today_in(now))
    met = [row for row in rows if not row.target.is_new]
    stage(connection, met)
    fresh = [row for row in rows if row.target.is_new] + resolve(connection, keyring, keys, met)
    if newcomers := [row for row in fresh if row.id is None and not row.target.is_new]:
        recognise(connection, keys, newcomers, outcomes)
    write(connection, keyring, keys, fresh, outcomes, run_id=run_id, now=now)
    for row in fresh:
        outcomes[row.target.account_id].counts["unchanged"] -= 1
    close(connection, [one for one in targets if not one.is_new], outcomes, run_id=run_id, now=now)
    return outcomes
