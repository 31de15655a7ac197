"""Decides which rows of a read are stored already, which are stored rows that changed, and which are new.

A row is identified by the keyed hash of its provider's id (`alias`). A row with an unknown id may still be a stored row
(`domain.finance.matching`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.finance.matching import (
    Known,
    Newcomer,
    Posting,
    is_another,
    match,
)
from kordant_jobs.domain.finance.states import PROVISIONAL, AccountKind, ChangeReason, TransactionState
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.finance.rows import Outcome, Row, own_alias, posting_of
from kordant_jobs.store.finance.tables import transactions
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

_SEEN = """
CREATE TEMP TABLE IF NOT EXISTS bank_seen
    (place int, account_id uuid, alias bytea, content_hash bytea, extra_hash bytea) ON COMMIT DELETE ROWS
"""
ANALYSE_ABOVE = 1_000


def stage(connection: Connection, rows: Sequence[Row]) -> None:
    """Load the keys of the rows that were read into `bank_seen`, a temporary table of this transaction."""
    connection.execute(sa.text(_SEEN))
    connection.execute(sa.text("DELETE FROM bank_seen"))
    frame = pl.DataFrame(
        {
            "place": range(len(rows)),
            "account_id": [row.target.account_key for row in rows],
            "alias": [row.alias for row in rows],
            "content_hash": [row.content for row in rows],
            "extra_hash": [row.extra for row in rows],
        },
        schema={
            "place": pl.Int64,
            "account_id": pl.String,
            "alias": pl.Binary,
            "content_hash": pl.Binary,
            "extra_hash": pl.Binary,
        },
    )
    write_frame(connection, frame, "bank_seen")
    if len(rows) > ANALYSE_ABOVE:
        connection.execute(sa.text("ANALYZE bank_seen"))


_FRESH = """
SELECT s.place, x.id, x.state, x.booked_on, x.amount, x.entity_id, x.description_encrypted, x.removed_by,
       x.content_hash <> s.content_hash AS is_changed,
       t.id IS NULL AND EXISTS (SELECT FROM bank_seen o WHERE o.account_id = x.account_id AND o.alias = x.alias)
           AS is_anothers
FROM bank_seen s
LEFT JOIN kordant.transactions t ON t.account_id = s.account_id AND t.alias = s.alias
LEFT JOIN kordant.transaction_aliases a ON t.id IS NULL AND a.account_id = s.account_id AND a.alias = s.alias
LEFT JOIN kordant.transactions x ON x.id = coalesce(t.id, a.transaction_id)
WHERE t.id IS NULL OR t.content_hash <> s.content_hash OR t.extra_hash <> s.extra_hash
   OR t.state IN ('removed', 'expired') OR t.missing_since_at IS NOT NULL
"""


def resolve(connection: Connection, keyring: Keyring, keys: SubscriberKeys, rows: Sequence[Row]) -> list[Row]:
    """The rows that are new or changed, each with the id of the stored row that its alias belongs to, if there is
    one."""
    fresh, collided = list[Row](), dict[int, Row]()
    for found in connection.execute(sa.text(_FRESH)).all():
        row = rows[found.place]
        if found.id is not None and found.removed_by == "user":
            continue  # what its owner deleted stays so
        both_posted = found.state == TransactionState.POSTED and row.seen.state is TransactionState.POSTED
        if both_posted and found.is_changed and is_another(_kept(keys, found), posting_of(row.seen)):
            row.alias = own_alias(keyring, row)
            collided[found.place] = row
            continue
        if found.is_anothers:  # a former id of a row that is there under its present one: by now it is another row's
            fresh.append(row)
            continue
        row.id = found.id
        if found.id is not None and found.is_changed:
            was = TransactionState(found.state)
            row.reason = _reason(was, row.seen.state)
        elif found.id is not None and found.state in {"removed", "expired"}:
            row.reason = ChangeReason.REVIVED
        fresh.append(row)
    return fresh + (_resolve_collided(connection, collided) if collided else [])


def _description(keys: SubscriberKeys, found: Any) -> str:
    """The decrypted description of a stored row."""
    return keys.open(found.entity_id, transactions.c.description_encrypted, found.id, found.description_encrypted)


def _kept(keys: SubscriberKeys, found: Any) -> Posting:
    return Posting(booked_on=found.booked_on, amount=found.amount, description=_description(keys, found))


_RENAME = """
UPDATE bank_seen s SET alias = c.alias FROM unnest(cast(:places AS int[]), cast(:aliases AS bytea[])) AS c(place, alias)
WHERE s.place = c.place
"""
_COLLIDED = """
SELECT s.place, t.id FROM bank_seen s
LEFT JOIN kordant.transactions t ON t.account_id = s.account_id AND t.alias = s.alias
WHERE s.place = ANY(cast(:places AS int[])) AND t.content_hash IS DISTINCT FROM s.content_hash
  AND t.removed_by IS DISTINCT FROM 'user'
