"""cleanup in Dagster: plan (count, guards) → clean in chunks of kinds → summarise (report, audit log)."""

from sqlalchemy import Engine

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.cleanup import Cleanup
from kordant_jobs.engine.job_shapes import Report, Summary, sharded_job
from kordant_jobs.jobs.cleanup import service
from kordant_jobs.jobs.cleanup.elsewhere import Means
from kordant_jobs.jobs.cleanup.service import JOB, Cleaned, CleanupPlan
from kordant_jobs.ports import ReportStorage
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring


def means_of(
    settings: Settings, db: Engine, keyring: Keyring, banks: Banks, report_storage: ReportStorage, corpus: Corpus
) -> Means:
    """Open the resources of a clean-up, configured by the settings."""
    return Means(
        db=db,
        keyring=keyring,
        banks=banks,
        report_storage=report_storage,
        corpus=corpus,
        maildir=settings.mails,
        run_files=settings.state_dir / "dagster" / "storage",
    )


def plan(
    payload: Cleanup,
    report: Report,
    db: Engine,
    keyring: Keyring,
    banks: Banks,
    report_storage: ReportStorage,
    corpus: Corpus,
    settings: Settings,
) -> CleanupPlan:
    """Count the rows that every kind would lose; a kind with implausible figures waits until an operator has checked
    it."""
    made = service.plan(
        means_of(settings, db, keyring, banks, report_storage, corpus),
        kinds=payload.kinds,
        plan_id=payload.plan_id,
        dry_run=payload.dry_run,
    )
    for kind, why in made.stopped:
        report.warn(f"{kind} was left alone: {why}. Check `kordant-jobs cleanup plan`, then `cleanup run --plan ID`.")
    for table in made.unruled:
        report.warn(f"{table} has no retention policy: its rows are kept.")
    kinds = sum(map(len, made.chunks))
    report.show({"kinds": kinds, "rows": made.total, "stopped": len(made.stopped)})
    return made


def clean(
    plan: CleanupPlan,
    chunk: tuple[str, ...],
    report: Report,
    db: Engine,
    keyring: Keyring,
    banks: Banks,
    report_storage: ReportStorage,
    corpus: Corpus,
    settings: Settings,
) -> list[Cleaned]:
    """Delete some kinds in short batches."""
    means = means_of(settings, db, keyring, banks, report_storage, corpus)
    cleaned = [service.clean(plan, kind, means=means, progress=report.progress.advance) for kind in chunk]
    for one in cleaned:
        if one.failed:
            report.warn(f"{one.kind}: {one.failed}")
    report.show({one.kind: one.deleted for one in cleaned})
    return cleaned


def summarise(plan: CleanupPlan, results: list[list[Cleaned]], db: Engine, keyring: Keyring) -> Summary:
    """The run in figures. The report is kept."""
    cleaned = [one for chunk in results for one in chunk]
    service.finish(plan, db=db, keyring=keyring)
    failed = sum(1 for one in cleaned if one.failed) + len(plan.stopped)
    figures = {"deleted": sum(one.deleted for one in cleaned), "left": sum(one.left for one in cleaned)}
    return Summary({**figures, "kinds": len(cleaned), "stopped": len(plan.stopped)}, items_failed=failed)


JOBS = sharded_job(BY_NAME[JOB], service="cleanup", plan=plan, work=clean, finish=summarise)
"""The Dagster job of the weekly clean-up."""
