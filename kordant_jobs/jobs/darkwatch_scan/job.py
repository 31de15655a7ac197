"""darkwatch_scan in Dagster: plan → match in chunks, ask sources → record → summarise.

The plain job serves requests and sensors. There is one job for each tier with days as partitions: what became known on
that day (UTC).
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from uuid import UUID

import dagster as dg
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.engine.job_shapes import Partitions, Report, Summary, sharded_job
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan import sources as outside
from kordant_jobs.jobs.darkwatch_scan.asked import Asked, ask_later
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox
from kordant_jobs.jobs.darkwatch_scan.left import scan_again
from kordant_jobs.jobs.darkwatch_scan.service import ChunkResult, Recorded, ScanPlan
from kordant_jobs.ports import BreachCatalogue
from kordant_jobs.settings import Settings
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")


COVERED = "what became known on a day; the nightly scans cover it too, without a mark here"


def day_of(tier: Tier, day: dg.TimeWindow) -> DarkwatchScan:
    """The scan of one tier for what became known on one day."""
    return DarkwatchScan(tiers=(tier,), known_from=day.start, known_until=day.end)


def plan(
    payload: DarkwatchScan,
    report: Report,
    db: Engine,
    keyring: Keyring,
    drop_box: DropBox,
    catalogue: BreachCatalogue | None,
    settings: Settings,
) -> ScanPlan:
    """Register dropped files, refresh the breach catalogue, and distribute the relevant dumps over chunks."""
    scope = Scope(tiers=payload.tiers, subscription_ids=payload.subscription_ids)
    since, until = payload.known_from, payload.known_until
    made = service.plan_scan(
        scope,
        since=since,
        until=until,
        db=db,
        keyring=keyring,
        box=drop_box,
        catalogue=catalogue,
        read_dumps=payload.read_dumps,
        wait=not settings.has_queue,
    )
    if made.catalogue_problem:
        report.warn(made.catalogue_problem)
    report.show(made.figures())
    return made


def match(
    plan: ScanPlan,
    chunk: tuple[UUID, ...],
    report: Report,
    db: Engine,
    keyring: Keyring,
    drop_box: DropBox,
    corpus: Corpus,
) -> ChunkResult:
    """Ingest the chunk's new dumps, match the watched items against all of them, write exposures."""
    result = service.match_chunk(
        plan, chunk, db=db, keyring=keyring, box=drop_box, corpus=corpus, progress=report.progress
    )
    for dump_id in result.quarantined:
        report.warn(f"dump {dump_id} cannot be read and is quarantined: `kordant-jobs dumps list` says why.")
    report.show({**asdict(result), "quarantined": len(result.quarantined), "left": len(result.left)})
    return result


def ask_sources(
    plan: ScanPlan, report: Report, db: Engine, keyring: Keyring, sources: Sources, settings: Settings
) -> list[Asked]:
    """Ask outside sources about subscriptions without an answer, for a limited time. A scan of a past day asks none,
    since their answers are of today."""
    for text in outside.report_unconfigured(sources, db=db):
        report.info(text)
    if plan.window.since is not None:
        return []
    asked = outside.ask_sources(plan.scope, sources, db=db, keyring=keyring, budget_s=settings.sources_budget_s)
    for one in asked:
        if one.why is not None:
            report.warn(f"{one.source}: {one.unknown} questions without an answer ({one.why}).")
        report.show({f"{one.source} {name}": getattr(one, name) for name in ("asked", "exposed", "unknown", "left")})
    return asked


def record(
    plan: ScanPlan,
    results: list[ChunkResult],
    ask_sources: list[Asked],
    report: Report,
    db: Engine,
    sources: Sources,
    settings: Settings,
) -> Recorded:
    """Judge the exposures and write alerts with their notifications, verdicts and watermarks, in one transaction."""
    left = [*plan.left, *service.total(results).left]
    recorded = service.record(plan, db=db, sources=sources, left=left)
    if left and scan_again(plan, left, db=db):
        report.info(f"{len(left)} new dumps are left to other scans; these subscriptions are scanned again after that.")
    if settings.has_queue:  # the stock one serves no queue: there the next scan asks
        ask_later(ask_sources, db=db)
    return recorded


def summarise(plan: ScanPlan, results: list[ChunkResult], record: Recorded) -> Summary:
    """The scan in figures."""
    whole = service.total(results)
    quarantined = len(whole.quarantined)
    left = len(plan.left) + len(whole.left)
    figures = {**asdict(whole), **asdict(record), "items": plan.items, "quarantined": quarantined, "left": left}
    return Summary(figures, items_failed=quarantined)


JOBS = sharded_job(
    BY_NAME[service.JOB],
    service="darkwatch",
    plan=plan,
    work=match,
    beside=[ask_sources],
    record=record,
    finish=summarise,
    partitions={
        tier: Partitions(
            DAYS,
            partial(day_of, Tier(tier)),
            COVERED,
            {"kordant/tier": tier},
        )
        for tier in BY_NAME[service.JOB].partitions
    },
)
