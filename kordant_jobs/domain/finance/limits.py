"""Limits on calls of a provider: a month's operational limits, rates, and when a connection is next due. Pure.

Sources: OFB operational limits as Belvo and Pluggy repeat them (420 or 240 for balances: the lower counts, 4 for the
historic list and for lists of accounts, 240 for the current one); Pluggy's rate limits page (360 a minute and address).
Those of bills, limits and resources of OFB are not verified: `bills` and `resources` are read once a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kordant_jobs.domain.finance.states import ErrorClass, Provider
from kordant_jobs.domain.finance.values import ZONE, today_in

MONTHLY: Mapping[Provider, Mapping[str, int]] = {
    Provider.OFB: {
        "accounts": 4,
        "card-accounts": 4,
        "card-account": 4,
        "balances": 240,
        "transactions": 4,
        "transactions-current": 240,
        "card-transactions": 4,
        "card-transactions-current": 240,
        "card-limits": 240,
        "bills": 30,
    },
    Provider.BELVO: {"transactions": 4, "transactions-current": 240},
}
"""Calls a calendar month in Sao Paulo, of one endpoint and account. An endpoint that is not here has no such limit."""

USERS_SHARE = 0.1
"""Of each limit, for reads that their owner asks for."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Calls a second over all our processes, and how many may come at once."""

    per_s: float
    burst: int


RATES: Mapping[Provider, Rate] = {Provider.PLUGGY: Rate(per_s=5.5, burst=60)}
"""Providers that limit calls by address: 360 a minute, with a little air."""

CALLS_A_READ = 4
"""About how many limited calls a read costs: what a tick can do under a rate is planned by it."""

TARGET: Mapping[Provider, timedelta] = {
    Provider.PLUGGY: timedelta(hours=8),
    Provider.OFB: timedelta(hours=4),
    Provider.BELVO: timedelta(hours=24),
    Provider.FILE: timedelta(days=3650),
}
"""The age that a connection's data may reach: Pluggy refreshes by itself every 24, 12 or 8 hours; 240 calls a month are
one in three hours, of which a share is kept; Belvo's recurrent links refresh by themselves; files have no schedule."""

RETRIES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
STALE_AFTER = timedelta(hours=36)


def limit_of(provider: Provider, endpoint: str, *, user_is_present: bool) -> int | None:
    """Calls a month of one endpoint and subject; None: there is no such limit. A part is kept for a user's own.

    >>> limit_of(Provider.OFB, "balances", user_is_present=False)
    216
    """
    whole = MONTHLY.get(provider, {}).get(endpoint)
    if whole is None or user_is_present or whole < 10:
        return whole
    return int(whole * (1 - USERS_SHARE))


def next_due(provider: Provider, now: datetime, *, spread: float, remaining: int | None = None) -> datetime:
    """The moment at which a connection that was read to its end is due again. `spread` (0 to 1, the connection's own)
    keeps those that began together apart; `remaining` calls of the scarcest limit last until the month ends."""
    wait = TARGET[provider] * (0.95 + 0.1 * spread)
    if remaining is not None:
        today = today_in(now)
        following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
        left = datetime.combine(following, datetime.min.time(), ZONE) - now
        wait = max(wait, left / max(remaining, 1))
    return now + wait


def retry_at(
    error_class: ErrorClass, failures: int, now: datetime, *, spread: float, after_s: float | None
) -> datetime:
    """The moment at which a connection whose read failed is due again; `failures` in a row, this one included. Failures
    that need a person to act are not due by themselves (their status says so); this is when a permanent one is checked.
    """
    if error_class is ErrorClass.PERMANENT or error_class is ErrorClass.OURS:
        wait = timedelta(hours=6)
    elif error_class is ErrorClass.BUSY:
        wait = timedelta(minutes=5)
    else:
        wait = RETRIES[failures - 1] if failures <= len(RETRIES) else timedelta(hours=1)
    wait = max(wait * (1 + 0.2 * spread), timedelta(seconds=after_s or 0))
    return now + wait


def warning_due(expires_at: datetime, warned_days: int | None, now: datetime) -> int | None:
    """The days before its end of which a consent's owner is to be warned now: 30, 7, 1, once each; None: none.

    >>> from datetime import UTC
    >>> warning_due(datetime(2026, 3, 8, tzinfo=UTC), 30, datetime(2026, 3, 2, tzinfo=UTC))
    7
    """
    left = expires_at - now
    reached = [days for days in (1, 7, 30) if left <= timedelta(days=days)]
    if left <= timedelta(0) or not reached or (warned_days is not None and warned_days <= reached[0]):
        return None
    return reached[0]
