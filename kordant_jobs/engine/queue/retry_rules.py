"""Decides what follows from the end of an attempt. Pure: no clock, no database; chance is an argument.

Every cause is retried by the same rule: an exception, a time-out, too much memory or CPU time, kill -9, a lost host.
What differs is only this:

    how it ended                        what becomes of the request
    success                             completed (partial, when items failed)
    permanent error, invalid payload    dead at once
    cancelled, by request or in the UI  cancelled
    returned (graceful stop, no start)  pending at once; the attempt does not count
    anything else                       pending after the delay below; dead after the last retry

The delay before retry 1, 2, 3 … with the defaults of each policy (before jitter):

    steps        60   300   900                                 then dead
    exponential  60   120   240   480   960  1920  3600  3600   first_s × 2^(n-1), at most most_s
    linear       60   120   180   240   300   360   420   480   first_s × n, at most most_s
    fixed        60    60    60    60    60    60    60    60   first_s

A source's own Retry-After takes the delay's place, at most a day. Jitter moves a policy's delay both ways and a
Retry-After only later, since sooner would be refused.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from kordant_jobs.engine.jobs import Backoff, RetryPolicy
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus

RETRY_AFTER_MOST_S = 86_400.0
"""The longest wait that a source may ask for; a longer one is shortened to it."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of an attempt, with the facts that the rule needs."""

    outcome: Outcome
    cause: Cause | None = None
    permanent: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Next:
    """The next state of the request, and its due time if it waits again."""

    status: RequestStatus
    run_at: datetime | None = None


def delay_s(policy: RetryPolicy, retry: int, *, retry_after_s: float | None = None, chance: float = 0.5) -> float:
    """Seconds before the `retry`-th retry (from 1). `chance` in [0, 1) is the random number for the jitter; 0.5 means
    none.

    >>> steady = RetryPolicy(jitter=0.0)
    >>> [delay_s(steady, retry) for retry in (1, 2, 3)]
    [60.0, 300.0, 900.0]
    >>> doubling = RetryPolicy(backoff=Backoff.EXPONENTIAL, retries=8, jitter=0.1)
    >>> [delay_s(doubling, retry) for retry in (1, 2, 7)]
    [60.0, 120.0, 3600.0]
    >>> delay_s(doubling, 1, chance=0.0)
    54.0
    >>> delay_s(steady, 1, retry_after_s=7.0)
    7.0
    """
    if retry_after_s is not None:
        return max(0.0, min(retry_after_s, RETRY_AFTER_MOST_S)) * (1 + policy.jitter * abs(2 * chance - 1))
    match policy.backoff:
        case Backoff.STEPS:
            base = policy.steps_s[min(retry, len(policy.steps_s)) - 1]
        case Backoff.EXPONENTIAL:
            base = min(policy.first_s * 2.0 ** min(retry - 1, 60), policy.most_s)
        case Backoff.LINEAR:
            base = min(policy.first_s * retry, policy.most_s)
        case Backoff.FIXED:
            base = policy.first_s
    return base * (1 + policy.jitter * (2 * chance - 1))


def next_state(ended: Ended, policy: RetryPolicy, *, attempt: int, now: datetime, chance: float = 0.5) -> Next:
    """The next state of a request after its `attempt`-th attempt (from 1, counting only those that count) ended like
    this."""
    match ended.outcome:
        case Outcome.SUCCESS | Outcome.PARTIAL:
            return Next(status=RequestStatus.COMPLETED)
        case Outcome.CANCELED:
            return Next(status=RequestStatus.CANCELLED)
        case Outcome.RETURNED:
            wait_s = ended.retry_after_s or 0.0
            return Next(status=RequestStatus.PENDING, run_at=now + timedelta(seconds=wait_s))
        case Outcome.FAILURE | Outcome.LOST:
            pass
    if ended.permanent or ended.cause is Cause.INVALID or attempt > policy.retries:
        return Next(status=RequestStatus.DEAD)
    wait_s = delay_s(policy, attempt, retry_after_s=ended.retry_after_s, chance=chance)
    return Next(status=RequestStatus.PENDING, run_at=now + timedelta(seconds=wait_s))
