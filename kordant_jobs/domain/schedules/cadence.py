"""Decides which subscriptions a tick serves, which ticks were missed, and what a tick does about them. Pure.

Each subscription has an anchor (its day of the week or month) and a slot, a stable number below SLOTS. On a day, the
subscriptions with a due anchor are distributed over the day's ticks by slot. Progress is one position, (day, slot),
that only moves forward: everything between two positions is served once, even after an outage, an edit or a change of
the clocks.
"""

import calendar
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from kordant_jobs.domain.schedules.cron import next_after, occurrences, ticks_on, zone_of
from kordant_jobs.domain.schedules.rows import Anchor, Cadence, CatchUp, Overlap, ScheduleRow

SLOTS = 1 << 30
NO_ANCHOR = 0
"""The anchor of subscriptions that are due together with all others of their row."""

ON_TIME_S = 300.0
"""Seconds after which a tick counts as missed, so that its row's catch-up policy decides."""

_A_DAY = timedelta(days=1)
_LOST_DAYS = 3
"""More consecutive days than any time zone ever skipped."""


@dataclass(frozen=True, order=True)
class Position:
    """The position up to which everything due is done: (day, slot)."""

    on: date
    slot: int = 0


@dataclass(frozen=True, kw_only=True)
class Span:
    """The subscriptions with this anchor and first ≤ slot < past, on the day `on`."""

    on: date
    anchor: int
    first: int
    past: int


@dataclass(frozen=True, kw_only=True)
class Start:
    """One thing to start for a tick at `due_at`, for these subscriptions (no span: for the job as a whole)."""

    due_at: datetime
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a row: ticks up to `until` were handled, subscriptions before `position` were served or skipped.
    `held`: something is due and waits for the row's own earlier run."""

    until: datetime
    position: Position
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The result of checking a row. `reason` explains why nothing starts."""

    progress: Progress
    starts: tuple[Start, ...] = ()
    dropped: tuple[Start, ...] = ()
    cancel_earlier_runs: bool = False
    reason: str = ""


def due_anchors(row: ScheduleRow, on: date) -> tuple[int, ...]:
    """The anchors due on that day. An anchor that the month lacks is due on its last day.

    >>> monthly = ScheduleRow(job="x", cadence=Cadence.MONTHLY, cron="0 2 * * *")
    >>> due_anchors(monthly, date(2026, 2, 28)), due_anchors(monthly, date(2024, 2, 28))
    ((28, 29, 30, 31), (28,))
    """
    if row.cadence is Cadence.DAILY:
        return (NO_ANCHOR,)
    if row.anchor is Anchor.CALENDAR:
        first = on.isoweekday() == 1 if row.cadence is Cadence.WEEKLY else on.day == 1
        return (NO_ANCHOR,) if first else ()
    if row.cadence is Cadence.WEEKLY:
        return (on.isoweekday(),)
    last = calendar.monthrange(on.year, on.month)[1]
    return tuple(range(on.day, 32)) if on.day == last else (on.day,)


def period_of(row: ScheduleRow, anchor: int, on: date) -> tuple[date, date]:
    """The days since the last service (included) up to `on` (excluded): a subscription's periods follow without gaps.

    >>> monthly = ScheduleRow(job="x", cadence=Cadence.MONTHLY, cron="0 2 * * *")
    >>> [str(day) for day in period_of(monthly, 31, date(2026, 2, 28))]
    ['2026-01-31', '2026-02-28']
    """
    before = on - _A_DAY
    while anchor not in due_anchors(row, before):
        before -= _A_DAY
    return before, on


def _ticks(row: ScheduleRow, on: date) -> tuple[datetime, ...]:
    ticks = ticks_on(row.cron, row.time_zone, on, row.gap, row.fold)
    return ticks if row.spread else ticks[:1]


def position_at(row: ScheduleRow, moment: datetime) -> Position:
    """The position of a row that missed nothing up to `moment`, included."""
    today = moment.astimezone(zone_of(row.time_zone)).date()
    for back in range(-1, _LOST_DAYS + 1):
        on = today - back * _A_DAY
        ticks = _ticks(row, on)
        if passed := bisect_right(ticks, moment):
            share = passed * SLOTS // len(ticks)
            return Position(on + _A_DAY) if share == SLOTS else Position(on, share)
    return Position(today)


def spans_between(row: ScheduleRow, start: Position, end: Position) -> Iterator[Span]:
    """The spans between two positions, by day and anchor, in order."""
    on = start.on
    while on <= end.on and start < end:
        first = start.slot if on == start.on else 0
        past = end.slot if on == end.on else SLOTS
        if first < past:
            for anchor in due_anchors(row, on):
                yield Span(on=on, anchor=anchor, first=first, past=past)
        on += _A_DAY


def next_due(row: ScheduleRow, anchor: int, slot: int, after: datetime) -> datetime | None:
    """The next service of a subscription with this anchor and slot; None when there is none within 13 months."""
    on = after.astimezone(zone_of(row.time_zone)).date() - _A_DAY
    for _ in range(400):
        if anchor in due_anchors(row, on):
            for place, tick in enumerate(ticks := _ticks(row, on), start=1):
                if slot < place * SLOTS // len(ticks):
                    if tick > after:
                        return tick
                    break
        on += _A_DAY
    return None


def next_tick(row: ScheduleRow, now: datetime) -> datetime | None:
    """The row's first tick after `now`."""
    return next_after(row.cron, row.time_zone, now, gap=row.gap, fold=row.fold)


