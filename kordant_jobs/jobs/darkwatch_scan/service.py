"""Load, decide, save: one dark-web scan, in steps that may each be repeated.

Register what was dropped → ingest dumps into the corpus → match items by blind index → record what follows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.breach_catalogue import parse_catalogue
from kordant_jobs.adapters.corpus import Corpus, Items
from kordant_jobs.adapters.drop_folder import DroppedFile, dropped_files
from kordant_jobs.adapters.dumps import Blinder, DumpLimits, DumpShape, content_sha256, open_dump
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.domain.exposures import DumpStatus, SecretKind, Source
from kordant_jobs.errors import CatalogueUnreadable, DumpUnreadable, SourceUnavailable
from kordant_jobs.jobs.darkwatch_scan import rules
from kordant_jobs.jobs.darkwatch_scan import sources as outside
from kordant_jobs.observability.redaction import redact
from kordant_jobs.ports import BreachCatalogue
from kordant_jobs.store import breaches, dumps, judging, scans
from kordant_jobs.store.keyring import Keyring
from kordant_jobs.store.progress import Progress

JOB = "darkwatch_scan"


@dataclass(frozen=True, kw_only=True)
class DropBox:
    """Where dumps come from, and how they are read."""

    folder: Path
    keep_files: bool
    limits: DumpLimits
    phone_region: str


@dataclass(frozen=True, kw_only=True)
class ScanPlan:
    """What one scan will do: ids only. `chunks` hold dumps; each is matched on its own."""

    scope: scans.Scope
    window: rules.Window
    subscriptions: int
    items: int
    registered: int
    catalogue_problem: str | None
    chunks: tuple[tuple[UUID, ...], ...]


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What matching one chunk gave."""

    dumps: int = 0
    lines: int = 0
    bad_lines: int = 0
    hits: int = 0
    new_exposures: int = 0
    quarantined: tuple[UUID, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What followed from the scan."""

    subscriptions: int
    clean: int
    exposed: int
    unknown: int
    new_alerts: int


def now_of(connection: Connection) -> datetime:
    """The database's clock, which all processes share."""
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def refresh_catalogue(db: Engine, catalogue: BreachCatalogue | None) -> str | None:
    """Import the breach catalogue if it is due and changed. Returns what went wrong, None when nothing did.

    A catalogue that cannot be had does not stop a scan: the breaches that are known stay known.
    """
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


def new_files(connection: Connection, box: DropBox, keyring: Keyring, now: datetime) -> list[DroppedFile]:
    """The files in the drop folder that are not registered as they lie there."""
    seen = dumps.seen_files(connection)
    return [
        file
        for file in dropped_files(box.folder, settled_at=now)
        if (keyring.file_key(file.name), file.size, file.mtime_ns) not in seen
    ]


def register_file(
    db: Engine,
    file: DroppedFile,
    keyring: Keyring,
    *,
    name: str | None = None,
    known_at: datetime | None = None,
    breach_name: str | None = None,
    shape: str | None = None,
) -> UUID | None:
    """Register one dropped file. None when its content was registered before.

    `name` is the one that it will have, where it has another while it is put there.

    Raises:
        DumpUnreadable: it cannot be opened.
    """
    digest = bytes.fromhex(content_sha256(file.path))
    called = name or file.name
    facts = dumps.FileFacts(key=keyring.file_key(called), label=redact(called), size=file.size, mtime_ns=file.mtime_ns)
    with db.begin() as connection:
        moment = known_at or now_of(connection)
        breach = breach_name or breaches.breach_of_file(connection, called, digest, moment)
        return dumps.register(connection, digest, facts, breach_name=breach, known_at=moment, told_shape=shape)


def register_dropped(db: Engine, box: DropBox, keyring: Keyring) -> int:
    """Register every new file of the drop folder. Returns how many had new content."""
    with db.connect() as connection:
        files = new_files(connection, box, keyring, now_of(connection))
    made = 0
    for file in files:
        try:
            made += register_file(db, file, keyring) is not None
        except DumpUnreadable:
            continue  # it vanished, or may not be opened: it stays unregistered and is tried at the next scan
    if not box.keep_files:
        _remove_ingested(db, box, keyring)
    return made


def _remove_ingested(db: Engine, box: DropBox, keyring: Keyring) -> None:
    """Remove files whose content is in the corpus: a run that was killed left them, or they came twice."""
    with db.connect() as connection:
        ingested = dumps.seen_files(connection, DumpStatus.INGESTED)
    for file in dropped_files(box.folder):
        if (keyring.file_key(file.name), file.size, file.mtime_ns) in ingested:
            file.path.unlink(missing_ok=True)


def plan_scan(
    scope: scans.Scope,
    *,
    since: datetime | None,
    until: datetime | None,
    db: Engine,
    keyring: Keyring,
    box: DropBox,
    catalogue: BreachCatalogue | None,
) -> tuple[ScanPlan, int]:
    """What a scan of `scope` has to look at: dumps that may hold a pair that became known in the window.

    The second value is the size of the work: bytes of the dumps still to be ingested.
    """
    problem = refresh_catalogue(db, catalogue)
    registered = register_dropped(db, box, keyring)
    with db.begin() as connection:
        end = until or now_of(connection)
        chosen = scans.choose(connection, scope)
        items = scans.watched_items(connection, job=JOB, since=_start(since), until=end, overlap=rules.OVERLAP)
        known = dumps.known_before(connection, end, (DumpStatus.REGISTERED, DumpStatus.INGESTED))
    window = rules.Window(since=since, until=end)
    due = [dump for dump in known if not _new_pairs(items, dump, window).is_empty()]
    chunks = rules.balanced([(dump.id, dump.file_size) for dump in due]) if chosen else []
    plan = ScanPlan(
        scope=scope,
        window=window,
        subscriptions=chosen,
        items=items.height,
        registered=registered,
        catalogue_problem=problem,
        chunks=tuple(tuple(chunk) for chunk in chunks),
    )
    return plan, sum(dump.file_size for dump in due if dump.status is DumpStatus.REGISTERED)


def _start(since: datetime | None) -> datetime | None:
    return since - rules.OVERLAP if since else None


def _new_pairs(items: pl.DataFrame, dump: dumps.DumpRow, window: rules.Window) -> pl.DataFrame:
    """The items whose pair with `dump` is new in the window; `seen_at` says when the pair became known."""
    told_at = dump.known_at if window.since else dump.registered_at
    return items.with_columns(_later(dump.known_at).alias("seen_at")).filter(
        pl.col("since").is_null() | (_later(told_at) >= pl.col("since"))
    )


def _later(moment: datetime) -> pl.Expr:
    return pl.max_horizontal("created_at", pl.lit(moment, dtype=scans.MOMENT))


def ingest(
    dump: dumps.DumpRow, *, db: Engine, keyring: Keyring, box: DropBox, corpus: Corpus, progress: Progress
) -> dumps.Ingested | None:
    """Bring one registered dump into the corpus, or quarantine it. None when another process did so meanwhile.

    Raises:
        DumpUnreadable: it was quarantined, for this reason.
    """
    with dumps.ingesting(db, dump.id):
        with db.connect() as connection:
            if dumps.load(connection, [dump.id])[0].status is not DumpStatus.REGISTERED:
                return None
        what = _ingested_before(corpus, dump)
        try:
            file = _file_of(dump, box, keyring)
            what = what or _read_into(corpus, dump, file, keyring=keyring, box=box, progress=progress)
        except DumpUnreadable as error:
            if what is None:
                with db.begin() as connection:
                    dumps.quarantine(connection, dump.id, str(error))
                raise
            file = None
        with db.begin() as connection:
            dumps.mark_ingested(connection, dump.id, what)
        if file is not None and not box.keep_files:
            file.path.unlink(missing_ok=True)
        return what


def _ingested_before(corpus: Corpus, dump: dumps.DumpRow) -> dumps.Ingested | None:
    """What ingesting the dump gave to a run that was killed before it could say so."""
    facts = corpus.facts(dump.id)
    if facts is None:
        return None
    return dumps.Ingested(**{name.name: facts[name.name] for name in fields(dumps.Ingested)})


def _file_of(dump: dumps.DumpRow, box: DropBox, keyring: Keyring) -> DroppedFile:
    for file in dropped_files(box.folder):
        if keyring.file_key(file.name) == dump.file_key:
            if (file.size, file.mtime_ns) != (dump.file_size, dump.file_mtime_ns):
                raise DumpUnreadable("the file was replaced before it was read. The next scan takes what lies there.")
            return file
    raise DumpUnreadable("the file is no longer in the drop folder. Put it back, or dismiss the dump.")


def _read_into(
    corpus: Corpus, dump: dumps.DumpRow, file: DroppedFile, *, keyring: Keyring, box: DropBox, progress: Progress
) -> dumps.Ingested:
    told = DumpShape(dump.told_shape) if dump.told_shape else None
    with (
        open_dump(file.path, limits=box.limits, phone_region=box.phone_region, shape=told) as source,
        corpus.write(dump.id, origin=_origin(dump, box, keyring)) as writer,
    ):
        read = 0
        for batch in source.blinded(Blinder(keyring.blinding), skip=writer.done.blocks):
            writer.add(batch)
            progress.advance(source.bytes_read - read, f"ingesting dump {dump.id}")
            read = source.bytes_read
        layout = {"shape": source.shape, "compression": source.compression, "encoding": source.encoding}
        writer.tell(**layout)
        found = writer.so_far
        return dumps.Ingested(
            **layout, lines=found.lines, records=found.records, bad_lines=dict(sorted(found.bad_lines.items()))
        )


def _origin(dump: dumps.DumpRow, box: DropBox, keyring: Keyring) -> str:
    """What must be the same for a begun ingestion to go on: the file, how it is cut and read, and the key."""
    file = (dump.file_key.hex(), dump.file_size, dump.file_mtime_ns)
    how = (dump.told_shape, box.phone_region, box.limits.block_bytes, box.limits.max_line_bytes)
    return json.dumps([*file, *how, keyring.master_key_id])


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
    """Look for the plan's items in a chunk of dumps and write what is found. A dump that cannot be read is left out:
    it is quarantined, and counts as unknown. Safe to repeat."""
    with db.begin() as connection:
        scans.choose(connection, plan.scope)
        items = scans.watched_items(
            connection, job=JOB, since=_start(plan.window.since), until=plan.window.until, overlap=rules.OVERLAP
        )
        rows = dumps.load(connection, chunk)
    result = ChunkResult()
    for dump in rows:
        found = _match_dump(dump, items, plan.window, db=db, keyring=keyring, box=box, corpus=corpus, progress=progress)
        result = _add(result, found)
    return result


def _match_dump(
    dump: dumps.DumpRow,
    items: pl.DataFrame,
    window: rules.Window,
    *,
    db: Engine,
    keyring: Keyring,
    box: DropBox,
    corpus: Corpus,
    progress: Progress,
) -> ChunkResult:
    what = None
    if dump.status is not DumpStatus.INGESTED:
        try:
            what = ingest(dump, db=db, keyring=keyring, box=box, corpus=corpus, progress=progress)
        except DumpUnreadable:
            progress.flush(f"dump {dump.id} is quarantined")
            return ChunkResult(dumps=1, quarantined=(dump.id,))
    elif not corpus.has(dump.id):
        with dumps.ingesting(db, dump.id):
            corpus.adopt(dump.id)
    pairs = _new_pairs(items, dump, window)
    found = corpus.find(dump.id, Items.of(pairs))
    hits = found.join(pairs.select("item_id", "seen_at"), on="item_id").with_columns(
        pl.lit(dump.breach_name).alias("breach_name"), pl.lit(str(dump.id)).alias("dump_id")
    )
    with db.begin() as connection:
        new = scans.save_hits(connection, hits)
    return ChunkResult(
        dumps=1,
        lines=what.lines if what else 0,
        bad_lines=sum(what.bad_lines.values()) if what else 0,
        hits=hits.height,
        new_exposures=new,
    )


def _add(one: ChunkResult, other: ChunkResult) -> ChunkResult:
    return ChunkResult(
        dumps=one.dumps + other.dumps,
        lines=one.lines + other.lines,
        bad_lines=one.bad_lines + other.bad_lines,
        hits=one.hits + other.hits,
        new_exposures=one.new_exposures + other.new_exposures,
        quarantined=one.quarantined + other.quarantined,
    )


def total(results: Sequence[ChunkResult]) -> ChunkResult:
    """The sum of the chunks."""
    whole = ChunkResult()
    for result in results:
        whole = _add(whole, result)
    return whole


def record(plan: ScanPlan, *, db: Engine, sources: Sources | None = None) -> Recorded:
    """Judge what was found, write alerts with their notifications, verdicts and watermarks: all of it or nothing.

    With `sources` each of those that are on has its say, too; in a scan of a day that is over they have none.
    """
    with db.begin() as connection:
        chosen = scans.choose(connection, plan.scope)
        judging.save_judgements(connection, judged(judging.unjudged(connection)))
        new_alerts = judging.save_alerts(connection, rated(judging.unalerted(connection), plan.window.until.date()))
        read = len(dumps.known_before(connection, plan.window.until, (DumpStatus.INGESTED,)))
        unread = len(dumps.known_before(connection, plan.window.until, dumps.UNREAD))
        verdicts = _verdicts(
            scans.standing(connection, since=plan.window.since, until=plan.window.until), read=read, unread=unread
        )
        last_covered = plan.window.until if plan.window.since is None else plan.window.since
        scans.save_verdicts(
            connection, verdicts, source=Source.DUMPS, checked_on=last_covered.date(), until=plan.window.until
        )
        if sources is not None and plan.window.since is None:
            outside.save_verdicts(connection, sources, until=plan.window.until)
        scans.move_watermarks(connection, job=JOB, since=plan.window.since, until=plan.window.until)
    counts = dict(verdicts.group_by("verdict").len().iter_rows())
    return Recorded(
        subscriptions=chosen,
        clean=counts.get("clean", 0),
        exposed=counts.get("exposed", 0),
        unknown=counts.get("unknown", 0),
        new_alerts=new_alerts,
    )


def judged(kinds: pl.DataFrame) -> pl.DataFrame:
    """The kinds of `judging.unjudged` with what the rules say of each."""
    flags = [field.name for field in fields(rules.BreachFlags)]
    rulings = [
        rules.judge(
            rules.BreachFlags(**{flag: row[flag] for flag in flags}),
            verified=row["verified"],
            held_by_us=row["held_by_us"],
            not_me=row["not_me"],
        )
        for row in kinds.to_dicts()
    ]
    return kinds.with_columns(
        pl.Series("judgement", [one.judgement for one in rulings], dtype=pl.String),
        pl.Series("judgement_reason", [one.reason for one in rulings], dtype=pl.String),
    )


def rated(kinds: pl.DataFrame, today: date) -> pl.DataFrame:
    """The kinds of `judging.unalerted` with how urgent each is."""
    urgencies = [
        rules.urgency(
            rules.Facts(
                data_classes=row["data_classes"],
                secret=SecretKind(row["secret"]),
                age_days=rules.age_days(row["breached_on"], today),
                reused=row["reused"],
                from_a_device=row["from_a_device"],
            )
        )
        for row in kinds.to_dicts()
    ]
    return kinds.with_columns(pl.Series("severity", urgencies, dtype=pl.String))


def _verdicts(standing: pl.DataFrame, *, read: int, unread: int) -> pl.DataFrame:
    """A verdict a subscription. The rule is asked once for those with exposures and once for those without."""
    exposed, exposed_reason = rules.verdict(exposures=1, dumps_read=read, dumps_unread=unread)
    without, without_reason = rules.verdict(exposures=0, dumps_read=read, dumps_unread=unread)
    has = pl.col("exposures") > 0
    return standing.with_columns(
        pl.when(has).then(pl.lit(exposed)).otherwise(pl.lit(without)).alias("verdict"),
        pl.when(has).then(pl.lit(exposed_reason)).otherwise(pl.lit(without_reason)).alias("reason"),
    )
