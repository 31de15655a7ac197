"""reports_generate in Dagster: plan → make in chunks → summarise.

The plain job serves schedules and requests; a factory makes one partitioned job a tier, whose partition is the week or
month that a report of that tier covers: the reports of a backfill are those that the schedule made.
(No `annotations` future here: Dagster reads the annotations of ops as objects.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from uuid import UUID

import dagster as dg
from pydantic import Field
from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME, SCHEDULES
from kordant_jobs.domain.people.tiers import Tier
from kordant_jobs.domain.schedules.rows import Cadence
from kordant_jobs.engine.op_body import op_body, tell_figures
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.reports_generate import service
from kordant_jobs.jobs.reports_generate.rules import Period, ReportKind
from kordant_jobs.jobs.reports_generate.service import JOB, ReportScope, ReportSummary
from kordant_jobs.ports import ReportStorage
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports import retention as report_retention

CHUNKS_MAX = 8
"""Chunks of one run: a mapped op costs about 20 ms and 11 kB of event log, so a chunk is many reports, not one."""

PARTITIONS_START = "2026-01-01"

CHUNK_MIN = 1000
"""Reports that are worth a chunk of their own: each starts renderer processes anew, at about 1.3 CPU s a core."""


class ReportConfig(dg.Config):
    """Which reports to make."""

    kind: str = Field(description="weekly, monthly or on_demand.")
    period_start_on: str = Field(description="First day covered, as 2026-10-01 (UTC).")
    period_end_on: str = Field(description="First day that is no more covered, as 2026-11-01.")
    subscription_ids: list[str] | None = Field(default=None, description="Only these subscriptions, by id.")
    tiers: list[str] = Field(default=[], description="Only these tiers (basic, plus, premium); empty: all.")
    only_affected: bool = Field(default=False, description="Only subscriptions that have something exposed.")
    force: bool = Field(default=False, description="Make them again even where the figures did not change.")

    def period(self) -> Period:
        """The period meant.

        Raises:
            PermanentError: the kind is none, or the days are no period.
        """
        if self.kind not in set(ReportKind):
            raise PermanentError(f"ops.plan_reports.config.kind must be one of {', '.join(ReportKind)}.")
        try:
            start, end = date.fromisoformat(self.period_start_on), date.fromisoformat(self.period_end_on)
        except ValueError:
            raise PermanentError(
                "ops.plan_reports.config.period_start_on and period_end_on must be days, as 2026-11-01."
            ) from None
        if start >= end:
            raise PermanentError("ops.plan_reports.config.period_end_on must be after period_start_on.")
        return Period(kind=ReportKind(self.kind), start_on=start, end_on=end)

    def scope(self) -> ReportScope:
        """The subscriptions meant.

        Raises:
            PermanentError: a tier or an id is none.
        """
        if unknown := set(self.tiers) - set(Tier):
            raise PermanentError(
                f"ops.plan_reports.config.tiers: {min(unknown)} is no tier; there are {', '.join(Tier)}."
            )
        try:
            ids = None if self.subscription_ids is None else tuple(UUID(one) for one in self.subscription_ids)
        except ValueError:
            raise PermanentError("ops.plan_reports.config.subscription_ids holds something that is no UUID.") from None
        return ReportScope(tiers=tuple(self.tiers), subscription_ids=ids, only_affected=self.only_affected)


@dataclass(frozen=True, kw_only=True)
class ReportPlan:
    """What one run will make: ids only."""

    period: Period
    force: bool
    chunks: tuple[tuple[UUID, ...], ...]


def chunked(due: Sequence[UUID]) -> tuple[tuple[UUID, ...], ...]:
    """The subscriptions in chunks, none empty.

    >>> [len(chunk) for chunk in chunked([UUID(int=n) for n in range(1001)])]
    [501, 500]
    >>> chunked([])
    ()
    """
    count = min(CHUNKS_MAX, -(-len(due) // CHUNK_MIN))
    return tuple(tuple(due[place::count]) for place in range(count))


def partitions_of(tier: Tier) -> dg.TimeWindowPartitionsDefinition:
    """The weeks (from Monday) or months that the reports of a tier cover, as the price list says."""
    (cadence,) = [row.cadence for row in SCHEDULES if (row.job, row.tier) == (JOB, tier)]
    if cadence is Cadence.WEEKLY:
        return dg.WeeklyPartitionsDefinition(start_date=PARTITIONS_START, day_offset=1)
    return dg.MonthlyPartitionsDefinition(start_date=PARTITIONS_START)


def _check_partition(context: dg.OpExecutionContext, period: Period, scope: ReportScope) -> None:
    """Dagster's launchRun takes any partition key; one that is none of the job's must make no report.

    Raises:
        PermanentError: the key is unknown, or the config is not its period.
    """
    if not context.has_partition_key:
        return
    key = context.partition_key
    tier = next((tier for tier in Tier if context.job_name == f"{JOB}_{tier}"), None)
    keys = partitions_of(tier) if tier else None
    if tier is None or keys is None or not keys.has_partition_key(key):
        raise PermanentError(f"{key} is no partition of {context.job_name}: take one that its Partitions page shows.")
    window = keys.time_window_for_partition_key(key)
    if (period.start_on, period.end_on, scope.tiers) != (window.start.date(), window.end.date(), (tier.value,)):
        raise PermanentError(f"the run config is not the one of partition {key}; launch it from the partition.")


@dg.op(name="plan_reports", out=dg.Out(ReportPlan), tags={"kind": "plan"})
def plan_op(context: dg.OpExecutionContext, config: ReportConfig, db: dg.ResourceParam[Engine]) -> ReportPlan:
    """Choose the subscriptions and share them out over chunks."""
    with op_body(context, db) as progress:
        period, scope = config.period(), config.scope()
        _check_partition(context, period, scope)
        due = service.plan(scope, period, db=db)
        progress.flush("planning")
        progress.start(len(due), "making reports")
        chunks = chunked(due)
        context.add_output_metadata({"subscriptions": len(due), "chunks": len(chunks)})
        return ReportPlan(period=period, force=config.force, chunks=chunks)


@dg.op(out=dg.DynamicOut(int))
def chunk_reports(plan: ReportPlan) -> Iterator[dg.DynamicOutput[int]]:
    """One output a chunk of subscriptions."""
    for place in range(len(plan.chunks)):
        yield dg.DynamicOutput(place, mapping_key=f"{place:02d}")


@dg.op(name="make_reports")
def make_op(
    context: dg.OpExecutionContext,
    plan: ReportPlan,
    place: int,
    db: dg.ResourceParam[Engine],
    keyring: dg.ResourceParam[Keyring],
    report_storage: dg.ResourceParam[ReportStorage],
) -> ReportSummary:
    """Make the reports of one chunk."""
    with op_body(context, db) as progress:
        made = service.generate(
            plan.chunks[place],
            plan.period,
            db=db,
            keyring=keyring,
            storage=report_storage,
            progress=progress,
            force=plan.force,
            today=datetime.now(UTC).date(),
        )
        if made.failed:
            context.log.warning(f"{made.failed} reports could not be made and are left out.")
        context.add_output_metadata(asdict(made))
        return made


@dg.op(name="summarise_reports")
def summarise_op(
    context: dg.OpExecutionContext,
    made: list[ReportSummary],
    db: dg.ResourceParam[Engine],
    report_storage: dg.ResourceParam[ReportStorage],
) -> dict[str, int]:
    """The run in figures, once reports whose time is over were deleted."""
    with op_body(context, db) as progress:
        whole = sum(made, ReportSummary())
        expired = report_retention.expire(db, report_storage, now=datetime.now(UTC))
        if expired.kept:
            context.log.warning(f"{expired.kept} old contents could not be deleted; the next run tries again.")
        context.add_output_metadata({"reports_expired": expired.reports, "contents_deleted": expired.contents})
        figures = asdict(whole)
        tell_figures(context, figures, items_failed=whole.failed)
        progress.flush("done")
        return figures


@dg.graph(name=JOB)
def reports_generate_graph() -> None:
    """Plan → make in chunks → summarise."""
    plan = plan_op()
    summarise_op(chunk_reports(plan).map(lambda place: make_op(plan, place)).collect())


reports_generate = reports_generate_graph.to_job(
    name=JOB,
    description="A PDF report for each subscription and period: what was checked, what was found, what to do.",
    tags={"kordant/service": "reports"},
    executor_def=dg.in_process_executor,
)


def tier_job(tier: Tier) -> dg.JobDefinition:
    """The reports of one tier, a week or month a partition."""
    partitions = partitions_of(tier)
    kind = ReportKind.WEEKLY if isinstance(partitions, dg.WeeklyPartitionsDefinition) else ReportKind.MONTHLY

    @dg.partitioned_config(partitions_def=partitions)
    def period_of(key: str) -> dict[str, object]:
        window = partitions.time_window_for_partition_key(key)
        days = {"period_start_on": _day(window.start), "period_end_on": _day(window.end)}
        return {"ops": {"plan_reports": {"config": {"kind": kind.value, "tiers": [tier.value], **days}}}}

    return reports_generate_graph.to_job(
        name=f"{JOB}_{tier}",
        description=f"reports_generate for {tier} subscriptions, a {kind.value.removesuffix('ly')} a partition.",
        config=period_of,
        tags={"kordant/service": "reports", "kordant/tier": tier.value},
        executor_def=dg.in_process_executor,
    )


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


tier_jobs = [tier_job(Tier(tier)) for tier in BY_NAME[JOB].partitions]