def fresh_progress(row: ScheduleRow, now: datetime) -> Progress:
    """The progress of a row that has nothing overdue at `now`."""
    position = Position(now.date()) if row.cadence is Cadence.EVERY_TICK else position_at(row, now)
    return Progress(until=now, position=position)


def decide(row: ScheduleRow, progress: Progress, now: datetime, *, busy: bool = False) -> Decision:
    """Decide what an active row starts at `now`; `busy`: a run of this row is still active. A repeated call for the
    same time, or an earlier one, starts nothing."""
    if now <= progress.until and not progress.held:
        return Decision(progress=progress, reason="this tick is past: everything up to it was handled")
    now = max(now, progress.until)
    due, dropped = _due(row, progress, now)
    done = Progress(until=now, position=progress.position)
    if row.cadence is not Cadence.EVERY_TICK:
        done = replace(done, position=max(progress.position, position_at(row, now)))
    if not due:
        reason = "missed, and dropped as its catch-up says" if dropped else "nothing is due at this tick"
        return Decision(progress=done, dropped=dropped, reason=reason)
    if busy and row.overlap is Overlap.SKIP:
        return Decision(progress=done, dropped=(*dropped, *due), reason="its last run is still under way: skipped")
    if busy and row.overlap in {Overlap.QUEUE_ONE, Overlap.QUEUE_ALL}:
        held = _waiting(row, progress, done, due)
        return Decision(progress=held, dropped=dropped, reason="its last run is still under way: waits for it")
    if row.overlap is Overlap.QUEUE_ALL and len(due) > 1:
        rest = _waiting(row, replace(progress, until=due[0].due_at), done, due[1:])
        return Decision(progress=rest, starts=due[:1], dropped=dropped)
    cancel_earlier_runs = busy and row.overlap is Overlap.CANCEL_OTHER
    return Decision(progress=done, starts=due, dropped=dropped, cancel_earlier_runs=cancel_earlier_runs)


def _waiting(row: ScheduleRow, progress: Progress, done: Progress, due: tuple[Start, ...]) -> Progress:
    """The progress of a row whose `due` starts wait: just before the first of them."""
    if row.cadence is Cadence.EVERY_TICK:
        return replace(progress, held=True)
    first = min(Position(span.on, span.first) for start in due for span in start.spans)
    return replace(done, position=first, held=True)


