"""Load, decide, save: one dark-web scan, in steps that may each be repeated.

Register dropped files → read new dumps into the corpus, alerting meanwhile → match items by blind index → record the
results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import polars as pl
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.breach_catalogue import parse_catalogue
from kordant_jobs.adapters.corpus import Corpus, Items
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.domain.darkwatch.exposures import DumpStatus, Source
from kordant_jobs.domain.people.tiers import Tier
from kordant_jobs.engine import Progress
from kordant_jobs.errors import CatalogueUnreadable, DumpUnreadable, SourceUnavailable
from kordant_jobs.jobs.darkwatch_scan import asked, rules
from kordant_jobs.jobs.darkwatch_scan.alerting import write_alerts
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox, now_of, register_dropped
from kordant_jobs.jobs.darkwatch_scan.ingestion import Ingestion, ReadElsewhere
from kordant_jobs.jobs.darkwatch_scan.retro import Watch
from kordant_jobs.ports import BreachCatalogue
from kordant_jobs.store.darkwatch import breaches, dumps, new_data, scans
from kordant_jobs.store.people.keyring import Keyring

JOB = "darkwatch_scan"


@dataclass(frozen=True, kw_only=True)
class ScanPlan:
    """The plan of one scan: ids only. `chunks` have dumps; each dump is matched on its own."""

    scope: scans.Scope
    window: rules.Window
    subscriptions: int
    items: int
    registered: int
    catalogue_problem: str | None
    chunks: tuple[tuple[UUID, ...], ...]
    total: int = 0
    """Bytes of the dumps that have to be ingested."""
    left: tuple[UUID, ...] = ()
    """New dumps that other scans will read."""
    wait: bool = True
    """True: wait for another scan that reads a dump. False: leave that dump to it."""

    def figures(self) -> dict[str, int | str]:
        """The plan in figures."""
        return {
            "subscriptions": self.subscriptions,
            "items": self.items,
            "dumps": sum(map(len, self.chunks)),
            "new dumps": self.registered,
            "window": f"{self.window.since or 'last scan'} … {self.window.until}",
        }


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """The result of matching one chunk."""

    dumps: int = 0
    lines: int = 0
    bad_lines: int = 0
    hits: int = 0
    new_exposures: int = 0
    quarantined: tuple[UUID, ...] = field(default=())
    left: tuple[UUID, ...] = field(default=())
    """Dumps that another scan was reading."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The number of subscriptions scanned, the numbers by verdict, and the number of new alerts."""

    subscriptions: int
    clean: int
    exposed: int
    unknown: int
    new_alerts: int


def refresh_catalogue(db: Engine, catalogue: BreachCatalogue | None) -> str | None:
    """Import the breach catalogue if it is due and changed. Returns the error, None when there was none. A catalogue
    that cannot be read does not stop a scan: known breaches stay known."""
    if catalogue is None:
        return None
    with db.connect() as connection:
        if breaches.catalogue_is_fresh(connection, now_of(connection)):
            return None
    try:
        content = catalogue.read()
        with db.begin() as connection:
            if breaches.catalogue_is_known(connection, content):
                return None
        found, rejected = parse_catalogue(content)
    except (SourceUnavailable, CatalogueUnreadable) as error:
        return str(error)
    with db.begin() as connection:
        breaches.save_catalogue(connection, content, found, rejected=rejected)
    return f"{rejected} entries of the breach catalogue are no breaches and were left out" if rejected else None


def plan_scan(
    scope: scans.Scope,
    *,
    since: datetime | None,
    until: datetime | None,
    db: Engine,
    keyring: Keyring,
    box: DropBox,
    catalogue: BreachCatalogue | None,
    read_dumps: bool = True,
    wait: bool = True,
) -> ScanPlan:
    """Plan a scan of `scope`: the dumps that may hold a pair that became known in the window. Without `read_dumps` new
    dumps are left to other scans; without `wait` so are dumps that another scan is reading."""
    problem = refresh_catalogue(db, catalogue)
    registered = register_dropped(db, box, keyring) if read_dumps else 0
    with db.begin() as connection:
        end = until or now_of(connection)
        chosen = scans.choose(connection, scope)
        window = rules.Window(since=since, until=end)
        items = _watched(connection, window)
        known = dumps.known_before(connection, end, (DumpStatus.REGISTERED, *dumps.READ))
    due = [dump for dump in known if not _new_pairs(items, dump, window).is_empty()]
    left = [dump.id for dump in due if dump.status is DumpStatus.REGISTERED and not read_dumps]
    due = [dump for dump in due if dump.id not in left]
    chunks = rules.balanced([(dump.id, dump.file_size) for dump in due]) if chosen else []
    return ScanPlan(
        scope=scope,
        window=window,
        subscriptions=chosen,
        items=items.height,
        registered=registered,
        catalogue_problem=problem,
        chunks=tuple(tuple(chunk) for chunk in chunks),
        total=sum(dump.file_size for dump in due if dump.status is DumpStatus.REGISTERED),
        left=tuple(left),
        wait=wait,
    )


