"""Writes rows of accounts to the ledger: COPY, one look-up, and one statement that writes only what is new or changed.
Rows that are missing from a read are noted the first time, and closed the second time, or at once when the bank deleted
them.

Several accounts may be given at once. The caller holds the lease of each account's connection, in the transaction that
also commits its cursor.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.finance.matching import (
    EXPIRES_AFTER,
    MISSING_FOR,
    closes_too_many,
)
from kordant_jobs.domain.finance.states import PROVISIONAL, AccountKind
from kordant_jobs.domain.finance.types import FINAL_AT_ONCE
from kordant_jobs.domain.finance.values import today_in
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


EXPLICIT_AFTER = timedelta(minutes=30)
"""The time for which a deletion reported by a webhook waits for the row that replaces it."""

_UNSEEN = f"""
SELECT t.id, t.account_id, t.state, t.missing_since_at, t.alias, t.booked_on,
       t.booked_on BETWEEN w.first_on AND w.last_on AS is_covered,
       CASE WHEN w.is_card THEN t.bill_id IS NOT NULL
            ELSE t.type IN ({", ".join(f"'{one.value}'" for one in sorted(FINAL_AT_ONCE))}) OR t.booked_on < :today
       END AS is_final
FROM kordant.transactions t
JOIN unnest(cast(:accounts AS uuid[]), cast(:firsts AS date[]), cast(:lasts AS date[]), cast(:cards AS boolean[]))
     AS w(account_id, first_on, last_on, is_card) ON w.account_id = t.account_id
WHERE (t.booked_on BETWEEN w.first_on AND w.last_on OR t.alias = ANY(cast(:deleted AS bytea[]))
       OR t.state IN ('scheduled', 'pending'))
  AND t.state IN ('scheduled', 'pending', 'posted')
  AND NOT EXISTS (SELECT FROM bank_seen s WHERE s.account_id = t.account_id AND s.alias = t.alias)
"""  # noqa: S608 - put together from constants
_TAKE_OUT = """
WITH closing AS (
    SELECT t.* FROM kordant.transactions t WHERE t.id = ANY(cast(:ids AS uuid[])) FOR UPDATE
), before AS (
    INSERT INTO kordant.transaction_versions
        (transaction_id, version, state, booked_on, amount, type, reason, sync_run_id, ended_at)
    SELECT id, version, state, booked_on, amount, type, :state, :run, :now FROM closing RETURNING transaction_id
)
UPDATE kordant.transactions t SET state = :state, removed_at = :now, removed_by = 'bank', removed_reason = :reason,
    version = t.version + 1, updated_at = :now FROM closing c WHERE t.id = c.id
"""


def close(
    connection: Connection,
    targets: Sequence[Target],
    outcomes: Mapping[UUID, Outcome],
    *,
    run_id: UUID | None,
    now: datetime,
) -> None:
    """Handle the rows that are missing from a read: note them the first time, close them the second time, or at once
    when the bank deleted them."""
    whole = [one for one in targets if one.covers is not None]
    if not whole:
        return
    today, deleted = today_in(now), {alias: at for one in whole for alias, at in one.deleted.items()}
    windows = [one.covers or (today, today) for one in whole]
    given = {
        "accounts": [str(one.account_id) for one in whole],
        "firsts": [first for first, _ in windows],
        "lasts": [last for _, last in windows],
        "cards": [one.kind is AccountKind.CARD for one in whole],
        "deleted": list(deleted),
        "today": today,
    }
    missing, removed, expired = list[UUID](), defaultdict[UUID, list[UUID]](list), defaultdict[UUID, list[UUID]](list)
    explicit = defaultdict[UUID, list[UUID]](list)
    for row in connection.execute(sa.text(_UNSEEN), given).all():
        reported_at = deleted.get(bytes(row.alias))
        is_provisional = row.state in PROVISIONAL
        if reported_at is not None and reported_at <= now - EXPLICIT_AFTER:
            explicit[row.account_id].append(row.id)
        elif is_provisional and row.booked_on < today - EXPIRES_AFTER:
            expired[row.account_id].append(row.id)
        elif row.is_covered and row.missing_since_at is None:
            missing.append(row.id)
        elif row.is_covered and not is_provisional and not row.is_final and row.missing_since_at <= now - MISSING_FOR:
            removed[row.account_id].append(row.id)
    if missing:
        query = "UPDATE kordant.transactions SET missing_since_at = :now WHERE id = ANY(cast(:ids AS uuid[]))"
        connection.execute(sa.text(query), {"ids": [str(one) for one in missing], "now": now})
    shown = Counter(one.account_id for one in whole for _ in one.rows)
    for account_id in list(removed):
        if closes_too_many(len(removed[account_id]), shown[account_id] + len(removed[account_id])):
            outcomes[account_id].closes_too_many = True
            del removed[account_id]
    for by_account, state, reason in (
        (explicit, "removed", "explicit"),
        (removed, "removed", "absent"),
        (expired, "expired", "expired"),
    ):
        for account_id, ids in by_account.items():
            listed = [str(one) for one in ids]
            connection.execute(
                sa.text(_TAKE_OUT), {"ids": listed, "state": state, "reason": reason, "run": run_id, "now": now}
            )
            outcomes[account_id].counts[state] += len(ids)
            outcomes[account_id].changed_ids += ids
