"""A month's calls are counted in Postgres, for all processes: none goes over, and what was refused is given back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.banks.http import failure_of
from kordant_jobs.domain.finance.states import ErrorClass, Provider
from kordant_jobs.ports import BankFailed
from kordant_jobs.store.finance.calls import ProviderCalls
from kordant_jobs.store.people.keyring import Keyring

NOW = datetime(2026, 3, 31, 23, tzinfo=UTC)


def call(calls: ProviderCalls, ends_with: BankFailed | None = None, now: datetime = NOW) -> None:
    async def one() -> None:
        async with calls.for_connection(now=now, user_is_present=False).one("transactions", "account"):
            if ends_with is not None:
                raise ends_with

    asyncio.run(one())


def used(db: Engine) -> list[tuple[int, int]]:
    query = "SELECT used, reserved FROM kordant.provider_budgets ORDER BY month_on"
    with db.connect() as connection:
        return [(row.used, row.reserved) for row in connection.execute(sa.text(query))]


def test_the_fifth_historic_read_of_a_month_is_never_sent(db: Engine, keyring: Keyring) -> None:
    calls = ProviderCalls(db, keyring, Provider.OFB)
    for _ in range(4):
        call(calls)
    with pytest.raises(BankFailed, match="budget"):
        call(ProviderCalls(db, keyring, Provider.OFB))
    assert (calls.made, used(db)) == (4, [(4, 0)])
    call(calls, now=datetime(2026, 4, 1, 4, tzinfo=UTC))
    assert used(db) == [(4, 0), (1, 0)], "a month ends at midnight in Sao Paulo"


@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (failure_of(500, None), False),
        (failure_of(429, 1.0), False),
        (BankFailed(ErrorClass.TRANSIENT, "unreadable"), True),
        (BankFailed(ErrorClass.TRANSIENT, "timed_out"), True),
    ],
)
def test_a_call_counts_unless_the_server_refused_it(
    db: Engine, keyring: Keyring, failure: BankFailed, counts: bool
) -> None:
    with pytest.raises(BankFailed):
        call(ProviderCalls(db, keyring, Provider.OFB), failure)
    assert used(db) == [(int(counts), 0)]
