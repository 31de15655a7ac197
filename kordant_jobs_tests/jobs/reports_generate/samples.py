"""Figures of subscribers at the edges, for tests of what a report says and looks like."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.jobs.reports_generate.content import Opened
from kordant_jobs.jobs.reports_generate.rules import (
    ExposureLine,
    HistoryBar,
    Period,
    ReportFigures,
    ReportKind,
    SourceLine,
)

JUNE = Period(kind=ReportKind.MONTHLY, start_on=date(2026, 6, 1), end_on=date(2026, 7, 1))
NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)
ITEM, PHONE = UUID(int=1), UUID(int=2)
OPENED = Opened(name="Jane Roe", identifiers={ITEM: "jane.roe@watched.example", PHONE: "+12025550143"})


def exposure(
    number: int,
    *,
    item: UUID = ITEM,
    title: str | None = None,
    severity: Severity = Severity.HIGH,
    secret: str = "none",
    is_new: bool = True,
    data_classes: tuple[str, ...] = ("Email addresses", "Passwords"),
    source: str = "hibp",
) -> ExposureLine:
    """One exposure; its breach is called by its number unless it has a title."""
    return ExposureLine(
        exposure_id=UUID(int=1000 + number),
        item_id=item,
        severity=severity,
        secret=secret,
        first_seen_at=NOON - timedelta(days=0 if is_new else 60),
        is_new=is_new,
        breach_name=f"Breach{number}",
        breach_source=source,
        breach_title=title or f"Breach {number}",
        breach_domain=f"breach{number}.example",
        breached_on=date(2019, 1 + number % 12, 3),
        data_classes=data_classes,
    )


def source(verdict: Verdict, reason: str | None = None) -> SourceLine:
    """What our archive said."""
    return SourceLine(source="dumps", verdict=verdict, reason=reason, checks=30, checked_on=NOON.date())


def figures(
    *exposures: ExposureLine,
    locale: str = "en",
    sources: tuple[SourceLine, ...] | None = None,
    history: tuple[int, ...] | None = None,
    period: Period = JUNE,
) -> ReportFigures:
    """A report over these exposures."""
    history = history or (0, 2, 0, sum(one.is_new for one in exposures))
    starts = [date(2026, month, 1) for month in range(7 - len(history), 8)]  # up to July, which ends June
    return ReportFigures(
        subscription_id=UUID(int=77),
        locale=locale,
        time_zone="America/Sao_Paulo",
        period=period,
        items=((ITEM, "email"), (PHONE, "phone")),
        sources=sources or (source(Verdict.EXPOSED if exposures else Verdict.CLEAN),),
        exposures=exposures,
        history=tuple(
            HistoryBar(start_on=first, end_on=last, found=found)
            for first, last, found in zip(starts[:-1], starts[1:], history, strict=True)
        ),
    )


def typical(locale: str = "en") -> ReportFigures:
    """New and earlier exposures of several severities."""
    return figures(
        exposure(1, title="Adobe", secret="clear", severity=Severity.CRITICAL),
        exposure(
            2, title="LinkedIn", data_classes=("Email addresses", "Passwords", "Job titles", "Employers", "Names")
        ),
        exposure(2, title="LinkedIn", item=PHONE, severity=Severity.MEDIUM, data_classes=("Phone numbers",)),
        exposure(3, is_new=False, severity=Severity.MEDIUM, data_classes=("Names", "Phone numbers", "IP addresses")),
        exposure(4, is_new=False, severity=Severity.LOW, source="dump", data_classes=("Email addresses",)),
        locale=locale,
        sources=(source(Verdict.EXPOSED, "2 breach dumps could not be read yet"),),
        history=(0, 2, 0, 1, 0, 3),
    )


def many(count: int = 500) -> ReportFigures:
    """Very many exposures."""
    severities = list(Severity)
    return figures(
        *(
            exposure(n, severity=severities[n % 4], is_new=n < 40, secret="hashed" if n % 5 else "none")
            for n in range(count)
        ),
        history=(3, 60, 100, 200, 97, 40),
    )
