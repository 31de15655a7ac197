"""hometitle_scan in Dagster: plan (read the counties) → compare in chunks → record → summarise.

The plain job serves requests and sensors. There is one job for each tier with days as partitions: what became known on
that day (UTC).
"""

from dataclasses import asdict
from functools import partial
from uuid import UUID

import dagster as dg
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.hometitle_scan import HometitleScan
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.engine.job_shapes import Partitions, Report, Summary, sharded_job
from kordant_jobs.jobs.hometitle_scan import service
from kordant_jobs.jobs.hometitle_scan.service import Compared, Recorded, TitlePlan
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")
COVERED = "what became known on a day; the nightly scans cover it too, without a mark here"


def day_of(tier: Tier, day: dg.TimeWindow) -> HometitleScan:
    """The scan of one tier for what became known on one day."""
    return HometitleScan(tiers=(tier,), known_from=day.start, known_until=day.end)


def plan(payload: HometitleScan, report: Report, db: Engine, keyring: Keyring, counties: Counties) -> TitlePlan:
    """Read new records of the watched counties, and distribute the watches that may have something new."""
    scope = Scope(tiers=payload.tiers, subscription_ids=payload.subscription_ids)
    for problem in counties.problems:
        report.warn(problem)
    window = service.Window(since=payload.known_from, until=payload.known_until)
    made = service.plan_scan(scope, window, db=db, keyring=keyring, counties=counties, progress=report.progress)
    for county, why in made.failed:
        report.warn(f"{county} could not be read: {why}")
    report.show(
        {
            "counties": len(made.counties),
            "new or changed documents": made.new_documents,
            "requests": made.requests,
            "watches to compare": made.total,
        }
    )
    return made


def compare(
    plan: TitlePlan,
    chunk: tuple[str, tuple[UUID, ...]],
    report: Report,
    db: Engine,
    keyring: Keyring,
    counties: Counties,
) -> Compared:
    """Read the histories of the chunk's parcels, write findings."""
    result = service.compare(chunk, db=db, keyring=keyring, counties=counties, progress=report.progress)
    report.show(asdict(result))
    return result


def record(plan: TitlePlan, report: Report, db: Engine, counties: Counties) -> Recorded:
    """Write alerts with their notifications, verdicts and watermarks, in one transaction."""
    recorded = service.record(plan, db=db, counties=counties)
    for county in recorded.stale:
        report.warn(
            f"{county} has no new records within its latency: verdicts over it are unknown. Is its feed paused?"
        )
    return recorded


def summarise(plan: TitlePlan, results: list[Compared], record: Recorded) -> Summary:
    """The scan in figures."""
    figures = {
        "counties": len(plan.counties),
        "counties_failed": len(plan.failed),
        "documents": plan.new_documents,
        "watches": sum(one.watches for one in results),
        "new_findings": sum(one.new_findings for one in results),
        "clean": record.clean,
        "found": record.found,
        "unknown": record.unknown,
        "new_alerts": record.new_alerts,
    }
    return Summary(figures, items_failed=len(plan.failed))


JOBS = sharded_job(
    BY_NAME[service.JOB],
    service="hometitle",
    plan=plan,
    work=compare,
    record=record,
    finish=summarise,
    partitions={
        tier: Partitions(DAYS, partial(day_of, Tier(tier)), COVERED, {"kordant/tier": tier})
        for tier in BY_NAME[service.JOB].partitions
    },
)
