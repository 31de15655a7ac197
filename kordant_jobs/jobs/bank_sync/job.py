"""bank_sync in Dagster: plan (which are due) → read in chunks of connections → summarise."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.bank_sync import BankSync
from kordant_jobs.engine.job_shapes import Report, Summary, sharded_job
from kordant_jobs.jobs.bank_sync import files, service
from kordant_jobs.jobs.bank_sync.service import JOB, ChunkSync, Limits, SyncPlan
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring


def plan(
    payload: BankSync, report: Report, db: Engine, keyring: Keyring, settings: Settings, now: datetime
) -> SyncPlan:
    """Read the dropped files of banks, then decide for every connection: due, or deferred for a reason."""
    taken = files.take_files(settings.bank_drop, db=db, keyring=keyring, now=now)
    for name, why in taken.refused:
        report.warn(f"{name} was not read and is kept as *.refused: {why}")
    for name, why in taken.waiting:
        report.warn(f"{name} waits for the next run: {why}")
    made = service.plan_sync(
        named=payload.connection_ids,
        also_due=payload.also_due,
        user_is_present=payload.user_is_present,
        db=db,
        now=now,
    )
    report.show(
        {
            "files": taken.files,
            "rows of files": taken.rows,
            "active": made.active,
            "due": made.total,
            "owners warned": made.warned,
            **dict(made.deferred),
        }
    )
    return made


def read(
    plan: SyncPlan,
    chunk: tuple[UUID, ...],
    report: Report,
    db: Engine,
    keyring: Keyring,
    banks: Banks,
    settings: Settings,
) -> ChunkSync:
    """Read a chunk's connections concurrently."""
    done = service.read_chunk(
        plan,
        chunk,
        db=db,
        keyring=keyring,
        banks=banks.on,
        limits=Limits(at_once=settings.banks_at_once, each_at_once=settings.bank_each_at_once),
        advance=report.progress.advance,
    )
    report.show({**done.outcomes, **{f"deferred: {name}": number for name, number in done.deferred.items()}})
    return done


def summarise(plan: SyncPlan, results: list[ChunkSync], db: Engine, now: datetime) -> Summary:
    """The counts {successful, failed, total}, and the number of changes."""
    figures = service.finish(plan, results, db=db, now=now)
    return Summary(figures, items_failed=figures["failed"])


JOBS = sharded_job(BY_NAME[JOB], service="finance", plan=plan, work=read, finish=summarise)
"""The Dagster job of the tick that plans and reads the due connections."""
