"""darkwatch_scan in Dagster: plan → match in chunks, ask sources → record → summarise.

The plain job serves requests and sensors; a factory makes one daily-partitioned job a tier, whose partition is the
window of pairs (item, dump) that became known on that day. (No `annotations` future here: Dagster reads the
annotations of ops as objects.)
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import dagster as dg
from pydantic import Field
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.domain.people.tiers import Tier
from kordant_jobs.engine.op_body import op_body, tell_figures
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan import sources as outside
from kordant_jobs.jobs.darkwatch_scan.asked import Asked, ask_later
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox
from kordant_jobs.jobs.darkwatch_scan.service import JOB, ChunkResult, Recorded, ScanPlan
from kordant_jobs.ports import BreachCatalogue
from kordant_jobs.settings import Settings
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring

PARTITIONS_START = "2026-01-01"


class PlanConfig(dg.Config):
    """Whose watchlists to scan, and what counts as new. Everything left out: all active subscriptions, all that is
    new since each one's last scan."""

    tiers: list[str] = Field(default=[], description="Only these tiers (basic, plus, premium); empty: all.")
    subscription_ids: list[str] | None = Field(default=None, description="Only these subscriptions, by id.")
    known_from: str | None = Field(
        default=None, description="ISO moment; empty: where each subscription's last scan ended."
    )
    known_until: str | None = Field(default=None, description="ISO moment; empty: now.")

    def scope(self) -> Scope:
        """The subscriptions meant.

        Raises:
            PermanentError: a tier or an id is none.
        """
        if unknown := set(self.tiers) - set(Tier):
            raise PermanentError(
                f"ops.plan.config.tiers: {sorted(unknown)[0]} is no tier; there are {', '.join(Tier)}."
            )
        try:
            ids = None if self.subscription_ids is None else tuple(UUID(one) for one in self.subscription_ids)
        except ValueError:
            raise PermanentError("ops.plan.config.subscription_ids holds something that is no UUID.") from None
        return Scope(tiers=tuple(self.tiers), subscription_ids=ids)

    def moment(self, field: str) -> datetime | None:
        """`known_from` or `known_until` as an aware moment.

        Raises:
            PermanentError: it is no ISO moment with a zone.
        """
        text = getattr(self, field)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise PermanentError(f"ops.plan.config.{field} must be a moment with a zone, as 2026-11-21T00:00:00+00:00.")
        return moment


def _check_partition(context: dg.OpExecutionContext, config: PlanConfig) -> None:
    """Dagster's launchRun takes any partition key; one that is none of the job's must not scan a wrong window.

    Raises:
        PermanentError: the key is unknown, or the config is not its window.
    """
    if not context.has_partition_key:
        return
    keys = dg.DailyPartitionsDefinition(start_date=PARTITIONS_START)
    key = context.partition_key
    if not keys.has_partition_key(key):
        raise PermanentError(f"{key} is no partition of {context.job_name}: give a day from {PARTITIONS_START} on.")
    window = keys.time_window_for_partition_key(key)
    if (config.moment("known_from"), config.moment("known_until")) != (window.start, window.end):
        raise PermanentError(f"the run config is not the one of partition {key}; launch it from the partition.")


@dg.op(name="plan", out=dg.Out(ScanPlan), tags={"kind": "plan"})
def plan_op(
    context: dg.OpExecutionContext,
    config: PlanConfig,
    db: dg.ResourceParam[Engine],
    keyring: dg.ResourceParam[Keyring],
    drop_box: dg.ResourceParam[DropBox],
    catalogue: dg.ResourceParam[BreachCatalogue | None],
) -> ScanPlan:
    """Register what was dropped, refresh the breach catalogue, and share the dumps that matter out over chunks."""
    with op_body(context, db) as progress:
        _check_partition(context, config)
        progress.start(0, "planning")
        plan, weight = service.plan_scan(
            config.scope(),
            since=config.moment("known_from"),
            until=config.moment("known_until"),
            db=db,
            keyring=keyring,
            box=drop_box,
            catalogue=catalogue,
        )
        progress.expect(weight, "matching")
        if plan.catalogue_problem:
            context.log.warning(plan.catalogue_problem)
        context.add_output_metadata(
            {
                "subscriptions": plan.subscriptions,
                "items": plan.items,
                "dumps": sum(map(len, plan.chunks)),
                "new dumps": plan.registered,
                "window": f"{plan.window.since or 'last scan'} … {plan.window.until}",
            }
        )
        return plan


@dg.op(out=dg.DynamicOut(int))
def chunk(plan: ScanPlan) -> Iterator[dg.DynamicOutput[int]]:
    """One output a chunk of dumps."""
    for place in range(len(plan.chunks)):
        yield dg.DynamicOutput(place, mapping_key=f"{place:02d}")


