"""Reads rows, balances and bills of some entities for the rules of insights: one consistent snapshot by COPY."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.insights.books import ACCOUNTS_SCHEMA, HOME_CURRENCY, ROWS_SCHEMA, Books
from kordant_jobs.postgres.bulk import read_frame

_ENTITIES = "unnest(cast(:ids AS uuid[])) WITH ORDINALITY AS e(id, number)"
_ACCOUNTS = f"""
SELECT e.number - 1 AS entity, row_number() OVER (ORDER BY e.number, a.id) - 1 AS account, a.id AS account_id, a.kind,
       e.id AS entity_id
FROM {_ENTITIES} JOIN kordant.bank_accounts a ON a.entity_id = e.id AND a.currency = '{HOME_CURRENCY}'
"""  # noqa: S608 - constants of ours
_ROWS = sa.text(f"""
WITH a AS MATERIALIZED ({_ACCOUNTS})
SELECT a.entity, a.account, t.id, t.booked_on - DATE '1970-01-01', round(t.amount * 100)::bigint,
       o.cents, CASE WHEN o.cents IS NOT NULL THEN t.original_currency END,
       coalesce(t.merchant_key, encode(t.counterparty_index, 'hex'), '?' || t.type), t.type,
       CASE WHEN t.mcc ~ '^[0-9]{{1,4}}$' THEN t.mcc::integer END,
       CASE WHEN t.category_source IN ('user', 'rule', 'provider') THEN t.category_id END, t.state, t.instalment_no,
       t.instalment_of, t.plan_id, coalesce(t.transfer_status IN ('own', 'one_leg'), false),
       coalesce(t.transfer_status = 'candidate', false), t.refund_of IS NOT NULL OR t.type = 'reversal',
       t.iof_of IS NOT NULL, b.due_on - DATE '1970-01-01'
FROM a JOIN kordant.transactions t ON t.account_id = a.account_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN t.original_currency <> t.currency THEN round(t.original_amount * 100)::bigint END AS cents
) o
LEFT JOIN kordant.card_bills b ON b.id = t.bill_id
WHERE t.state IN ('posted', 'pending', 'scheduled') AND t.currency = '{HOME_CURRENCY}'
""")  # noqa: S608 - as above
_SAID = sa.text(f"""
WITH a AS MATERIALIZED ({_ACCOUNTS})
SELECT a.entity, a.account, a.account_id, a.kind, s.current,
       (s.as_of_at AT TIME ZONE 'America/Sao_Paulo')::date - DATE '1970-01-01', s.limit_, s.used
FROM a LEFT JOIN LATERAL (
    SELECT max(round(l.amount * 100)::bigint) FILTER (WHERE l.kind = 'current') AS current,
           max(l.as_of_at) FILTER (WHERE l.kind = 'current') AS as_of_at,
           max(round(l.amount * 100)::bigint) FILTER (WHERE l.kind = 'limit') AS limit_,
           max(round(abs(l.amount) * 100)::bigint) FILTER (WHERE l.kind = 'used') AS used
    FROM (SELECT DISTINCT ON (kind) kind, amount, as_of_at FROM kordant.bank_balances x
          WHERE x.account_id = a.account_id ORDER BY kind, as_of_at DESC) l
) s ON true
""")  # noqa: S608 - as above
_VERSIONS = sa.text(f"""
SELECT e.number - 1, e.id, coalesce(v.data_version, 0)
FROM {_ENTITIES} LEFT JOIN kordant.entity_versions v ON v.entity_id = e.id ORDER BY 1
""")  # noqa: S608 - as above


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Books of entities, numbered as in `ids`, and the version of the data that was read."""

    ids: tuple[UUID, ...]
    versions: tuple[int, ...]
    books: Books


def load(connection: Connection, ids: Sequence[UUID]) -> Loaded:
    """The books of these entities. The connection must be at REPEATABLE READ, so that rows and versions match."""
    given = {"ids": "{" + ",".join(map(str, ids)) + "}"}
    versions = connection.execute(_VERSIONS, given).all()
    return Loaded(
        ids=tuple(row[1] for row in versions),
        versions=tuple(row[2] for row in versions),
        books=Books(
            rows=read_frame(connection, _ROWS.bindparams(**given), ROWS_SCHEMA),
            accounts=read_frame(connection, _SAID.bindparams(**given), ACCOUNTS_SCHEMA),
        ),
    )
