"""Finds transfers between accounts of one entity when rows are written, and removes those of which a leg changed."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.finance.states import TransactionType
from kordant_jobs.domain.finance.transfers import DAYS, MOVES, Pair, decide

_UNDO = """
WITH gone AS (
    DELETE FROM kordant.transfers t USING kordant.transactions o, kordant.transactions i
    WHERE o.id = t.out_id AND i.id = t.in_id AND t.entity_id = :entity
      AND (t.out_id = ANY(cast(:ids AS uuid[])) OR t.in_id = ANY(cast(:ids AS uuid[])))
      AND (o.state <> 'posted' OR i.state <> 'posted' OR o.amount <> -i.amount)
    RETURNING t.out_id, t.in_id
)
UPDATE kordant.transactions t SET transfer_id = NULL, transfer_status = NULL
FROM gone WHERE t.id IN (gone.out_id, gone.in_id)
"""
_MOVES = ", ".join(f"'{one.value}'" for one in sorted(MOVES))
_PAIRS = f"""
WITH touched AS MATERIALIZED (
    SELECT min(booked_on) - {DAYS[1] + 1} AS first_on, max(booked_on) + {DAYS[1] + 1} AS last_on
    FROM kordant.transactions WHERE id = ANY(cast(:ids AS uuid[]))
), holders AS MATERIALIZED (
    SELECT holder_index AS holder FROM kordant.entities WHERE id = :entity AND holder_index IS NOT NULL
    UNION SELECT holder_index FROM kordant.bank_accounts WHERE entity_id = :entity AND holder_index IS NOT NULL
), open_rows AS MATERIALIZED (
    SELECT t.id, t.account_id, t.amount, t.currency, t.booked_on, t.type, t.transfer_index,
           CASE WHEN t.counterparty_index IS NOT NULL AND EXISTS (SELECT FROM holders)
                THEN t.counterparty_index IN (SELECT holder FROM holders) END AS is_holder
    FROM kordant.bank_accounts a JOIN kordant.transactions t ON t.account_id = a.id, touched w
    WHERE a.entity_id = :entity AND t.booked_on BETWEEN w.first_on AND w.last_on AND t.state = 'posted'
      AND t.transfer_id IS NULL AND t.amount <> 0 AND t.type IN ({_MOVES})
)
SELECT o.id AS out_id, i.id AS in_id, o.type AS out_type, i.type AS in_type, o.is_holder AS out_is_holder,
       i.is_holder AS in_is_holder, o.transfer_index = i.transfer_index AS same_key,
       i.booked_on - o.booked_on AS days
FROM open_rows o
JOIN open_rows i ON i.amount = -o.amount AND i.currency = o.currency AND i.account_id <> o.account_id
     AND i.booked_on - o.booked_on BETWEEN {DAYS[0]} AND {DAYS[1]}
WHERE o.amount < 0
"""  # noqa: S608 - put together from constants
_MARK_OWN = """
UPDATE kordant.transactions t SET transfer_id = m.transfer_id, transfer_status = 'own'
FROM unnest(cast(:legs AS uuid[]), cast(:transfers AS uuid[])) AS m(leg, transfer_id) WHERE t.id = m.leg
"""
_MARK_OTHERS = f"""
UPDATE kordant.transactions t SET transfer_status = s.status
FROM (
    SELECT x.id, CASE WHEN x.id = ANY(cast(:candidates AS uuid[])) THEN 'candidate'
                      WHEN x.type IN ({_MOVES}) AND x.counterparty_index IN (
                          SELECT holder_index FROM kordant.entities WHERE id = :entity
                          UNION SELECT holder_index FROM kordant.bank_accounts WHERE entity_id = :entity)
                      THEN 'one_leg' END AS status
    FROM kordant.transactions x
    WHERE (x.id = ANY(cast(:ids AS uuid[])) OR x.id = ANY(cast(:candidates AS uuid[]))) AND x.transfer_id IS NULL
      AND x.state = 'posted'
) s
WHERE t.id = s.id AND t.transfer_status IS DISTINCT FROM s.status
"""  # noqa: S608 - put together from constants


def link(connection: Connection, entity_id: UUID, touched: Sequence[UUID]) -> int:
    """Find the transfers that the new or changed rows belong to, in the caller's transaction. Returns the number of new
    transfers.

    A row whose counterparty is the owner, but whose other leg is not visible, is marked as one.
    """
    ids = {"entity": entity_id, "ids": [str(one) for one in touched]}
    connection.execute(sa.text(_UNDO), ids)
    pairs = [
        Pair(
            **{
                **row._mapping,
                "out_type": TransactionType(row.out_type),
                "in_type": TransactionType(row.in_type),
            }
        )
        for row in connection.execute(sa.text(_PAIRS), ids).all()
    ]
    decided = decide(pairs)
    made = [(uuid7(), pair, score) for pair, score in decided.own]
    if made:
        connection.execute(
            sa.text("""
            INSERT INTO kordant.transfers (id, entity_id, out_id, in_id, confidence)
            SELECT id, :entity, out_id, in_id, confidence
            FROM unnest(cast(:made AS uuid[]), cast(:outs AS uuid[]), cast(:ins AS uuid[]), cast(:scores AS float8[]))
                 AS m(id, out_id, in_id, confidence)
            """),
            {
                "entity": entity_id,
                "made": [str(one) for one, _, _ in made],
                "outs": [str(pair.out_id) for _, pair, _ in made],
                "ins": [str(pair.in_id) for _, pair, _ in made],
                "scores": [score for _, _, score in made],
            },
        )
        legs = [(leg, one) for one, pair, _ in made for leg in (pair.out_id, pair.in_id)]
        connection.execute(
            sa.text(_MARK_OWN),
            {"legs": [str(leg) for leg, _ in legs], "transfers": [str(one) for _, one in legs]},
        )
    connection.execute(sa.text(_MARK_OTHERS), {**ids, "candidates": [str(one) for one in decided.candidates]})
    return len(made)
