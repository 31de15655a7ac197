"""The rate at which reports become PDFs: ours from figures to a stored file, beside WeasyPrint on the very same HTML.

Three peers run in the same call. *Bare WeasyPrint* parses and writes each report by the library's own ways, with one
font configuration and one style sheet for all; so did our *first version*, but from figures to the stored file and
with Python's garbage collector left as it is. *The plain way* reads style and fonts again for each report. Rates are a
second of CPU, since that is what a core of a busy machine gives; only the scaling over processes is by the clock. All
from one process, so the libraries' start is not in it.
"""

import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.cli.output import err
from kordant_jobs.domain.darkwatch.exposures import Source, Verdict
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.reports_generate import layout
from kordant_jobs.jobs.reports_generate.content import Opened, write_report
from kordant_jobs.jobs.reports_generate.layout import ReportPage, lay_out
from kordant_jobs.jobs.reports_generate.pool import Renderers
from kordant_jobs.jobs.reports_generate.renderer import page_of
from kordant_jobs.jobs.reports_generate.rules import (
    ExposureLine,
    HistoryBar,
    Period,
    ReportFigures,
    ReportKind,
    SourceLine,
)
from kordant_jobs.lab.figures import Figure

JUNE = Period(kind=ReportKind.MONTHLY, start_on=date(2026, 6, 1), end_on=date(2026, 7, 1))
BAR_STARTS = [date(2026, month, 1) for month in range(1, 8)]
EXPOSURES = (0, 0, 0, 1, 2, 3, 5, 8, 12, 30)
"""Exposures of one subscriber, one of these by chance: most have none or few, some very many."""

ROUNDS = 3
"""Each way makes the reports so often, in turn; the median counts, so that a busy moment hits all or none."""

CLASSES = ("Email addresses", "Passwords", "Names", "Phone numbers", "IP addresses", "Physical addresses", "Job titles")


