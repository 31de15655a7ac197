"""Guards of a clean-up: when it stops instead of deleting, and how far a plan may differ from the rows found. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from kordant_jobs.domain.retention.policies import Action, Policy

PERIOD_DAYS = 7
"""The days between two scheduled clean-ups."""
SHARE = 0.05
"""The share of a table that an unattended run may delete, unless the kind's term itself requires more."""
TIMES_MEDIAN = 3
PAST_RUNS, PAST_MIN = 8, 3
SMALL = 1_000
SMALL_SHREDS = 100
"""The number of rows, or keys, that may be deleted whatever their share: a share of a small table says little."""
PLAN_LASTS = timedelta(days=1)
DRIFT = 0.1
"""A plan is stale when a kind's rows differ from it by more than this share (and by more than `DRIFT_ROWS`)."""
DRIFT_ROWS = 100
CLOCK_APART = timedelta(hours=1)
GAP = timedelta(days=35)
"""After this time without a clean-up (five missed) either none ran or the clock is ahead; a person has to decide
which."""


def share_allowed(keep_days: int) -> float:
    """The share of a kind's rows that one weekly run may delete unattended.

    A kind that is kept for `keep_days` holds about `keep_days + 7` days of rows when a run comes, of which the run
    takes seven; three times that is allowed, and never less than `SHARE`.

    >>> share_allowed(1825)
    0.05
    >>> round(share_allowed(30), 2)
    0.57
    """
    return max(SHARE, min(1.0, 3 * PERIOD_DAYS / (keep_days + PERIOD_DAYS)))


def why_stopped(policy: Policy, *, rows: int, total: int, past: Sequence[int]) -> str | None:
    """The reason why an unattended run skips a kind; None: it does not. `past` are the rows that the last runs deleted,
    the newest first."""
    if rows <= (SMALL_SHREDS if policy.action is Action.SHRED_KEY else SMALL):
        return None
    usual = list(past[:PAST_RUNS])
    if len(usual) >= PAST_MIN and rows > TIMES_MEDIAN * max(median(usual), SMALL):
        return f"{rows:,} rows are more than {TIMES_MEDIAN} times the median of the last {len(usual)} runs"
    most = share_allowed(policy.term_days)
    if total and rows / total > most:
        return f"{rows:,} rows are {rows / total:.0%} of the table; {most:.0%} at most are expected"
    return None


def why_stale(planned_at: datetime, now: datetime, planned: int, found: int) -> str | None:
    """The reason why a plan can no longer be executed for a kind; None: it can."""
    if now - planned_at > PLAN_LASTS:
        return "the plan is older than a day"
    apart = abs(found - planned)
    if apart > DRIFT_ROWS and apart > DRIFT * max(planned, 1):
        return f"{planned:,} rows were planned and {found:,} are found"
    return None


def clock_fault(now: datetime, *, local: datetime, last: datetime | None, is_attended: bool = False) -> str | None:
    """The fault of the clock that a run would use; None: there is no fault. A wrong clock would delete everything.
    `is_attended`: a person checks the figures and their dates before anything is deleted."""
    if abs(now - local) > CLOCK_APART:
        return f"the database's clock says {now:%Y-%m-%d %H:%M} and this machine's {local:%Y-%m-%d %H:%M} (UTC)"
    if last is not None and now < last:
        return f"the last clean-up ran at {last:%Y-%m-%d %H:%M}, which is later than now ({now:%Y-%m-%d %H:%M})"
    if last is not None and now - last > GAP and not is_attended:
        return (
            f"the clocks say {now:%Y-%m-%d %H:%M}, {(now - last).days:,} days after the last clean-up: if they are "
            "right, check `kordant-jobs cleanup plan` and carry it out with `cleanup run --plan ID`. If they are not"
        )
    return None
