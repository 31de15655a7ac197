"""removebrokers_process in Dagster: plan (replies, then brokers with work) → carry in chunks of brokers → summarise."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.removebrokers_process import RemovebrokersProcess
from kordant_jobs.engine.job_shapes import Report, Summary, sharded_job
from kordant_jobs.jobs.removebrokers_process import service
from kordant_jobs.jobs.removebrokers_process.intake import MailboxSummary
from kordant_jobs.jobs.removebrokers_process.outside import Outside
from kordant_jobs.jobs.removebrokers_process.service import JOB, Carried, RemovalPlan
from kordant_jobs.store.people.keyring import Keyring


def _counts(found: Carried | MailboxSummary) -> dict[str, int]:
    return {name: value for name, value in asdict(found).items() if isinstance(value, int)}


def plan(payload: RemovebrokersProcess, report: Report, db: Engine, keyring: Keyring, brokers: Outside) -> RemovalPlan:
    """Process the replies of brokers, and divide the brokers with due requests into chunks."""
    outside = brokers if payload.read_replies else replace(brokers, inbox=None)
    made = service.plan(db=db, keyring=keyring, outside=outside, now=lambda: datetime.now(UTC))
    if made.mailbox.problem:
        report.warn(made.mailbox.problem)
    if made.mailbox.for_a_person:
        report.warn(f"{made.mailbox.for_a_person} replies need a person: `kordant-jobs removals replies`.")
    if made.mailbox.unmatched:
        report.warn(f"{made.mailbox.unmatched} mails belong to no request and were put aside in the mailbox.")
    if made.mailbox.failed:
        report.warn(f"{made.mailbox.failed} mails could not be processed and were put aside in the mailbox.")
    report.show({**_counts(made.mailbox), "due": made.total, "chunks": len(made.chunks)})
    return made


def carry(
    chunk: tuple[UUID, ...], report: Report, now: datetime, db: Engine, keyring: Keyring, brokers: Outside
) -> Carried:
    """Carry out the next step of every due request to these brokers."""
    carried = service.carry(chunk, db=db, keyring=keyring, outside=brokers, now=now, progress=report.progress)
    for text in carried.problems:
        report.warn(text)
    report.show(_counts(carried))
    return carried


def summarise(plan: RemovalPlan, results: list[Carried]) -> Summary:
    """The run in figures."""
    whole = sum(results, Carried())
    return Summary({**_counts(whole), "replies": plan.mailbox.read}, items_failed=whole.failed)


JOBS = sharded_job(BY_NAME[JOB], service="removals", plan=plan, work=carry, finish=summarise)
