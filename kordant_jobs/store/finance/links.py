"""Links rows of one account: refunds with their purchases, IOF with foreign purchases, rows with their bill.

Set-based, for the accounts of one read, in the transaction that wrote it.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

REFUND_DAYS = 120
IOF_DAYS = 2
IOF_SHARE = (0.002, 0.07)
"""The share of a purchase that its IOF may be. The rates changed several times and were not verified, so a range
decides, not one rate; the range is a judgement."""

_REFUNDS = sa.text(f"""
UPDATE kordant.transactions r SET refund_of = f.id
FROM kordant.transactions x
CROSS JOIN LATERAL (
    SELECT o.id FROM kordant.transactions o
    WHERE o.account_id = x.account_id AND o.state = 'posted' AND o.amount < 0 AND -o.amount >= x.amount
      AND o.merchant_key = x.merchant_key AND o.type <> 'reversal'
      AND o.booked_on BETWEEN x.booked_on - {REFUND_DAYS} AND x.booked_on
      AND NOT EXISTS (SELECT FROM kordant.transactions u WHERE u.account_id = o.account_id AND u.refund_of = o.id
                      AND u.id <> x.id)
    ORDER BY (-o.amount = x.amount) DESC, o.booked_on DESC, o.id LIMIT 1) f
WHERE x.id = ANY(cast(:ids AS uuid[])) AND x.state = 'posted' AND x.amount > 0 AND x.type = 'reversal'
  AND x.refund_of IS NULL AND r.id = x.id
""")  # noqa: S608 - put together from constants
_IOF = sa.text(f"""
UPDATE kordant.transactions r SET iof_of = f.id
FROM kordant.transactions x
CROSS JOIN LATERAL (
    SELECT o.id FROM kordant.transactions o
    WHERE o.account_id = x.account_id AND o.state = 'posted' AND o.amount < 0 AND o.original_currency IS NOT NULL
      AND o.booked_on BETWEEN x.booked_on - {IOF_DAYS} AND x.booked_on + {IOF_DAYS}
      AND x.amount / o.amount BETWEEN {IOF_SHARE[0]} AND {IOF_SHARE[1]}
      AND NOT EXISTS (SELECT FROM kordant.transactions u WHERE u.account_id = o.account_id AND u.iof_of = o.id
                      AND u.id <> x.id)
    ORDER BY abs(o.booked_on - x.booked_on), o.id LIMIT 1) f
WHERE x.id = ANY(cast(:ids AS uuid[])) AND x.state = 'posted' AND x.amount < 0 AND x.type = 'tax'
  AND x.iof_of IS NULL AND r.id = x.id
""")  # noqa: S608 - put together from constants
_BILLS = sa.text("""
WITH bills AS (
    SELECT b.id, b.total, b.state, b.due_on, b.closed_on, b.unexplained,
           lead(b.closed_on) OVER (PARTITION BY b.account_id ORDER BY b.closed_on) AS next_closed_on, b.account_id,
           (SELECT coalesce(sum((c ->> 1)::numeric), 0) FROM jsonb_array_elements(b.charges) c) AS charged,
           (SELECT coalesce(sum((p ->> 2)::numeric), 0) FROM jsonb_array_elements(b.payments) p) AS told_paid
    FROM kordant.card_bills b WHERE b.account_id = ANY(cast(:accounts AS uuid[]))
), judged AS (
    SELECT b.*, (SELECT sum(t.amount) FROM kordant.transactions t
                 WHERE t.bill_id = b.id AND t.state = 'posted' AND t.type <> 'bill_payment') AS rows,
           greatest(b.told_paid, (
               SELECT coalesce(sum(t.amount), 0) FROM kordant.transactions t
               WHERE t.account_id = b.account_id AND t.state = 'posted' AND t.type = 'bill_payment' AND t.amount > 0
                 AND t.booked_on > b.closed_on AND t.booked_on <= coalesce(b.next_closed_on, :today))) AS paid
    FROM bills b
), settled AS (
    SELECT id, total + rows - charged AS unexplained,
           CASE WHEN state = 'instalmented' OR total IS NULL THEN state
                WHEN coalesce(paid, told_paid) >= total THEN 'paid'
                WHEN due_on < :today THEN 'overdue'
                WHEN coalesce(paid, told_paid) > 0 THEN 'partly_paid' ELSE 'closed' END AS state
    FROM judged
)
UPDATE kordant.card_bills b SET unexplained = s.unexplained, state = s.state, updated_at = :now
FROM settled s
WHERE b.id = s.id AND (b.unexplained IS DISTINCT FROM s.unexplained OR b.state <> s.state)
""")
"""A bill's total is the sum of its rows and finance charges. The difference is stored as `unexplained`, null where no
row is known. A payment after a closing belongs to that bill until the next closing."""


def link(
    connection: Connection, account_ids: Sequence[UUID], touched: Sequence[UUID], *, today: date, now: object
) -> None:
    """Link the rows that are new or changed, and settle the bills of these accounts."""
    ids = {"ids": [str(one) for one in touched]}
    if touched:
        connection.execute(_REFUNDS, ids)
        connection.execute(_IOF, ids)
    if account_ids:
        accounts = [str(one) for one in account_ids]
        connection.execute(_BILLS, {"accounts": accounts, "today": today, "now": now})
