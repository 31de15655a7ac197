"""The figures of many reports at once, from the frames of `store.reports.reports`. No database and no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kordant_jobs.domain.darkwatch.exposures import Source, Verdict
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.jobs.reports_generate.rules import (
    PERIODS_BACK,
    ClipLine,
    ClosedLine,
    CloseReason,
    ExposureLine,
    HistoryBar,
    MoneyLine,
    Period,
    PropertyLine,
    RemovalLine,
    ReportFigures,
    SourceLine,
    period_before,
)
from kordant_jobs.store.reports.reports import ReportFacts

if TYPE_CHECKING:
    import pandas as pd


NOT_CHECKED = "not checked in this period"


def figures_of(
    facts: ReportFacts,
    period: Period,
    removals: Mapping[UUID, Sequence[RemovalLine]] = MappingProxyType({}),
    properties: Mapping[UUID, Sequence[PropertyLine]] = MappingProxyType({}),
    money: Mapping[UUID, Sequence[MoneyLine]] = MappingProxyType({}),
    clips: Mapping[UUID, Sequence[ClipLine]] = MappingProxyType({}),
) -> Iterator[ReportFigures]:
    """The figures of each subscription in `facts`, by id."""
    periods = [period]
    while len(periods) <= PERIODS_BACK:
        periods.append(period_before(periods[-1]))
    items = _parts(facts.items)
    is_before = facts.verdicts["checked_on"].map(lambda day: day < period.start_on).astype(bool)
    sources = _parts(_source_lines(facts.verdicts[~is_before]))
    before = _parts(_source_lines(facts.verdicts[is_before]))
    closed = _parts(facts.closed)
    exposures = _parts(_with_newness(facts.exposures, period))
    history = _history(facts.seen, periods)
    for person in facts.people.sort_values("subscription_id", key=lambda ids: ids.map(str)).to_dict("records"):
        own = person["subscription_id"]
        yield ReportFigures(
            subscription_id=own,
            locale=person["locale"],
            time_zone=person["time_zone"],
            period=period,
            items=tuple((row["id"], row["kind"]) for row in items.get(own, ())),
            sources=_all_sources(sources.get(own, []), before.get(own, []), _zone(person["time_zone"])),
            exposures=tuple(_exposure(row) for row in exposures.get(own, ())),
            history=tuple(
                HistoryBar(start_on=one.start_on, end_on=one.end_on, found=int(history.get((own, place), 0)))
                for place, one in reversed(list(enumerate(periods)))
                if one.end_on > person["started_at"].date() or place == 0
            ),
            closed=tuple(_closed(row) for row in closed.get(own, ())),
            items_added=int(person["items_added"]),
            items_removed=int(person["items_removed"]),
            removals=tuple(removals.get(own, ())),
            properties=tuple(properties.get(own, ())),
            money=tuple(money.get(own, ())),
            clips=tuple(clips.get(own, ())),
        )


def _parts(frame: pd.DataFrame) -> dict[UUID, list[dict[str, Any]]]:
    """The rows of each subscription."""
    parts: dict[UUID, list[dict[str, Any]]] = {}
    for row in frame.to_dict("records"):
        parts.setdefault(row["subscription_id"], []).append({str(key): value for key, value in row.items()})
    return parts


def _source_lines(verdicts: pd.DataFrame) -> pd.DataFrame:
    """A row for each subscription and source: the last verdict of the period, and the number of verdicts."""
    by = verdicts.groupby(["subscription_id", "source"], sort=False)
    return by.tail(1).assign(checks=lambda last: by.cumcount().loc[last.index] + 1)


def _all_sources(rows: list[dict[str, Any]], before: list[dict[str, Any]], zone: ZoneInfo) -> tuple[SourceLine, ...]:
    """The sources that answered, and those that should have: our own archive, and those that answered in the period
    before. A source that was not asked is shown as unknown, not left out."""
    was = {row["source"]: Verdict(row["verdict"]) for row in before}
    found = {
        row["source"]: SourceLine(
            source=row["source"],
            verdict=Verdict(row["verdict"]),
            reason=row["reason"],
            checks=int(row["checks"]),
            checked_on=row["checked_at"].astimezone(zone).date(),
            before=was.get(row["source"]),
        )
        for row in rows
    }
    for source in (Source.DUMPS.value, *was):
        unasked = SourceLine(
            source=source,
            verdict=Verdict.UNKNOWN,
            reason=NOT_CHECKED,
            checks=0,
            checked_on=None,
            before=was.get(source),
        )
        found.setdefault(source, unasked)
    return tuple(found[source] for source in sorted(found))


def _zone(name: str) -> ZoneInfo:
    """The time zone; UTC for an unknown name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _with_newness(exposures: pd.DataFrame, period: Period) -> pd.DataFrame:
    start = _midnight(period.start_on)
    return exposures.assign(is_new=exposures["first_seen_at"].map(lambda moment: moment >= start))


def _history(seen: pd.DataFrame, periods: list[Period]) -> dict[tuple[UUID, int], int]:
    """The number of exposures of each subscription and period, by the period's place in `periods` (newest first)."""
    if seen.empty:
        return {}
    import pandas as pd  # half a second that only a run which makes reports should pay

    edges = pd.DatetimeIndex([_midnight(one.start_on) for one in reversed(periods)])
    after = edges.searchsorted(pd.DatetimeIndex(seen["first_seen_at"]), side="right")
    counted = seen.assign(place=len(periods) - after).groupby(["subscription_id", "place"]).size().reset_index()
    return {(own, int(place)): int(count) for own, place, count in counted.itertuples(index=False)}


def _closed(row: dict[str, Any]) -> ClosedLine:
    return ClosedLine(
        exposure_id=row["exposure_id"],
        breach_name=row["breach_name"],
        breach_source=row["breach_source"],
        breach_title=row["breach_title"],
        reason=CloseReason(row["reason"]),
    )


def _exposure(row: dict[str, Any]) -> ExposureLine:
    return ExposureLine(
        exposure_id=row["exposure_id"],
        item_id=row["item_id"],
        severity=Severity(row["severity"]),
        secret=row["secret"],
        first_seen_at=row["first_seen_at"],
        is_new=bool(row["is_new"]),
        breach_name=row["breach_name"],
        breach_source=row["breach_source"],
        breach_title=row["breach_title"],
        breach_domain=row["breach_domain"],
        breached_on=row["breached_on"],
        data_classes=tuple(row["data_classes"]),
    )
