"""A job as the engine knows it: its names, its payload's type, its limits and retries."""

from dataclasses import dataclass
from enum import StrEnum

from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.runs import HIDDEN


class Backoff(StrEnum):
    """The growth of the wait between failed attempts."""

    STEPS = "steps"
    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    FIXED = "fixed"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """The waits after failed attempts; `engine.queue.retry_rules` turns them into delays.

    STEPS waits `steps_s` one after the other. The others start with `first_s` and grow up to `most_s`. `jitter` is the
    share by which each delay is changed at random, so that requests that failed together do not return together.
    """

    backoff: Backoff = Backoff.STEPS
    retries: int = 3
    steps_s: tuple[float, ...] = (60.0, 300.0, 900.0)
    first_s: float = 60.0
    most_s: float = 3600.0
    jitter: float = 0.1


DEFAULT_RETRIES = RetryPolicy()
"""1, 5 and 15 minutes: the product's rule for every job without its own."""


@dataclass(frozen=True, kw_only=True)
class PartyRate:
    """The rate limit of an outside party over all our processes: a token bucket of `burst` tokens, refilled at
    `per_s`."""

    per_s: float
    burst: int


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job: its name everywhere, the product's dotted name for it, and what starts it."""

    name: str
    alias: str
    purpose: str
    started_by: str
    partitions: tuple[str, ...] = ()
    """For each of these there is a Dagster job `<name>_<partitions>`, whose partitions are days, weeks or months."""
    payload: type[Payload]
    """The type of the payload that a request of this job carries."""
    priority: Priority = Priority.NORMAL
    """The priority of a request that names none."""
    timeout_s: float
    """The wall time of one run in seconds, after which it is ended with the cause `timeout`."""
    cpu_s: float
    """The CPU time of one run in seconds, over its whole process tree."""
    memory_mb: int
    """The memory of one run in MB, over its whole process tree."""
    retries: RetryPolicy = DEFAULT_RETRIES
    concurrency: int
    """The most runs at once."""
    critical_extra: int = 0
    """Additional runs for critical requests only, so that long runs never block them."""
    key_concurrency: int | None = None
    """The most requests at once that name the same entity; None: any number."""
    batch_size: int = 1
    """The most requests that one run may serve."""
    batch_wait_s: float = 0.0
    """Seconds that the first request of a run waits for others while there are fewer than `batch_size`."""
    sla_s: float | None = None
    """Seconds after its due time by which a request should have ended; operators are alerted when it takes longer.
    None: no promise."""
    party: str | None = None
    """The outside party of whose rate (`PARTIES`) each request takes a token."""
    preload: tuple[str, ...] = ()
    """Slow modules that its runs import late, since not every process needs them. The warm process imports them ahead,
    so that no run waits for them."""

    def __post_init__(self) -> None:
        if self.batch_size > 1 and (unsaid := set(self.payload.model_fields) - set(self.payload.merging)):
            raise ValueError(f"{self.name}: {self.payload.__name__}.merging needs a rule for {min(unsaid)}.")
        if self.batch_size > 1 and self.partitions:
            raise ValueError(f"{self.name}: runs of partitions cannot share a run: batch_size must be 1.")

    @property
    def dagster_jobs(self) -> tuple[str, ...]:
        """The names of its jobs in Dagster."""
        return (self.name, *(f"{self.name}_{one}" for one in self.partitions))


def rate_of_rpm(requests_per_minute: int, burst: int | None = None) -> PartyRate:
    """A bucket that lets through no more calls in any minute than a plan allows.

    >>> rate_of_rpm(100)
    PartyRate(per_s=1.5833333333333333, burst=5)
    """
    burst = burst or max(1, requests_per_minute // 20)
    return PartyRate(per_s=max(requests_per_minute - burst, 1) / 60, burst=burst)


def limit_tags(row: JobRow) -> dict[str, str]:
    """The tags that limit a run of this job, over its whole process tree."""
    return {
        f"{HIDDEN}limit_wall_s": f"{row.timeout_s:g}",
        f"{HIDDEN}limit_cpu_s": f"{row.cpu_s:g}",
        f"{HIDDEN}limit_memory_mb": str(row.memory_mb),
    }