def _start(since: datetime | None) -> datetime | None:
    return since - rules.OVERLAP if since else None


def _new_pairs(items: pl.DataFrame, dump: dumps.DumpRow, window: rules.Window) -> pl.DataFrame:
    """The items whose pair with `dump` is new in the window; `seen_at` is the time when the pair became known."""
    counts_from = dump.known_at if window.since else dump.registered_at
    return items.with_columns(_later(dump.known_at).alias("seen_at")).filter(
        pl.col("since").is_null() | (_later(counts_from) >= pl.col("since"))
    )


def _later(moment: datetime) -> pl.Expr:
    return pl.max_horizontal("created_at", pl.lit(moment, dtype=scans.MOMENT))


def match_chunk(
    plan: ScanPlan,
    chunk: Sequence[UUID],
    *,
    db: Engine,
    keyring: Keyring,
    box: DropBox,
    corpus: Corpus,
    progress: Progress,
) -> ChunkResult:
    """Match the plan's items against a chunk of dumps and write the exposures. A new dump is read, and subscribers
    found in it are alerted meanwhile; a dump that cannot be read is quarantined and counts as unknown. Safe to repeat.
    """
    with db.begin() as connection:
        scans.choose(connection, plan.scope)
        items = _watched(connection, plan.window)
        rows = dumps.load(connection, chunk)
    new = any(dump.status is DumpStatus.REGISTERED for dump in rows)
    at_once = _watched_at_once(plan, items, db=db) if new else items
    ingestion = Ingestion(db=db, keyring=keyring, box=box, corpus=corpus, progress=progress, wait=plan.wait)
    result = ChunkResult()
    for dump in rows:
        result = _add(result, _match_dump(dump, items, at_once, plan.window, ingestion))
    return result


def _watched(connection: Connection, window: rules.Window) -> pl.DataFrame:
    return scans.watched_items(
        connection, job=JOB, since=_start(window.since), until=window.until, overlap=rules.OVERLAP
    )


def _watched_at_once(plan: ScanPlan, items: pl.DataFrame, *, db: Engine) -> pl.DataFrame:
    """The plan's items, and those of all real-time tiers: a dump is read once, by the scan that comes first, and their
    alerts cannot wait for its end."""
    if plan.window.since is not None:
        return items
    with db.begin() as connection:
        tiers = new_data.realtime_tiers(connection, JOB)
        if not tiers or (plan.scope.subscription_ids is None and set(plan.scope.tiers or Tier) >= set(tiers)):
            return items
        scans.choose(connection, scans.Scope(tiers=tuple(tier.value for tier in tiers)))
        return pl.concat([items, _watched(connection, plan.window)]).unique("item_id")


def _match_dump(
    dump: dumps.DumpRow, items: pl.DataFrame, at_once: pl.DataFrame, window: rules.Window, ingestion: Ingestion
) -> ChunkResult:
    db, corpus = ingestion.db, ingestion.corpus
    if dump.status not in {DumpStatus.REGISTERED, *dumps.READ}:  # another scan set it aside since this one was planned
        return ChunkResult(dumps=1, quarantined=(dump.id,))
    what, early = None, 0
    if dump.status is DumpStatus.REGISTERED:
        watch = Watch(dump, _new_pairs(at_once, dump, window), db=db, today=window.until.date())
        try:
            what = ingestion.ingest(dump, watch)
        except ReadElsewhere:
            return ChunkResult(dumps=1, left=(dump.id,))
        except DumpUnreadable:
            ingestion.progress.flush(f"dump {dump.id} is quarantined")
            return ChunkResult(dumps=1, new_exposures=watch.new_exposures, quarantined=(dump.id,))
        early = watch.new_exposures
        if what is None and not _is_read(dump.id, db):
            return ChunkResult(dumps=1, quarantined=(dump.id,))
    elif not corpus.has(dump.id):
        with dumps.ingesting(db, dump.id):
            corpus.adopt(dump.id)
    pairs = _new_pairs(items, dump, window)
    found = corpus.find(dump.id, Items.of(pairs))
    sites = corpus.sites(dump.id, Items.of(pairs.join(found, on="item_id", how="semi")))
    hits = found.join(sites, on="item_id", how="left").join(pairs.select("item_id", "seen_at"), on="item_id")
    hits = hits.with_columns(pl.lit(dump.breach_name).alias("breach_name"), pl.lit(str(dump.id)).alias("dump_id"))
    with db.begin() as connection:
        new = scans.save_hits(connection, hits)
        if dump.status is DumpStatus.REGISTERED:  # another scan read it meanwhile, and perhaps not for these
            scans.choose_found(connection)
            write_alerts(connection, today=window.until.date(), provisional=True)
    return ChunkResult(
        dumps=1,
        lines=what.lines if what else 0,
        bad_lines=sum(what.bad_lines.values()) if what else 0,
        hits=hits.height,
        new_exposures=early + new,
    )


