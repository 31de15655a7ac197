"""What runs: a row a job. The README's table is made from it, and a test holds Dagster's jobs to it.

The queue reads from it how a job's requests are claimed, limited, coalesced and retried. `SCHEDULES` is the price list
as it is at first; from then on the table `scheduler_config` counts, which people edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.domain.payloads import DarkwatchScan, NotificationsSend, Payload, ReportsGenerate, SubscriptionChanged
from kordant_jobs.domain.people.tiers import Tier
from kordant_jobs.domain.schedules.cron import Fold
from kordant_jobs.domain.schedules.rows import Anchor, Cadence, CatchUp, Overlap, ScheduleRow
from kordant_jobs.engine.requests import Priority


class Backoff(StrEnum):
    """How the wait grows from one failed attempt to the next."""

    STEPS = "steps"
    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    FIXED = "fixed"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """After which failed attempt to wait how long; `engine.queue.retry_rules` turns it into delays.

    STEPS waits `steps_s` one after the other. The others begin with `first_s` and stop growing at `most_s`.
    `jitter` is the share by which a delay is moved up or down by chance, so that what failed together does not
    come back together.
    """

    backoff: Backoff = Backoff.STEPS
    retries: int = 3
    steps_s: tuple[float, ...] = (60.0, 300.0, 900.0)
    first_s: float = 60.0
    most_s: float = 3600.0
    jitter: float = 0.1


DEFAULT_RETRIES = RetryPolicy()
"""1, 5 and 15 minutes: the product's rule for every job that has no other."""


@dataclass(frozen=True, kw_only=True)
class PartyRate:
    """What an outside party bears, over all our processes: a bucket of `burst` tokens refilled at `per_s`."""

    per_s: float
    burst: int


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job: its name everywhere, the product's dotted name for it, and what starts it."""

    name: str
    alias: str
    purpose: str
    started_by: str
    partitioned_tiers: tuple[Tier, ...] = ()
    """For each of these a job `<name>_<tier>` whose partitions are days, weeks or months."""
    payload: type[Payload]
    """What a request of this job carries."""
    priority: Priority = Priority.NORMAL
    """Of a request that names none."""
    timeout_s: float
    """Wall time of one run, after which it is ended with the cause `timeout`."""
    cpu_s: float
    """CPU time of one run, over its whole process tree."""
    memory_mb: int
    """Memory of one run, over its whole process tree."""
    retries: RetryPolicy = DEFAULT_RETRIES
    concurrency: int
    """Runs at once."""
    key_concurrency: int | None = None
    """Requests at once that name the same entity; None: any number."""
    batch_size: int = 1
    """Requests that may become one run."""
    batch_wait_s: float = 0.0
    """How long the first request of a run waits for others when there are fewer than `batch_size`."""
    party: str | None = None
    """The outside party whose rate (`PARTIES`) each request takes a token of."""
    preload: tuple[str, ...] = ()
    """Modules that its runs import late, since not every process needs them, and that take long: the warm process
    imports them ahead, so that no run waits for it."""

    @property
    def dagster_jobs(self) -> tuple[str, ...]:
        """The names of its jobs in Dagster."""
        return (self.name, *(f"{self.name}_{tier}" for tier in self.partitioned_tiers))


CATALOG: tuple[JobRow, ...] = (
    JobRow(
        name="darkwatch_scan",
        alias="darkwatch.scan",
        purpose="watched identifiers against breach dumps: exposures, verdicts, alerts",
        started_by="its tier's schedule; a new dump, breach or watched identifier (premium at once); "
        "a new subscription; by hand; a day's partition of a tier",
        partitioned_tiers=tuple(Tier),
        payload=DarkwatchScan,
        timeout_s=3600,
        cpu_s=7200,
        memory_mb=4096,
        concurrency=2,
        key_concurrency=1,
        preload=(
            "kordant_jobs.adapters.kernels.blake2b",
            "kordant_jobs.adapters.kernels.lines",
            "kordant_jobs.adapters.kernels.runs",
        ),
    ),
    JobRow(
        name="notifications_send",
        alias="notifications.send",
        purpose="what waits in the outbox, as e-mail, push or text message: each alert once to each address",
        started_by="a notification that is due; every 15 minutes; by hand",
        payload=NotificationsSend,
        priority=Priority.HIGH,
        timeout_s=900,
        cpu_s=900,
        memory_mb=1024,
        concurrency=2,
        batch_size=10_000,
        batch_wait_s=0.05,
    ),
    JobRow(
        name="reports_generate",
        alias="reports.generate",
        purpose="a PDF a subscription and period: what was checked, found and advised",
        started_by="its tier's schedule; by hand, for all, some tiers or some subscriptions; "
        "a week's or month's partition of a tier",
        partitioned_tiers=(Tier.PLUS, Tier.PREMIUM),
        payload=ReportsGenerate,
        priority=Priority.LOW,
        timeout_s=7200,
        cpu_s=14_400,
        memory_mb=4096,
        concurrency=1,
    ),
    JobRow(
        name="subscription_changed",
        alias="subscription.changed",
        purpose="who is served when, after a subscription began, changed its tier, rests or ended",
        started_by="the event of that name; by hand",
        payload=SubscriptionChanged,
        priority=Priority.HIGH,
        timeout_s=300,
        cpu_s=300,
        memory_mb=1024,
        concurrency=1,
        batch_size=1_000,
    ),
)

