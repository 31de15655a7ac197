"""Load, decide, save: one dark-web scan, in steps that may each be repeated.

Register dropped files → read new dumps into the corpus, alerting meanwhile → match items by blind index → record the
results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import polars as pl
from sqlalchemy import Engine

from kordant_jobs.adapters.breach_catalogue import parse_catalogue
from kordant_jobs.adapters.corpus import Corpus, Items
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.domain.darkwatch.exposures import DumpStatus, Source
from kordant_jobs.engine import Progress
from kordant_jobs.errors import CatalogueUnreadable, DumpUnreadable, SourceUnavailable
from kordant_jobs.jobs.darkwatch_scan import asked, rules
from kordant_jobs.jobs.darkwatch_scan.alerting import write_alerts
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox, now_of, register_dropped
from kordant_jobs.jobs.darkwatch_scan.ingestion import Ingestion, ReadElsewhere
from kordant_jobs.jobs.darkwatch_scan.retro import Watch
from kordant_jobs.ports import BreachCatalogue
from kordant_jobs.store.darkwatch import breaches, dumps, new_data, scans, verdicts
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
    items_at_once: int = rules.ITEMS_AT_ONCE

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
        chosen = scans.count_chosen(connection, scope)
        window = rules.Window(since=since, until=end)
        items = scans.watched_facts(connection, _watched(window, scope))
        known = dumps.known_before(connection, end, (DumpStatus.REGISTERED, *dumps.READ))
    due = [dump for dump in known if _is_due(dump, items, window)]
    left = [dump.id for dump in due if dump.status is DumpStatus.REGISTERED and not read_dumps]
    due = [dump for dump in due if dump.id not in left]
    chunks = rules.balanced([(dump.id, dump.file_size) for dump in due]) if chosen else []
    return ScanPlan(
        scope=scope,
        window=window,
        subscriptions=chosen,
        items=items.items,
        registered=registered,
        catalogue_problem=problem,
        chunks=tuple(tuple(chunk) for chunk in chunks),
        total=sum(dump.file_size for dump in due if dump.status is DumpStatus.REGISTERED),
        left=tuple(left),
        wait=wait,
    )


def _is_due(dump: dumps.DumpRow, items: scans.WatchedFacts, window: rules.Window) -> bool:
    """True when `dump` is new for one of the items, as `_new_pairs` has it."""
    since = items.oldest_since
    return items.any_at_once or (since is not None and _counts_from(dump, window) >= since)


def _counts_from(dump: dumps.DumpRow, window: rules.Window) -> datetime:
    return dump.known_at if window.since else dump.registered_at


def _start(since: datetime | None) -> datetime | None:
    return since - rules.OVERLAP if since else None


def _new_pairs(items: pl.DataFrame, dump: dumps.DumpRow, window: rules.Window) -> pl.DataFrame:
    """The items whose pair with `dump` is new in the window; `seen_at` is the time when the pair became known."""
    return items.with_columns(_later(dump.known_at).alias("seen_at")).filter(
        pl.col("since").is_null() | (_later(_counts_from(dump, window)) >= pl.col("since"))
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
    ingestion = Ingestion(db=db, keyring=keyring, box=box, corpus=corpus, progress=progress, wait=plan.wait)
    with db.begin() as connection:
        rows = dumps.load(connection, chunk)
    result, there = ChunkResult(), []
    for dump in rows:
        read, is_there = _read(dump, plan, ingestion)
        result = _add(result, read)
        there += [dump] if is_there else []
    for items in _parts(_watched(plan.window, plan.scope), plan, db=db) if there else ():
        for dump in there:
            result = _add(result, _match(dump, items, plan.window, db=db, corpus=corpus))
    return result


def _watched(window: rules.Window, *scopes: scans.Scope) -> scans.Watched:
    return scans.Watched(scopes=scopes, job=JOB, since=_start(window.since), until=window.until, overlap=rules.OVERLAP)


def _parts(watched: scans.Watched, plan: ScanPlan, *, db: Engine) -> Iterator[pl.DataFrame]:
    """The watched items, as many at a time as fit into memory, each part in a transaction of its own."""
    with db.begin() as connection:
        items = scans.watched_facts(connection, watched).items
    count = rules.parts_of(items, at_once=plan.items_at_once, most=scans.MOST_PARTS)
    for number in range(count):
        with db.begin() as connection:
            part = scans.watched_items(connection, watched, part=(number, count))
        yield part


def _watched_at_once(plan: ScanPlan, *, db: Engine) -> scans.Watched:
    """The plan's items, and those of all real-time tiers: a dump is read once, by the scan that comes first, and their
    alerts cannot wait for its end."""
    if plan.window.since is not None:
        return _watched(plan.window, plan.scope)
    with db.connect() as connection:
        tiers = new_data.realtime_tiers(connection, JOB)
    also = [scans.Scope(tiers=tuple(tier.value for tier in tiers))] if tiers else []
    return _watched(plan.window, plan.scope, *also)


def _read(dump: dumps.DumpRow, plan: ScanPlan, ingestion: Ingestion) -> tuple[ChunkResult, bool]:
    """Bring a dump into the corpus, if it is not there. Returns True when it is there afterwards."""
    db, corpus, window = ingestion.db, ingestion.corpus, plan.window
    if dump.status not in {DumpStatus.REGISTERED, *dumps.READ}:  # another scan set it aside since this one was planned
        return ChunkResult(dumps=1, quarantined=(dump.id,)), False
    if dump.status is not DumpStatus.REGISTERED:
        if not corpus.has(dump.id):
            with dumps.ingesting(db, dump.id):
                corpus.adopt(dump.id)
        return ChunkResult(dumps=1), True
    pairs = (_new_pairs(items, dump, window) for items in _parts(_watched_at_once(plan, db=db), plan, db=db))
    watch = Watch(dump, pairs, db=db, today=window.until.date())
    try:
        what = ingestion.ingest(dump, watch)
    except ReadElsewhere:
        return ChunkResult(dumps=1, left=(dump.id,)), False
    except DumpUnreadable:
        ingestion.progress.flush(f"dump {dump.id} is quarantined")
        return ChunkResult(dumps=1, new_exposures=watch.new_exposures, quarantined=(dump.id,)), False
    if what is None and not _is_read(dump.id, db):
        return ChunkResult(dumps=1, quarantined=(dump.id,)), False
    lines, bad_lines = (what.lines, sum(what.bad_lines.values())) if what else (0, 0)
    return ChunkResult(dumps=1, lines=lines, bad_lines=bad_lines, new_exposures=watch.new_exposures), True


def _match(
    dump: dumps.DumpRow, items: pl.DataFrame, window: rules.Window, *, db: Engine, corpus: Corpus
) -> ChunkResult:
    """Look up a part of the items in a dump of the corpus, and write the exposures."""
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
    return ChunkResult(hits=hits.height, new_exposures=new)


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
        judged = _verdicts(
            scans.standing(connection, since=plan.window.since, until=plan.window.until),
            read=read - read_by_others,
            unread=unread + read_by_others,
            partly=partly,
        )
        last_covered = plan.window.until if plan.window.since is None else plan.window.since
        verdicts.save(
            connection,
            judged,
            source=Source.DUMPS,
            checked_on=last_covered.date(),
            until=until,
            in_part=bool(others),
        )
        if sources is not None and plan.window.since is None:
            asked.save_verdicts(connection, sources, until=plan.window.until)
        if plan.window.since is None or not others:
            scans.move_watermarks(connection, job=JOB, since=plan.window.since, until=until)
    counts = dict(judged.group_by("verdict").len().iter_rows())
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
