"""What runs: a row a job. The README's table is made from it, and a test holds Dagster's jobs to it.

The queue reads from it how a job's requests are claimed, limited, coalesced and retried. `SCHEDULES` is the price list
as it is at first; from then on the table `scheduler_config` counts, which people edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from kordant_jobs import engine
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.domain.payloads import DarkwatchScan, NotificationsSend, ReportsGenerate, SubscriptionChanged
from kordant_jobs.domain.people.tiers import Tier
from kordant_jobs.domain.schedules.cron import Fold
from kordant_jobs.domain.schedules.rows import Anchor, Cadence, CatchUp, Overlap, ScheduleRow
from kordant_jobs.engine import JobRow, PartyRate, Priority, rate_of_rpm

CATALOG: tuple[JobRow, ...] = (
    JobRow(
        name="darkwatch_scan",
        alias="darkwatch.scan",
        purpose="watched identifiers against breach dumps: exposures, verdicts, alerts",
        started_by="its tier's schedule; a new dump, breach or watched identifier (premium at once); "
        "a new subscription; by hand; a day's partition of a tier",
        partitions=tuple(Tier),
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
        partitions=(Tier.PLUS, Tier.PREMIUM),
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

enqueue = partial(engine.enqueue, catalog=BY_NAME)
"""Queue a request of one of these jobs, in the caller's transaction."""
enqueue_named = partial(engine.enqueue_named, catalog=BY_NAME)
"""As `enqueue`, by the job's name or alias and with plain JSON."""
enqueue_many = partial(engine.enqueue_many, catalog=BY_NAME)
"""As `enqueue`, for many requests of one job."""
job_row = partial(engine.job_row, catalog=BY_NAME)
"""The row of a job by its name or alias."""

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
