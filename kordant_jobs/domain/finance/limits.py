"""Limits on calls to a provider: monthly operational limits, rates, and the next due time of a connection. Pure.

Sources: OFB's operational limits as Belvo and Pluggy quote them (420 or 240 for balances: the lower is used; 4 for the
historic list and for lists of accounts, 240 for the current one); Pluggy's page on rate limits (360 a minute and
address). OFB's limits for bills, limits and resources were not verified: `bills` and `resources` are read once a day.
"""

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
"""Calls per calendar month in Sao Paulo, for one endpoint and account. An endpoint that is missing here has no such
limit."""

USERS_SHARE = 0.1
"""The share of each limit that is kept for reads requested by the owner."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Calls per second over all our processes, and the burst allowed."""

    per_s: float
    burst: int


RATES: Mapping[Provider, Rate] = {Provider.PLUGGY: Rate(per_s=5.5, burst=60)}
"""Rates of providers that limit calls by address: 360 a minute, with a small margin."""

CALLS_A_READ = 4
"""The approximate number of rate-limited calls of a read, for planning the reads of a tick."""

TARGET: Mapping[Provider, timedelta] = {
    Provider.PLUGGY: timedelta(hours=8),
    Provider.OFB: timedelta(hours=4),
    Provider.BELVO: timedelta(hours=24),
    Provider.FILE: timedelta(days=3650),
}
"""The highest age of a connection's data. Pluggy refreshes by itself every 24, 12 or 8 hours; OFB's 240 calls a month
allow one in three hours, of which a share is kept back; Belvo's recurrent links refresh by themselves; files have no
schedule."""

RETRIES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
STALE_AFTER = timedelta(hours=36)


def limit_of(provider: Provider, endpoint: str, *, user_is_present: bool) -> int | None:
    """Calls per month of one endpoint and subject; None: there is no limit. A share is kept for reads that a user
    requests.

    >>> limit_of(Provider.OFB, "balances", user_is_present=False)
    216
    """
    whole = MONTHLY.get(provider, {}).get(endpoint)
    if whole is None or user_is_present or whole < 10:
        return whole
    return int(whole * (1 - USERS_SHARE))


def next_due(provider: Provider, now: datetime, *, spread: float, remaining: int | None = None) -> datetime:
    """The next due time of a connection after a complete read. `spread` (0 to 1, fixed for each connection) separates
    connections that began together; the `remaining` calls of the scarcest limit are spread until the month ends."""
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
    """The next due time of a connection after a failed read; `failures` in a row, this one included. Failures that a
    person has to solve are not due by themselves (their status shows that); for a permanent one this is the time of its
    next check."""
    if error_class is ErrorClass.PERMANENT or error_class is ErrorClass.OURS:
        wait = timedelta(hours=6)
    elif error_class is ErrorClass.BUSY:
        wait = timedelta(minutes=5)
    else:
        wait = RETRIES[failures - 1] if failures <= len(RETRIES) else timedelta(hours=1)
    wait = max(wait * (1 + 0.2 * spread), timedelta(seconds=after_s or 0))
    return now + wait


def warning_due(expires_at: datetime, warned_days: int | None, now: datetime) -> int | None:
    """The number of days before its end at which a consent's owner must be warned now: 30, 7, 1, once each; None: no
    warning.

    >>> from datetime import UTC
    >>> warning_due(datetime(2026, 3, 8, tzinfo=UTC), 30, datetime(2026, 3, 2, tzinfo=UTC))
    7
    """
    left = expires_at - now
    reached = [days for days in (1, 7, 30) if left <= timedelta(days=days)]
    if left <= timedelta(0) or not reached or (warned_days is not None and warned_days <= reached[0]):
        return None
    return reached[0]
