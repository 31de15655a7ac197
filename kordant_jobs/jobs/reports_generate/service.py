"""Load, decide, save: makes the reports of a period. Figures are computed for a whole batch at once; a report is made
only when its figures have changed since the last one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.catalog.reports_generate import ROW
from kordant_jobs.domain.insights.insight import Kind
from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.reports.receipts import SourceChecked
from kordant_jobs.domain.reports.retention import storage_key
from kordant_jobs.engine import Progress
from kordant_jobs.errors import KeyringError, SetupError, TransientError
from kordant_jobs.jobs.reports_generate.content import Opened, write_report
from kordant_jobs.jobs.reports_generate.figures import figures_of
from kordant_jobs.jobs.reports_generate.layout import Pdf, ReportPage
from kordant_jobs.jobs.reports_generate.pool import Renderers
from kordant_jobs.jobs.reports_generate.renderer import page_of
from kordant_jobs.jobs.reports_generate.rules import (
    ClipLine,
    MoneyLine,
    Period,
    PropertyDocument,
    PropertyLine,
    RemovalLine,
    ReportFigures,
    is_announced,
    period_before,
)
from kordant_jobs.ports import ReportStorage
from kordant_jobs.store.insights import reporting as money_reporting
from kordant_jobs.store.insights.reporting import MoneyFacts
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys
from kordant_jobs.store.people.tables import subscribers, watchlist_items
from kordant_jobs.store.property import notices as property_notices
from kordant_jobs.store.property import reporting as property_reporting
from kordant_jobs.store.property.reporting import PropertyFacts
from kordant_jobs.store.property.tables import watched_properties
from kordant_jobs.store.removals import reporting as removal_requests
from kordant_jobs.store.reports import notices as report_notices
from kordant_jobs.store.reports import receipts, reports
from kordant_jobs.store.reports import retention as report_retention
from kordant_jobs.store.reports.reports import ReportFacts, ReportRow
from kordant_jobs.store.voice import analyses as clip_analyses
from kordant_jobs.store.voice.analyses import ClipFacts
from kordant_jobs.store.voice.tables import voice_consents

JOB = "reports_generate"
TIERS = tuple(Tier(one) for one in ROW.partitions)
"""Tiers that include reports. A report for another tier, which an operator made, is not announced."""

BATCH = 200
"""Subscriptions whose figures are loaded at once."""

CHUNKS_MAX = 8
CHUNK_MIN = 1000
"""The least reports for a chunk of its own: each chunk starts its own renderer processes, at about 1.3 CPU s a core."""

SAVE_EVERY = 20
"""Reports made between two writes of their rows. A crash repeats at most these, at about 0.15 s each."""


@dataclass(frozen=True, kw_only=True)
class ReportScope:
    """The subscriptions to make reports for: active ones of `tiers` (empty: of all tiers), or only those named."""

    tiers: tuple[str, ...] = ()
    subscription_ids: tuple[UUID, ...] | None = None
    only_affected: bool = False


@dataclass(frozen=True, kw_only=True)
class ReportPlan:
    """The reports that one run makes: ids only. `chunks` are lists of subscriptions."""

    period: Period
    force: bool
    chunks: tuple[tuple[UUID, ...], ...]

    @property
    def total(self) -> int:
        """The number of subscriptions whose reports are due."""
        return sum(map(len, self.chunks))


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """The result of making reports. `forgotten` subscribers have no key any more; `failed` reports are left out.
    `replaced` counts characters that no font has: they were written in Latin letters, with a note."""

    subscriptions: int = 0
    made: int = 0
    unchanged: int = 0
    forgotten: int = 0
    failed: int = 0
    pages: int = 0
    replaced: int = 0

    def __add__(self, other: ReportSummary) -> ReportSummary:
        return ReportSummary(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def plan(scope: ReportScope, period: Period, *, force: bool = False, db: Engine) -> ReportPlan:
    """The subscriptions with a due report, in chunks."""
    with db.connect() as connection:
        due = reports.chosen(
            connection,
            tiers=scope.tiers,
            subscription_ids=scope.subscription_ids,
            only_affected=scope.only_affected,
            end=period.end_on,
        )
    return ReportPlan(period=period, force=force, chunks=chunked(due))


def chunked(due: Sequence[UUID]) -> tuple[tuple[UUID, ...], ...]:
    """The subscriptions in chunks, none empty.

    >>> [len(chunk) for chunk in chunked([UUID(int=n) for n in range(1001)])]
    [501, 500]
    >>> chunked([])
    ()
    """
    count = min(CHUNKS_MAX, -(-len(due) // CHUNK_MIN))
    return tuple(tuple(due[place::count]) for place in range(count))


def generate(
    subscription_ids: Sequence[UUID],
    period: Period,
    *,
    db: Engine,
    keyring: Keyring,
    storage: ReportStorage,
    progress: Progress,
    force: bool = False,
    processes: int | None = None,
    today: date | None = None,
) -> ReportSummary:
    """Make the reports of these subscriptions. Safe to repeat: a report whose figures did not change is not made again,
    unless `force`.

    More than a few are laid out by `processes` separate processes (default: one for each core), which end with this
    call. `today` decides whether reports are announced to their subscribers (unset: they are not).

    Raises:
        TransientError: a report could not be stored. Those made before it are kept.
        SetupError: the machine lacks what PDFs need.
    """
    total = ReportSummary()
    announced = today is not None and is_announced(period, today)
    with Renderers(processes) as renderers:
        for start in range(0, len(subscription_ids), BATCH):
            total += _generate_batch(
                subscription_ids[start : start + BATCH],
                period,
                db=db,
                keyring=keyring,
                storage=storage,
                progress=progress,
                renderers=renderers,
                force=force,
                announced=announced,
            )
    return total


def _generate_batch(
    batch: Sequence[UUID],
    period: Period,
    *,
    db: Engine,
    keyring: Keyring,
    storage: ReportStorage,
    progress: Progress,
    renderers: Renderers,
    force: bool,
    announced: bool,
) -> ReportSummary:
    with db.connect() as connection:
        facts = reports.facts(
            connection,
            batch,
            kind=period.kind,
            before=period_before(period).start_on,
            start=period.start_on,
            end=period.end_on,
        )
        known = reports.known_figures(connection, batch, kind=period.kind, start=period.start_on, end=period.end_on)
        asked = removal_requests.lines(connection, batch)
        heard = clip_analyses.facts(connection, batch, start=period.start_on, end=period.end_on)
        watched = property_reporting.property_facts(connection, batch, start=period.start_on, end=period.end_on)
        accounts = money_reporting.money_facts(connection, keyring, batch, start=period.start_on, end=period.end_on)
        keys = keyring.load_keys(connection, list(facts.people["subscriber_id"]))
    removals = {own: [RemovalLine(**line) for line in found] for own, found in asked.items()}
    properties = {own: [property_line(line) for line in found] for own, found in watched.watches.items()}
    money = {
        own: [MoneyLine(**{**line, "kind": Kind(line["kind"])}) for line in found]
        for own, found in accounts.lines.items()
    }
    clips = {own: [ClipLine(**line) for line in found] for own, found in heard.clips.items()}
    sealed = _SealedFacts(facts, watched, accounts, heard, keys, keyring)
    total = ReportSummary(subscriptions=len(facts.people))
    due: list[ReportFigures] = []
    for figures in figures_of(facts, period, removals, properties, money, clips):
        if not force and known.get(figures.subscription_id) == figures.sha256():
            total += ReportSummary(unchanged=1)
        elif not sealed.readable(figures.subscription_id):
            total += ReportSummary(forgotten=1)
        else:
            due.append(figures)
    progress.advance(total.unchanged + total.forgotten, "making reports")
    with db.begin() as connection:
        lines = receipts.issue(connection, [unsigned(figures) for figures in due], keyring.receipt_key)
    rows: list[ReportRow] = []
    try:
        for figures, pdf in zip(due, renderers.make(_pages(due, sealed, lines), len(due)), strict=True):
            if pdf is None:
                total += ReportSummary(failed=1)
            else:
                rows.append(_row(figures, pdf, storage, db))
                total += ReportSummary(made=1, pages=pdf.pages, replaced=pdf.replaced)
            progress.advance(1, "making reports")
            if len(rows) >= SAVE_EVERY:
                _save(db, rows, announced=announced)
    finally:
        _save(db, rows, announced=announced)
    return total


def _save(db: Engine, rows: list[ReportRow], *, announced: bool) -> None:
    """Write the rows and queue the notifications of the reports, then clear the list."""
    if rows:
        with db.begin() as connection:
            saved = reports.save(connection, rows)
            if announced:
                report_notices.queue(connection, saved, tiers=TIERS)
        rows.clear()


def _row(figures: ReportFigures, pdf: Pdf, storage: ReportStorage, db: Engine) -> ReportRow:
    """The stored report's row. The file exists before the row, and is protected from deletion meanwhile."""
    report_retention.spare(db, storage_key(pdf.content))
    key = storage.put(pdf.content)
    return ReportRow(
        subscription_id=figures.subscription_id,
        kind=figures.period.kind,
        period_start_on=figures.period.start_on,
        period_end_on=figures.period.end_on,
        figures=figures.as_counts(),
        figures_sha256=figures.sha256(),
        content_sha256=hashlib.sha256(pdf.content).digest(),
        storage_key=key,
        pages=pdf.pages,
    )


