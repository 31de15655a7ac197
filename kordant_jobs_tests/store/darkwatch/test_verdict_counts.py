"""Counts of verdicts are what the table says, whichever way its rows came, changed and went."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.store.darkwatch import verdict_counts

INSERT = """
INSERT INTO kordant.source_verdicts AS v (subscription_id, source, checked_on, verdict, reason, exposures,
                                          new_exposures, covered_until)
SELECT id, 'hibp', date '2026-11-29' - day, CASE WHEN n % 3 = 0 THEN 'unknown' ELSE 'clean' END,
       CASE WHEN n % 3 = 0 THEN 'timed_out' END, 0, 0, now()
FROM (SELECT id, row_number() OVER () AS n FROM kordant.subscriptions) s, generate_series(0, 2) day
ON CONFLICT (subscription_id, source, checked_on) DO UPDATE SET verdict = 'exposed', reason = NULL
WHERE v.verdict = 'clean'
"""
CHANGES = (
    INSERT,
    INSERT,
    "UPDATE kordant.source_verdicts SET checked_on = checked_on - 7 WHERE verdict = 'exposed'",
    "DELETE FROM kordant.source_verdicts WHERE checked_on = '2026-11-28'",
    "DELETE FROM kordant.subscriptions WHERE id IN (SELECT id FROM kordant.subscriptions LIMIT 10)",
    "DELETE FROM kordant.source_verdicts",
)
COUNTED = """SELECT checked_on, verdict, reason, sum(subscriptions)::int FROM kordant.verdict_counts
             GROUP BY 1, 2, 3 HAVING sum(subscriptions) <> 0 ORDER BY 1, 2, 3"""
TRUE = """SELECT checked_on, verdict, coalesce(reason, ''), count(*) FROM kordant.source_verdicts
          GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""


@pytest.fixture
def watched(db: Engine) -> Engine:
    """Thirty subscriptions."""
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.subscribers (id) SELECT gen_random_uuid() "
                                   "FROM generate_series(1, 30)"))  # fmt: skip
        connection.execute(sa.text("INSERT INTO kordant.subscriptions (id, subscriber_id, tier) "
                                   "SELECT gen_random_uuid(), id, 'plus' FROM kordant.subscribers"))  # fmt: skip
    return db


def test_counts_are_the_tables_after_every_change_and_fold(watched: Engine) -> None:
    seen = []
    for change in CHANGES:
        with watched.begin() as connection:
            connection.execute(sa.text(change))
            true = connection.execute(sa.text(TRUE)).all()
            assert connection.execute(sa.text(COUNTED)).all() == true
            verdict_counts.fold(connection)
            assert connection.execute(sa.text(COUNTED)).all() == true
            rows = connection.execute(sa.text("SELECT count(*) FROM kordant.verdict_counts")).scalar_one()
        assert rows == len(true)
        seen.append(len(true))
    assert seen[0] == 6
    assert seen[-1] == 0