@dg.op(name="match")
def match_op(
    context: dg.OpExecutionContext,
    plan: ScanPlan,
    place: int,
    db: dg.ResourceParam[Engine],
    keyring: dg.ResourceParam[Keyring],
    drop_box: dg.ResourceParam[DropBox],
    corpus: dg.ResourceParam[Corpus],
) -> ChunkResult:
    """Ingest the chunk's new dumps, look for the watched items in all of them, write exposures."""
    with op_body(context, db) as progress:
        result = service.match_chunk(
            plan, plan.chunks[place], db=db, keyring=keyring, box=drop_box, corpus=corpus, progress=progress
        )
        for dump_id in result.quarantined:
            context.log.warning(
                f"dump {dump_id} cannot be read and is quarantined: `kordant-jobs dumps list` says why."
            )
        context.add_output_metadata(
            {
                "dumps": result.dumps,
                "lines": result.lines,
                "bad lines": result.bad_lines,
                "hits": result.hits,
                "new exposures": result.new_exposures,
            }
        )
        return result


@dg.op(name="ask_sources")
def ask_op(
    context: dg.OpExecutionContext,
    plan: ScanPlan,
    db: dg.ResourceParam[Engine],
    keyring: dg.ResourceParam[Keyring],
    sources: dg.ResourceParam[Sources],
    settings: dg.ResourceParam[Settings],
) -> list[Asked]:
    """Ask outside sources about whoever has no answer yet, for a bounded time. A scan of a day that is over asks
    nobody: what they say is of today."""
    with op_body(context, db) as progress:
        progress.flush("asking sources")
        for text in outside.told_off(sources, db=db):
            context.log.info(text)
        if plan.window.since is not None:
            return []
        asked = outside.ask_sources(plan.scope, sources, db=db, keyring=keyring, budget_s=settings.sources_budget_s)
        for one in asked:
            if one.why is not None:
                context.log.warning(f"{one.source}: {one.unknown} questions without an answer ({one.why}).")
            context.add_output_metadata(
                {
                    f"{one.source} asked": one.asked,
                    f"{one.source} exposed": one.exposed,
                    f"{one.source} unknown": one.unknown,
                    f"{one.source} left": one.left,
                }
            )
        return asked


@dg.op(name="record")
def record_op(
    context: dg.OpExecutionContext,
    plan: ScanPlan,
    matched: list[ChunkResult],
    asked: list[Asked],
    db: dg.ResourceParam[Engine],
    sources: dg.ResourceParam[Sources],
    settings: dg.ResourceParam[Settings],
) -> Recorded:
    """Judge the exposures, write alerts with their notifications, verdicts and watermarks, in one transaction."""
    with op_body(context, db) as progress:
        progress.flush("recording")
        recorded = service.record(plan, db=db, sources=sources)
        if settings.launcher == "warm":  # the stock one serves no queue: there the next scan asks
            ask_later(asked, db=db)
        return recorded


@dg.op(name="summarise")
def summarise_op(
    context: dg.OpExecutionContext,
    plan: ScanPlan,
    matched: list[ChunkResult],
    recorded: Recorded,
    db: dg.ResourceParam[Engine],
) -> dict[str, int]:
    """The scan in figures, for the UI and for whoever asked for it."""
    with op_body(context, db) as progress:
        whole = service.total(matched)
        summary = {
            "subscriptions": recorded.subscriptions,
            "items": plan.items,
            "dumps": whole.dumps,
            "lines": whole.lines,
            "bad_lines": whole.bad_lines,
            "quarantined": len(whole.quarantined),
            "hits": whole.hits,
            "new_exposures": whole.new_exposures,
            "new_alerts": recorded.new_alerts,
            "clean": recorded.clean,
            "exposed": recorded.exposed,
            "unknown": recorded.unknown,
        }
        tell_figures(context, summary, items_failed=len(whole.quarantined))
        progress.flush("done")
        return summary


@dg.graph(name=JOB)
def darkwatch_scan_graph() -> None:
    """Plan → match in chunks, ask sources → record → summarise."""
    plan = plan_op()
    matched = chunk(plan).map(lambda place: match_op(plan, place)).collect()
    summarise_op(plan, matched, record_op(plan, matched, ask_op(plan)))


darkwatch_scan = darkwatch_scan_graph.to_job(
    name=JOB,
    description="Watched identifiers against breach dumps: everything new since each subscription's last scan.",
    tags={"kordant/service": "darkwatch"},
)


def tier_job(tier: Tier) -> dg.JobDefinition:
    """The daily-partitioned scan of one tier; a partition covers what became known on that day (UTC)."""

    @dg.daily_partitioned_config(start_date=PARTITIONS_START)
    def window_of_day(start: datetime, end: datetime) -> dict[str, object]:
        window = {"known_from": start.astimezone(UTC).isoformat(), "known_until": end.astimezone(UTC).isoformat()}
        return {"ops": {"plan": {"config": {"tiers": [tier.value], **window}}}}

    return darkwatch_scan_graph.to_job(
        name=f"{JOB}_{tier}",
        description=f"darkwatch_scan for {tier} subscriptions, a day a partition.",
        config=window_of_day,
        tags={"kordant/service": "darkwatch", "kordant/tier": tier.value},
    )


tier_jobs = [tier_job(Tier(tier)) for tier in BY_NAME[JOB].partitions]