def unsigned(figures: ReportFigures) -> receipts.Unsigned:
    """The content of the receipt of this report."""
    return receipts.Unsigned(
        subscription_id=figures.subscription_id,
        kind=figures.period.kind,
        start_on=figures.period.start_on,
        end_on=figures.period.end_on,
        figures_sha256=figures.sha256(),
        verdict=figures.overall,
        items=len(figures.items),
        sources=tuple(
            SourceChecked(
                source=one.source, verdict=one.verdict, reason=one.reason, days=one.checks, last=one.checked_on
            )
            for one in figures.sources
        ),
    )


def property_line(line: Mapping[str, Any]) -> PropertyLine:
    """The figures' form of a row of `store.property.reporting`."""
    documents = {name: tuple(PropertyDocument(**one) for one in line[name]) for name in ("events", "open_charges")}
    return PropertyLine(**{**line, **documents})


class _SealedFacts:
    """Decrypts the values that one report needs of the batch, when the report is made."""

    def __init__(
        self,
        facts: ReportFacts,
        watched: PropertyFacts,
        accounts: MoneyFacts,
        heard: ClipFacts,
        keys: SubscriberKeys,
        keyring: Keyring,
    ) -> None:
        self._keys, self._accounts, self._keyring, self._parties = keys, accounts, keyring, watched.parties
        self._members = heard.sealed
        self._parcels = watched.sealed
        self._people = {row["subscription_id"]: row for row in facts.people.to_dict("records")}
        self._items = {row["id"]: row["identifier_encrypted"] for row in facts.items.to_dict("records")}

    def readable(self, subscription_id: UUID) -> bool:
        return self._people[subscription_id]["subscriber_id"] in self._keys

    def _names(self, instrument_id: UUID) -> str:
        """The givers and the takers."""
        givers, takers = property_notices.parties(self._keyring, instrument_id, self._parties[instrument_id])
        return " → ".join("; ".join(names) for names in (givers, takers) if names)

    def open(self, figures: ReportFigures) -> Opened:
        person = self._people[figures.subscription_id]
        owner, name = person["subscriber_id"], person["name_encrypted"]
        opened = partial(self._keys.open, owner)
        person_of = voice_consents.c.person_encrypted
        identifier, parcel = watchlist_items.c.identifier_encrypted, watched_properties.c.parcel_encrypted
        return Opened(
            name=opened(subscribers.c.name_encrypted, owner, name),
            identifiers={item: opened(identifier, item, self._items[item]) for item, _ in figures.items},
            parcels={
                line.watch_id: opened(parcel, line.watch_id, self._parcels[line.watch_id])
                for line in figures.properties
                if line.has_parcel
            },
            parties={
                one.instrument_id: said
                for one in figures.documents
                if one.instrument_id is not None
                and one.instrument_id in self._parties
                and (said := self._names(one.instrument_id))
            },
            payees={
                line.line_id: text
                for line in figures.money
                if line.line_id is not None and (text := self._accounts.payee_line(line.line_id))
            },
            members={
                line.analysis_id: opened(person_of, *self._members[line.analysis_id])
                for line in figures.clips
                if line.analysis_id in self._members
            },
        )


def _pages(
    due: Sequence[ReportFigures], sealed: _SealedFacts, lines: Mapping[UUID, str]
) -> Iterator[ReportPage | None]:
    """Each report's page, None when it cannot be written: an error with one subscriber does not stop the reports of the
    others."""
    for figures in due:
        try:
            page = page_of(write_report(figures, sealed.open(figures), lines[figures.subscription_id]))
        except (SetupError, TransientError, MemoryError):
            raise
        except KeyringError:
            page = None
        except Exception:  # noqa: BLE001 - counted as failed; the message could hold what the report shows
            page = None
        yield page