"""


def _resolve_collided(connection: Connection, collided: Mapping[int, Row]) -> list[Row]:
    """Rows, by place, whose provider's id belongs to another row. They are known under an alias of their own, or
    new."""
    given = {"places": list(collided), "aliases": [row.alias for row in collided.values()]}
    connection.execute(sa.text(_RENAME), given)
    fresh = []
    for found in connection.execute(sa.text(_COLLIDED), given).all():
        row = collided[found.place]
        row.id, row.reason = found.id, ChangeReason.RESTATED if found.id is not None else None
        fresh.append(row)
    return fresh


def _reason(was: TransactionState, now: TransactionState) -> ChangeReason:
    if was in {TransactionState.REMOVED, TransactionState.EXPIRED}:
        return ChangeReason.REVIVED
    if was in PROVISIONAL and now is TransactionState.POSTED:
        return ChangeReason.POSTED
    return ChangeReason.RESTATED


_KNOWN = """
SELECT t.id, t.account_id, t.state, t.booked_on, t.amount, t.currency, t.purchase_on, t.instalment_no,
       t.entity_id, t.description_encrypted,
       w.is_rekey OR t.alias = ANY(cast(:deleted AS bytea[])) OR t.missing_since_at IS NOT NULL
           OR t.booked_on BETWEEN w.first_on AND w.last_on AS is_restated,
       w.is_card AND t.bill_id IS NULL AS is_open
FROM kordant.transactions t
JOIN unnest(cast(:accounts AS uuid[]), cast(:lows AS date[]), cast(:highs AS date[]), cast(:firsts AS date[]),
            cast(:lasts AS date[]), cast(:cards AS boolean[]), cast(:rekeys AS boolean[]))
     AS w(account_id, low_on, high_on, first_on, last_on, is_card, is_rekey) ON w.account_id = t.account_id
WHERE t.booked_on BETWEEN w.low_on AND w.high_on AND t.state IN ('scheduled', 'pending', 'posted')
  AND NOT EXISTS (SELECT FROM bank_seen s WHERE s.account_id = t.account_id AND s.alias = t.alias)
"""
"""Stored rows that a new row may be: they are missing from the read although they should be in it (their day was read
completely, they were missing before, or their ids do not last)."""
BACK, FORTH = timedelta(days=16), timedelta(days=2)
PURCHASE_BACK = timedelta(days=62)


def recognise(
    connection: Connection, keys: SubscriberKeys, newcomers: Sequence[Row], outcomes: Mapping[UUID, Outcome]
) -> None:
    """Give new rows the ids of the stored rows that they are, where that can be decided."""
    by_account = defaultdict[UUID, list[Row]](list)
    for row in newcomers:
        by_account[row.target.account_id].append(row)
    targets = [rows[0].target for rows in by_account.values()]
    far = date(1, 1, 1)
    given = {
        "accounts": [str(one.account_id) for one in targets],
        "lows": [min(row.seen.booked_on for row in rows) - (PURCHASE_BACK if rows[0].target.kind is AccountKind.CARD
                 else BACK) for rows in by_account.values()],
        "highs": [max(row.seen.booked_on for row in rows) + FORTH for rows in by_account.values()],
        "firsts": [one.covers[0] if one.covers else far for one in targets],
        "lasts": [one.covers[1] if one.covers else far for one in targets],
        "cards": [one.kind is AccountKind.CARD for one in targets],
        "rekeys": [one.is_rekey for one in targets],
        "deleted": [alias for one in targets for alias in one.deleted],
    }  # fmt: skip
    known = defaultdict[UUID, list[Known]](list)
    for found in connection.execute(sa.text(_KNOWN), given).all():
        known[found.account_id].append(
            Known(
                id=found.id,
                state=TransactionState(found.state),
                booked_on=found.booked_on,
                amount=found.amount.normalize(),
                currency=found.currency,
                description=_description(keys, found),
                purchase_on=found.purchase_on,
                instalment_no=found.instalment_no,
                is_restated=found.is_restated,
                is_open=found.is_open,
            )
        )
    for account_id, rows in by_account.items():
        states = {one.id: one.state for one in known[account_id]}
        matches = match([_newcomer(number, row) for number, row in enumerate(rows)], known[account_id])
        for number, claimed in matches.claims.items():
            row = rows[number]
            row.id = claimed
            reason = _reason(states[claimed], row.seen.state)
            is_same = reason is ChangeReason.RESTATED and row.target.is_rekey
            row.reason = ChangeReason.REKEYED if is_same else reason
        outcomes[account_id].counts["ambiguous"] += len(matches.ambiguous)
        outcomes[account_id].counts["suggested"] += len(matches.suggested)


def _newcomer(place: int, row: Row) -> Newcomer:
    return Newcomer(
        place=place,
        state=row.seen.state,
        booked_on=row.seen.booked_on,
        amount=row.seen.amount.normalize(),
        currency=row.seen.currency,
        description=row.seen.description,
        purchase_on=row.seen.purchase_on,
        instalment_no=row.seen.instalment_no,
    )
