"""The limits on calls to providers, shared by all processes in Postgres: monthly budgets and rates.

A call is reserved before it is made, and released when the server refused it: only successful calls count. A call with
an unknown result (a reset, a truncated answer) counts. Calls reserved by a process that was killed stay reserved until
the month ends. So too few calls are made, never too many.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.finance.limits import RATES, Rate, limit_of
from kordant_jobs.domain.finance.states import ErrorClass, Provider
from kordant_jobs.domain.finance.values import month_of
from kordant_jobs.engine.control import leases
from kordant_jobs.ports import BankFailed
from kordant_jobs.store.people.keyring import Keyring

SUBJECT = "budget-subject"
TOKENS_AT_ONCE = 10
"""Tokens of a rate that are fetched together, so that not every call asks Postgres."""
WAIT_MOST_S = 45.0
"""The longest wait of a call for its rate, in seconds, before its connection is deferred."""

_RESERVE = sa.text("""
INSERT INTO kordant.provider_budgets AS b (provider, endpoint, subject_index, month_on, reserved, call_limit)
VALUES (:provider, :endpoint, :subject, :month, 1, :limit)
ON CONFLICT (provider, endpoint, subject_index, month_on)
DO UPDATE SET reserved = b.reserved + 1, call_limit = excluded.call_limit
WHERE b.used + b.reserved < excluded.call_limit
RETURNING call_limit - used - reserved
""")
_SETTLE = sa.text("""
UPDATE kordant.provider_budgets SET reserved = greatest(reserved - 1, 0), used = used + :used
WHERE provider = :provider AND endpoint = :endpoint AND subject_index = :subject AND month_on = :month
""")


class ProviderCalls:
    """The calls of one run to one provider, for one of its connections (`for_connection`)."""

    def __init__(
        self, db: Engine, keyring: Keyring, provider: Provider, rates: Mapping[Provider, Rate] = RATES
    ) -> None:
        self._db, self._keyring, self._provider = db, keyring, provider
        self._rate = rates.get(provider)
        self._tokens = 0
        self.made = 0

    def for_connection(self, *, now: datetime, user_is_present: bool) -> ConnectionCalls:
        """The calls of one connection's read."""
        return ConnectionCalls(self, now=now, user_is_present=user_is_present)

    async def take_token(self) -> None:
        """Wait until the provider's rate allows a call.

        Raises:
            BankFailed: it takes too long.
        """
        rate = self._rate
        if rate is None:
            return
        waited = 0.0
        while self._tokens < 1:
            granted = await asyncio.to_thread(self._fetch, rate.per_s, rate.burst)
            self._tokens += granted
            if not granted:
                if waited >= WAIT_MOST_S:
                    raise BankFailed(ErrorClass.BUSY, "rate", retry_after_s=60)
                pause = 1 / rate.per_s
                await asyncio.sleep(pause)
                waited += pause
        self._tokens -= 1

    def _fetch(self, per_s: float, burst: int) -> int:
        with self._db.begin() as connection:
            party, now = f"bank:{self._provider}", datetime.now(UTC)
            return leases.take_tokens(connection, party, TOKENS_AT_ONCE, per_s=per_s, burst=burst, now=now)

    def drop_tokens(self) -> None:
        """Discard the fetched tokens, so that the next call asks Postgres. Call it in the event loop only, as
        `take_token`."""
        self._tokens = 0

    def slow_down(self, seconds: float) -> None:
        """Stop the calls of all processes for these seconds, since the provider answered that its rate limit was
        exceeded."""
        rate = self._rate
        if rate is None:
            return
        with self._db.begin() as connection:
            party, now = f"bank:{self._provider}", datetime.now(UTC)
            tokens = leases.open_bucket(connection, party, per_s=rate.per_s, burst=rate.burst, now=now)
            leases.spend(connection, party, tokens + int(min(seconds, 300.0) * rate.per_s))

    def reserve(self, endpoint: str, subject: str, *, now: datetime, user_is_present: bool) -> int | None:
        """Reserve one call. Returns the calls left in the month's limit, None where there is no limit.

        Raises:
            BankFailed: the limit is reached.
        """
        limit = limit_of(self._provider, endpoint, user_is_present=user_is_present)
        if limit is None:
            return None
        with self._db.begin() as connection:
            left: int | None = connection.execute(
                _RESERVE, {**self._place(endpoint, subject, now), "limit": limit}
            ).scalar()
        if left is None:
            raise BankFailed(ErrorClass.BUSY, "budget", retry_after_s=6 * 3600)
        return left

    def settle(self, endpoint: str, subject: str, *, now: datetime, counts: bool) -> None:
        """Record whether a reserved call counts."""
        with self._db.begin() as connection:
            connection.execute(_SETTLE, {**self._place(endpoint, subject, now), "used": int(counts)})

    def _place(self, endpoint: str, subject: str, now: datetime) -> dict[str, object]:
        index = self._keyring.blind_index(SUBJECT, subject)
        return {"provider": self._provider, "endpoint": endpoint, "subject": index, "month": month_of(now)}


class ConnectionCalls:
    """See `ports.BankCalls`. `remaining` has, by endpoint, the calls that the scarcest limit still allows this
    month."""

    def __init__(self, calls: ProviderCalls, *, now: datetime, user_is_present: bool) -> None:
        self._calls, self._now, self._user_is_present = calls, now, user_is_present
        self.remaining = defaultdict[str, list[int]](list)

    @asynccontextmanager
    async def one(self, endpoint: str, subject: str = "") -> AsyncIterator[None]:
        """One call. See `ports.BankCalls`."""
        calls, now = self._calls, self._now
        left = await asyncio.to_thread(calls.reserve, endpoint, subject, now=now, user_is_present=self._user_is_present)
        if left is not None:
            self.remaining[endpoint].append(left)
        counts = True
        try:
            try:
                await calls.take_token()
            except BankFailed:
                counts = False
                raise
            calls.made += 1
            yield
        except BankFailed as failure:
            counts = counts and not failure.refused
            if failure.code == "rate_limited":
                calls.drop_tokens()
                await asyncio.to_thread(calls.slow_down, failure.retry_after_s or 10.0)
            raise
        finally:
            if left is not None:
                await asyncio.to_thread(calls.settle, endpoint, subject, now=now, counts=counts)

    def least_remaining(self) -> int | None:
        """The calls that the scarcest limit still allows this month, among the endpoints that every read needs; None:
        no limit."""
        needed = [left for name, found in self.remaining.items() if name in _EVERY_READ for left in found]
        return min(needed, default=None)


_EVERY_READ = frozenset({"balances", "transactions-current", "card-transactions-current", "card-limits"})
