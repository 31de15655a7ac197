"""What follows from an end: every cause under every policy, by the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.engine.jobs import Backoff, RetryPolicy
from kordant_jobs.engine.queue.retry_rules import Ended, delay_s, next_state
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.lab.engine import FakeClock

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

WAITS = {
    Backoff.STEPS: [60, 300, 900],
    Backoff.EXPONENTIAL: [60, 120, 240],
    Backoff.LINEAR: [60, 120, 180],
    Backoff.FIXED: [60, 60, 60],
}

RETRIED = [Cause.EXCEPTION, Cause.TIMEOUT, Cause.MEMORY, Cause.CPU, Cause.KILLED, Cause.LOST]


@pytest.mark.parametrize("cause", RETRIED)
@pytest.mark.parametrize("backoff", list(Backoff))
def test_every_cause_waits_as_the_policy_says_and_then_dies(cause: Cause, backoff: Backoff) -> None:
    clock = FakeClock(NOW)
    policy = RetryPolicy(backoff=backoff, jitter=0.0)
    ended = Ended(outcome=Outcome.LOST if cause is Cause.LOST else Outcome.FAILURE, cause=cause)
    for attempt, wait_s in enumerate(WAITS[backoff], start=1):
        then = next_state(ended, policy, attempt=attempt, now=clock.now())
        assert then.status is RequestStatus.PENDING
        assert then.run_at == clock.now() + timedelta(seconds=wait_s)
        clock.advance(wait_s)
    assert next_state(ended, policy, attempt=4, now=clock.now()).status is RequestStatus.DEAD


@pytest.mark.parametrize("backoff", list(Backoff))
@pytest.mark.parametrize("cause", [*RETRIED, Cause.INVALID])
def test_a_permanent_error_is_dead_at_once_under_every_policy(cause: Cause, backoff: Backoff) -> None:
    ended = Ended(outcome=Outcome.FAILURE, cause=cause, permanent=True)
    assert next_state(ended, RetryPolicy(backoff=backoff), attempt=1, now=NOW).status is RequestStatus.DEAD


@pytest.mark.parametrize("backoff", list(Backoff))
def test_retry_after_takes_the_place_of_the_policys_delay(backoff: Backoff) -> None:
    ended = Ended(outcome=Outcome.FAILURE, cause=Cause.EXCEPTION, retry_after_s=7)
    policy = RetryPolicy(backoff=backoff, jitter=0.0)
    assert next_state(ended, policy, attempt=1, now=NOW).run_at == NOW + timedelta(seconds=7)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.SUCCESS, RequestStatus.COMPLETED),
        (Outcome.PARTIAL, RequestStatus.COMPLETED),
        (Outcome.CANCELED, RequestStatus.CANCELLED),
        (Outcome.RETURNED, RequestStatus.PENDING),
    ],
)
def test_other_outcomes_do_not_ask_the_policy(outcome: Outcome, status: RequestStatus) -> None:
    assert next_state(Ended(outcome=outcome), RetryPolicy(retries=0), attempt=9, now=NOW).status is status


@given(
    policy=st.builds(
        RetryPolicy,
        backoff=st.sampled_from(Backoff),
        retries=st.integers(0, 50),
        first_s=st.floats(0.1, 600),
        jitter=st.floats(0, 0.5),
    ),
    retry=st.integers(1, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
    retry_after_s=st.none() | st.floats(0, 1e9),
)
def test_a_delay_is_bounded_and_a_retry_after_is_never_cut_short(
    policy: RetryPolicy, retry: int, chance: float, retry_after_s: float | None
) -> None:
    wait_s = delay_s(policy, retry, retry_after_s=retry_after_s, chance=chance)
    if retry_after_s is None:
        assert 0 < wait_s <= max(policy.most_s, *policy.steps_s) * (1 + policy.jitter) + 1e-6
    else:
        assert min(retry_after_s, 86_400) <= wait_s <= 86_400 * (1 + policy.jitter)
