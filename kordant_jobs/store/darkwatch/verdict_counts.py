"""Verdicts by day, source and reason, without a read of the verdicts themselves.

A trigger counts them as they are written, replaced or deleted, whichever way that happens; `fold` keeps the rows few.
"""

import sqlalchemy as sa
from sqlalchemy import Connection

_FOLD = sa.text("""
WITH gone AS MATERIALIZED (
    DELETE FROM kordant.verdict_counts v USING (
        SELECT checked_on, source, verdict, reason FROM kordant.verdict_counts GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
    ) many
    WHERE (v.checked_on, v.source, v.verdict, v.reason) = (many.checked_on, many.source, many.verdict, many.reason)
    RETURNING v.*
)
INSERT INTO kordant.verdict_counts
SELECT checked_on, source, verdict, reason, sum(subscriptions) FROM gone GROUP BY 1, 2, 3, 4
HAVING sum(subscriptions) <> 0
""")


def fold(connection: Connection) -> None:
    """Bring the rows of each day, source, verdict and reason together into one. What is counted meanwhile stays."""
    connection.execute(_FOLD)
