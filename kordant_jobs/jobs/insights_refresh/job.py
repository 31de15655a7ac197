"""insights_refresh in Dagster: plan (which are stale) → refresh in chunks of entities → summarise."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.insights_refresh import InsightsRefresh
from kordant_jobs.engine.job_shapes import Report, Summary, sharded_job
from kordant_jobs.jobs.insights_refresh import service
from kordant_jobs.jobs.insights_refresh.service import JOB, Refreshed, RefreshPlan


def plan(payload: InsightsRefresh, report: Report, db: Engine, now: datetime) -> RefreshPlan:
    """Distribute the entities whose data, or day, has changed since their refresh."""
    made = service.plan(named=payload.entity_ids, force=payload.force, db=db, now=now)
    if made.uncorrected:
        report.warn(f"past forecasts could not be judged ({made.uncorrected}): intervals stay as they were.")
    report.show({"entities": made.total})
    return made


def refresh(plan: RefreshPlan, chunk: tuple[UUID, UUID], report: Report, db: Engine) -> Refreshed:
    """Assess the chunk's entities together, and write the changes."""
    done = service.refresh(plan, chunk, db=db, progress=report.progress.advance)
    for one in done.failed:
        report.warn(f"entity {one.entity_id} could not be refreshed ({one.error}). It stays stale.")
    report.show(_figures(done))
    return done


def summarise(results: list[Refreshed]) -> Summary:
    """The refresh in figures."""
    whole = sum(results, Refreshed())
    return Summary({**_figures(whole), "announced": whole.announced}, items_failed=len(whole.failed))


def _figures(done: Refreshed) -> dict[str, int]:
    return {"entities": done.entities, "new": done.new, "changed": done.changed, "resolved": done.resolved}


JOBS = sharded_job(BY_NAME[JOB], service="insights", plan=plan, work=refresh, finish=summarise)
"""The Dagster job of the nightly refresh, and of the one after a sync."""