BY_NAME = {row.name: row for row in CATALOG}

NIGHT = "*/15 2-5 * * *"
"""When tiers are served: sixteen ticks a night, over which a day's subscriptions are shared out."""

MONTHS_BACK_S = 63 * 86_400
"""How far back reports are made up for: two months of any length."""


def _tier(tier: Tier, job: str, cadence: Cadence, *, realtime: bool = False) -> ScheduleRow:
    return ScheduleRow(job=job, tier=tier, cadence=cadence, cron=NIGHT, realtime=realtime, enabled=job in BY_NAME)


def _report(tier: Tier, cadence: Cadence) -> ScheduleRow:
    """Of whole calendar weeks and months, so that a partition is the same report; none is left out."""
    return ScheduleRow(
        job="reports_generate",
        tier=tier,
        cadence=cadence,
        cron="*/30 6-8 * * *",
        anchor=Anchor.CALENDAR,
        catch_up=CatchUp.ALL,
        catch_up_window_s=MONTHS_BACK_S,
        overlap=Overlap.QUEUE_ALL,
        priority=Priority.LOW,
    )


def _whole(job: str, cron: str, time_zone: str = "UTC", *, fold: Fold = Fold.ONCE) -> ScheduleRow:
    return ScheduleRow(job=job, cron=cron, time_zone=time_zone, fold=fold, overlap=Overlap.SKIP, enabled=job in BY_NAME)


SCHEDULES: tuple[ScheduleRow, ...] = (
    _tier(Tier.BASIC, "darkwatch_scan", Cadence.MONTHLY),
    _tier(Tier.BASIC, "hometitle_scan", Cadence.MONTHLY),
    _tier(Tier.PLUS, "darkwatch_scan", Cadence.WEEKLY),
    _tier(Tier.PLUS, "hometitle_scan", Cadence.WEEKLY),
    _report(Tier.PLUS, Cadence.MONTHLY),
    _tier(Tier.PREMIUM, "darkwatch_scan", Cadence.DAILY, realtime=True),
    _tier(Tier.PREMIUM, "hometitle_scan", Cadence.DAILY, realtime=True),
    _report(Tier.PREMIUM, Cadence.WEEKLY),
    _whole("insights_refresh", "0 2 * * *", "America/Sao_Paulo"),
    _whole("bank_sync", "*/15 * * * *", fold=Fold.TWICE),
    _whole("cleanup", "0 3 * * 0", "America/Sao_Paulo"),
    _whole("notifications_send", "*/15 * * * *", fold=Fold.TWICE),
    _whole("voiceprint_batch", "*/30 * * * *", fold=Fold.TWICE),
    _whole("removebrokers_process", "15 * * * *", fold=Fold.TWICE),
)
"""The price list, and what runs by the clock for everybody. The last three rows are nets under sensors and events.
A row of a job that is not there yet is disabled, and refuses to be enabled until it is."""

PARTIES: Mapping[str, PartyRate] = {}
"""Outside parties that jobs share, by name, with the rate their terms allow."""


def rate_of_rpm(requests_per_minute: int, burst: int | None = None) -> PartyRate:
    """A bucket that never lets more through within any minute than a plan allows.

    >>> rate_of_rpm(100)
    PartyRate(per_s=1.5833333333333333, burst=5)
    """
    burst = burst or max(1, requests_per_minute // 20)
    return PartyRate(per_s=max(requests_per_minute - burst, 1) / 60, burst=burst)


SOURCE_RATES: Mapping[Source, tuple[PartyRate, ...]] = {
    Source.HIBP: (rate_of_rpm(10),),
    Source.XPOSEDORNOT: (
        PartyRate(per_s=1, burst=1),
        PartyRate(per_s=20 / 3600, burst=5),
        PartyRate(per_s=75 / 86_400, burst=25),
    ),
    Source.LEAKCHECK: (PartyRate(per_s=1, burst=1),),
}
"""How often outside sources may be asked, over all our processes: every bucket of a source must have a token.

HIBP's is its smallest plan's, until `/subscription/status` told the key's own. XposedOrNot allows 2 a second, 25 an
hour and 100 a day; LeakCheck's public API one a second (Pro has terms of its own)."""


def markdown_table() -> str:
    """The catalogue as the README shows it."""
    head = "| job | also called | what it does | started by |\n| --- | --- | --- | --- |\n"
    rows = []
    for row in CATALOG:
        names = ", ".join(f"`{name}`" for name in (row.name, *row.dagster_jobs[1:]))
        rows.append(f"| {names} | `{row.alias}` | {row.purpose} | {row.started_by} |")
    return head + "\n".join(rows) + "\n"