def _is_read(dump_id: UUID, db: Engine) -> bool:
    """True when another scan, which was reading the dump, succeeded."""
    with db.connect() as connection:
        return dumps.load(connection, [dump_id])[0].status in dumps.READ


def _add(one: ChunkResult, other: ChunkResult) -> ChunkResult:
    return ChunkResult(
        dumps=one.dumps + other.dumps,
        lines=one.lines + other.lines,
        bad_lines=one.bad_lines + other.bad_lines,
        hits=one.hits + other.hits,
        new_exposures=one.new_exposures + other.new_exposures,
        quarantined=one.quarantined + other.quarantined,
        left=one.left + other.left,
    )


def total(results: Sequence[ChunkResult]) -> ChunkResult:
    """The sum of the chunks."""
    whole = ChunkResult()
    for result in results:
        whole = _add(whole, result)
    return whole


def record(plan: ScanPlan, *, db: Engine, sources: Sources | None = None, left: Sequence[UUID] = ()) -> Recorded:
    """Judge the exposures and write or complete alerts with their notifications, verdicts and watermarks, all or
    nothing. With `sources` each enabled source contributes a verdict, except in a scan of a past day. `left` dumps were
    not read: they count as unread, and knowledge is complete only up to the first of them."""
    with db.begin() as connection:
        chosen = scans.choose(connection, plan.scope)
        new_alerts = write_alerts(connection, today=plan.window.until.date())
        read = len(dumps.known_before(connection, plan.window.until, dumps.READ))
        partly = len(dumps.known_before(connection, plan.window.until, (DumpStatus.PARTIAL,)))
        unread = len(dumps.known_before(connection, plan.window.until, dumps.UNREAD))
        others = dumps.load(connection, left)
        read_by_others = sum(dump.status in dumps.READ for dump in others)
        covered = min((moment for dump in others for moment in (dump.known_at, dump.registered_at)), default=None)
        until = min(plan.window.until, covered) if covered else plan.window.until
        verdicts = _verdicts(
            scans.standing(connection, since=plan.window.since, until=plan.window.until),
            read=read - read_by_others,
            unread=unread + read_by_others,
            partly=partly,
        )
        last_covered = plan.window.until if plan.window.since is None else plan.window.since
        scans.save_verdicts(
            connection,
            verdicts,
            source=Source.DUMPS,
            checked_on=last_covered.date(),
            until=until,
            in_part=bool(others),
        )
        if sources is not None and plan.window.since is None:
            asked.save_verdicts(connection, sources, until=plan.window.until)
        if plan.window.since is None or not others:
            scans.move_watermarks(connection, job=JOB, since=plan.window.since, until=until)
    counts = dict(verdicts.group_by("verdict").len().iter_rows())
    return Recorded(
        subscriptions=chosen,
        clean=counts.get("clean", 0),
        exposed=counts.get("exposed", 0),
        unknown=counts.get("unknown", 0),
        new_alerts=new_alerts,
    )


def _verdicts(standing: pl.DataFrame, *, read: int, unread: int, partly: int) -> pl.DataFrame:
    """One verdict for each subscription. The rule is evaluated once for those with exposures and once for those
    without."""
    facts = {"dumps_read": read, "dumps_unread": unread, "dumps_partly_read": partly}
    exposed, exposed_reason = rules.verdict(exposures=1, **facts)
    without, without_reason = rules.verdict(exposures=0, **facts)
    has = pl.col("exposures") > 0
    return standing.with_columns(
        pl.when(has).then(pl.lit(exposed)).otherwise(pl.lit(without)).alias("verdict"),
        pl.when(has).then(pl.lit(exposed_reason)).otherwise(pl.lit(without_reason)).alias("reason"),
    )