def sample(count: int, seed: int = 1) -> list[tuple[ReportFigures, Opened]]:
    """`count` subscribers' figures, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    return [_figures(number, chance) for number in range(count)]


def _figures(number: int, chance: random.Random) -> tuple[ReportFigures, Opened]:
    item = UUID(int=number + 1)
    found = tuple(_exposure(item, number, place, chance) for place in range(chance.choice(EXPOSURES)))
    figures = ReportFigures(
        subscription_id=UUID(int=10_000_000 + number),
        locale=chance.choice(("en", "pt-BR")),
        time_zone="America/Sao_Paulo",
        period=JUNE,
        items=((item, "email"),),
        sources=tuple(
            SourceLine(
                source=source.value,
                verdict=Verdict.EXPOSED if found else Verdict.CLEAN,
                reason=None,
                checks=30,
                checked_on=JUNE.last_on,
            )
            for source in Source
        ),
        exposures=found,
        history=tuple(
            HistoryBar(start_on=first, end_on=last, found=chance.randrange(4)) for first, last in pairwise(BAR_STARTS)
        ),
    )
    return figures, Opened(name=f"Person {number}", identifiers={item: f"person{number}@watched.example"})


def _exposure(item: UUID, number: int, place: int, chance: random.Random) -> ExposureLine:
    breach = chance.randrange(900)
    is_new = place < 2
    return ExposureLine(
        exposure_id=UUID(int=number * 1000 + place),
        item_id=item,
        severity=chance.choice(list(Severity)),
        secret=chance.choice(("none", "hashed", "clear")),
        first_seen_at=datetime(2026, 6, 20, tzinfo=UTC) - timedelta(days=0 if is_new else 60),
        is_new=is_new,
        breach_name=f"Breach{breach}",
        breach_source="hibp",
        breach_title=f"Breach {breach} of a shop",
        breach_domain=f"shop{breach}.example",
        breached_on=date(2019, 1 + breach % 12, 3),
        data_classes=tuple(chance.sample(CLASSES, 4)),
    )


def measure(*, reports: int, processes: int = 2) -> list[Figure]:
    """Make `reports` PDFs by each way.

    Raises:
        KordantError: a way made other bytes than bare WeasyPrint, so that the figures are worth nothing.
    """
    chosen = sample(reports)
    pages = [page_of(write_report(*one)) for one in chosen]
    with err.status("one report by each way …"):
        if not lay_out(pages[0]).content == _bare(pages[0]) == _plain(pages[0]):
            raise KordantError("the ways do not make the same bytes; run the tests of reports_generate.")
    try:
        with err.status("first, plain, bare, ours …"), tempfile.TemporaryDirectory(prefix="kordant-bench-") as folder:
            rates = _rates(chosen, pages, Path(folder))
    finally:
        gc.unfreeze()  # an error may have come in the middle
    with err.status("processes …"):
        alone, together = _by_processes(pages, 1), _by_processes(pages, processes)
    first, plain, bare, ours = rates
    return [
        Figure(
            key="reports_per_s_core",
            value=ours,
            unit="/s",
            goal=0.9 * bare,
            direction="min",
            peer="bare WeasyPrint, same HTML",
            peer_value=bare,
        ),
        Figure(
            key=f"reports_scaling_{processes}",
            value=together / alone,
            unit="×",
            goal=0.9 * processes,
            direction="min",
            peer="one process",
            peer_value=1.0,
        ),
        Figure(
            key="report_speedup_on_first",
            value=ours / first,
            unit="×",
            goal=3.0,
            direction="min",
            peer="the first version",
            peer_value=1.0,
        ),
        Figure(
            key="report_speedup_on_plain",
            value=ours / plain,
            unit="×",
            goal=None,
            direction="min",
            peer="fonts and style read for each",
            peer_value=1.0,
        ),
    ]


def _rates(
    chosen: Sequence[tuple[ReportFigures, Opened]], pages: Sequence[ReportPage], folder: Path
) -> tuple[float, float, float, float]:
    """Reports a second of CPU: the first version, plain, bare, ours."""
    storage = LocalReportStorage(folder)

    def ours(place: int) -> None:
        storage.put(lay_out(page_of(write_report(*chosen[place]))).content)

    def first(place: int) -> None:
        storage.put(_bare(page_of(write_report(*chosen[place]))))

    def plain(place: int) -> None:
        _plain(pages[place])

    def bare(place: int) -> None:
        _bare(pages[place])

    ways = (first, plain, bare, ours)
    seen: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for rates, way in zip(seen, ways, strict=True):
            gc.collect()
            if way is not first:
                gc.freeze()  # as in a renderer process
            rates.append(_rate(way, len(pages)))
            gc.unfreeze()
    one, two, three, four = (statistics.median(rates) for rates in seen)
    return one, two, three, four


def _rate(make: Callable[[int], None], count: int) -> float:
    started = time.process_time()
    for place in range(count):
        make(place)
    return count / (time.process_time() - started)


def _bare(page: ReportPage) -> bytes:
    """A PDF made with the library alone; style and fonts are read once."""
    from weasyprint import HTML

    return bytes(
        HTML(string=page.html).write_pdf(
            font_config=layout.fonts(),
            stylesheets=[layout.style(page.page_word, page.of_word)],
            pdf_variant="pdf/ua-1",
            pdf_identifier=page.identifier,
        )
    )


def _plain(page: ReportPage) -> bytes:
    """A PDF made with the library alone; style and fonts are read for each report."""
    from weasyprint import HTML
    from weasyprint.text.fonts import FontConfiguration

    fonts = FontConfiguration()
    return bytes(
        HTML(string=page.html).write_pdf(
            font_config=fonts,
            stylesheets=[layout.read_style(page.page_word, page.of_word, fonts)],
            pdf_variant="pdf/ua-1",
            pdf_identifier=page.identifier,
        )
    )


def _by_processes(pages: Sequence[ReportPage], processes: int) -> float:
    """Reports a second by the clock, once every process has started and made a page."""
    with Renderers(processes) as renderers:
        warm = (list(pages) * (1 + 20 // len(pages)))[:20]
        if None in list(renderers.make(warm, len(warm))):
            raise KordantError("a report could not be made; run the tests of reports_generate.")
        started = time.monotonic()
        made = sum(1 for one in renderers.make(pages, len(pages)) if one is not None)
        return made / (time.monotonic() - started)
