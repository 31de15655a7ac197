"""reports_generate in Dagster: plan → make in chunks → summarise.

The plain job serves schedules and requests. There is one job for each tier with partitions, the weeks or months that a
report of that tier covers, so a backfill makes the same reports as the schedule.
"""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from uuid import UUID

import dagster as dg
from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME, SCHEDULES
from kordant_jobs.catalog.reports_generate import ReportsGenerate
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.schedules.rows import Cadence
from kordant_jobs.engine.job_shapes import Partitions, Report, Summary, sharded_job
from kordant_jobs.jobs.reports_generate import service
from kordant_jobs.jobs.reports_generate.rules import Period, ReportKind
from kordant_jobs.jobs.reports_generate.service import JOB, ReportPlan, ReportScope, ReportSummary
from kordant_jobs.ports import ReportStorage
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports import retention as report_retention

SINCE = "2026-01-01"
WINDOWS = {
    Cadence.WEEKLY: dg.WeeklyPartitionsDefinition(start_date=SINCE, day_offset=1),
    Cadence.MONTHLY: dg.MonthlyPartitionsDefinition(start_date=SINCE),
}


def period_of(tier: Tier, kind: ReportKind, window: dg.TimeWindow) -> ReportsGenerate:
    """The reports of one tier for one week or month."""
    start, end = window.start.date(), window.end.date()
    return ReportsGenerate(kind=kind.value, tiers=(tier,), period_start_on=start, period_end_on=end)


def partitions_of(tier: Tier) -> Partitions:
    """The weeks (from Monday) or months that the reports of a tier cover, as its schedule defines."""
    (cadence,) = [row.cadence for row in SCHEDULES if (row.job, row.tier) == (JOB, tier)]
    words, payload = f"the reports of a {cadence.removesuffix('ly')}", partial(period_of, tier, ReportKind(cadence))
    return Partitions(WINDOWS[cadence], payload, words, {"kordant/tier": tier.value})


def plan(payload: ReportsGenerate, report: Report, db: Engine) -> ReportPlan:
    """Choose the subscriptions and distribute them over chunks."""
    start_on, end_on = payload.period
    period = Period(kind=ReportKind(payload.kind), start_on=start_on, end_on=end_on)
    scope = ReportScope(
        tiers=payload.tiers, subscription_ids=payload.subscription_ids, only_affected=payload.only_affected
    )
    made = service.plan(scope, period, force=payload.force, db=db)
    report.show({"subscriptions": made.total, "chunks": len(made.chunks)})
    return made


def make(
    plan: ReportPlan,
    chunk: tuple[UUID, ...],
    report: Report,
    now: datetime,
    db: Engine,
    keyring: Keyring,
    report_storage: ReportStorage,
) -> ReportSummary:
    """Make the reports of one chunk."""
    made = service.generate(
        chunk,
        plan.period,
        db=db,
        keyring=keyring,
        storage=report_storage,
        progress=report.progress,
        force=plan.force,
        today=now.date(),
    )
    if made.failed:
        report.warn(f"{made.failed} reports could not be made and are left out.")
    report.show(asdict(made))
    return made


def summarise(
    results: list[ReportSummary], report: Report, now: datetime, db: Engine, report_storage: ReportStorage
) -> Summary:
    """The run in figures, after deleting reports whose term is over."""
    whole = sum(results, ReportSummary())
    expired = report_retention.expire(db, report_storage, now=now)
    if expired.kept:
        report.warn(f"{expired.kept} old contents could not be deleted; the next run tries again.")
    report.show({"reports_expired": expired.reports, "contents_deleted": expired.contents})
    return Summary(asdict(whole), items_failed=whole.failed)


JOBS = sharded_job(
    BY_NAME[JOB],
    service="reports",
    plan=plan,
    work=make,
    finish=summarise,
    partitions={tier: partitions_of(Tier(tier)) for tier in BY_NAME[JOB].partitions},
)