def _due(row: ScheduleRow, progress: Progress, now: datetime) -> tuple[tuple[Start, ...], tuple[Start, ...]]:
    """The starts due, for each day together, and the dropped ticks; both oldest first."""
    found = _whole(row, progress, now) if row.cadence is Cadence.EVERY_TICK else _served(row, progress, now)
    on_time = now - timedelta(seconds=ON_TIME_S)
    window = min(on_time, now - timedelta(seconds=row.catch_up_window_s))
    if progress.held:  # what waited was not missed
        newest_only, oldest = row.overlap is Overlap.QUEUE_ONE, None
    else:
        newest_only = row.catch_up is CatchUp.LATEST
        oldest = on_time if row.catch_up is CatchUp.NONE else window
    kept = [one for one in found if oldest is None or one.due_at >= oldest]
    if newest_only:
        kept = _newest(kept)
    moments = {one.due_at for one in kept}
    return tuple(_by_day(kept)), tuple(one for one in found if one.due_at not in moments)


def _whole(row: ScheduleRow, progress: Progress, now: datetime) -> list[Start]:
    ticks = occurrences(row.cron, row.time_zone, after=progress.until, until=now, gap=row.gap, fold=row.fold)
    return [Start(due_at=tick) for tick in ticks]


def _served(row: ScheduleRow, progress: Progress, now: datetime) -> list[Start]:
    """One start for each tick: the positions between one tick and the next."""
    starts: list[Start] = []
    here = progress.position
    last_on = now.astimezone(zone_of(row.time_zone)).date() + _A_DAY
    days = ((last_on - here.on).days + _LOST_DAYS) if last_on >= here.on else _LOST_DAYS
    ticks = {tick for back in range(days + 1) for tick in _ticks(row, last_on - back * _A_DAY) if tick <= now}
    ordered = sorted(ticks)
    passed = bisect_right(ordered, here, key=lambda tick: position_at(row, tick))
    for tick in ordered[passed:]:
        there = position_at(row, tick)
        if spans := tuple(spans_between(row, here, there)):
            starts.append(Start(due_at=tick, spans=spans))
        here = max(here, there)
    return starts


def _newest(starts: Sequence[Start]) -> list[Start]:
    """Each subscription once, at the newest tick at which it is due; a whole job once."""
    kept: list[Start] = []
    seen: dict[int, list[Span]] = {}
    for start in reversed(starts):
        if not start.spans:
            return [start]
        spans: list[Span] = []
        for span in start.spans:
            taken = seen.setdefault(span.anchor, [])
            spans += _less(span, taken)
            taken.append(span)
        if spans:
            kept.append(replace(start, spans=tuple(spans)))
    return kept[::-1]


def _less(span: Span, taken: Iterable[Span]) -> list[Span]:
    """The parts of `span` that are in none of `taken`."""
    pieces = [span]
    for other in taken:
        cut: list[Span] = []
        for piece in pieces:
            if other.past <= piece.first or piece.past <= other.first:
                cut.append(piece)
                continue
            if piece.first < other.first:
                cut.append(replace(piece, past=other.first))
            if other.past < piece.past:
                cut.append(replace(piece, first=other.past))
        pieces = cut
    return pieces


def _by_day(starts: Iterable[Start]) -> list[Start]:
    """Ticks that serve the same day, combined into one start at the last of them."""
    whole = [start for start in starts if not start.spans]
    days: dict[date, tuple[datetime, list[Span]]] = {}
    for start in starts:
        for span in start.spans:
            days[span.on] = (start.due_at, _joined(days[span.on][1] if span.on in days else [], span))
    return whole + [Start(due_at=days[on][0], spans=tuple(days[on][1])) for on in sorted(days)]


def _joined(spans: list[Span], new: Span) -> list[Span]:
    for place, span in enumerate(spans):
        if span.anchor == new.anchor and span.past == new.first:
            return [*spans[:place], replace(span, past=new.past), *spans[place + 1 :]]
    return [*spans, new]
