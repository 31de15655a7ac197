"""The report's section on clips: what is said of each, over time, and never that all is well."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.reports_generate import service as reports_service
from kordant_jobs.jobs.reports_generate.clips import ROWS_MAX, clip_section
from kordant_jobs.jobs.reports_generate.content import write_report
from kordant_jobs.jobs.reports_generate.renderer import page_of
from kordant_jobs.jobs.reports_generate.rules import ClipLine, Period, ReportKind
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.wording import wording
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, figures
from kordant_jobs_tests.jobs.voiceprint_batch.desk import PERSON, desk_of
from kordant_jobs_tests.voices import GRANDMOTHER, spoken_wav
from kordant_jobs_tests.wording.test_voice_words import NEVER

ANALYSIS, ZONE = UUID(int=900), "America/Sao_Paulo"
TODAY = datetime.now(UTC).date()
PERIOD = Period(kind=ReportKind.ON_DEMAND, start_on=TODAY - timedelta(days=6), end_on=TODAY + timedelta(days=2))
"""It holds what is written now, also when the run of the tests passes midnight."""
LINE = ClipLine(
    analysis_id=ANALYSIS,
    clip_id=UUID(int=0xABCDEF),
    received_at=datetime(2026, 11, 20, 17, 44, tzinfo=UTC),
    seconds=25.2,
    severity="high",
    status="ok",
    reason=None,
    match="consistent",
    synthesis="signs_of_synthesis",
    band="wide",
    voices=1,
    is_whole=True,
    windows=("signs_of_synthesis", "inconclusive", "no_signs_found", "signs_of_synthesis"),
)


@pytest.mark.parametrize("locale", list(Locale))
def test_a_row_says_what_it_is_like_and_its_picture_can_be_read_aloud(locale: Locale) -> None:
    section = clip_section(wording(locale), [LINE], {ANALYSIS: PERSON}, ZONE)
    [row] = section.rows
    assert "14:44 UTC-3\nabcdef, 0:25" in row.received
    assert section.legend
    said = " ".join(text for _, text in row.lines)
    assert PERSON in said
    assert row.picture.count("<rect") == 4
    title = re.search("<title>(.*)</title>", row.picture)
    assert title
    assert "2 of 4" in title[1] or "2 de 4" in title[1]
    for text in (said, section.limits, title[1], *section.actions, *section.heads):
        assert not re.search(NEVER[locale], text, re.IGNORECASE), text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (replace(LINE, status="unknown", reason="model_missing"), "waits to be analysed"),
        (replace(LINE, status="unknown", reason="analysis_failed"), "Not known"),
        (replace(LINE, status="undecodable", reason="not_sound"), "no sound that we can read"),
        (replace(LINE, status="insufficient_speech"), "too little speech"),
        (replace(LINE, match=None, synthesis=None), "not compared"),
        (replace(LINE, voices=3), "several voices in it (3)"),
        (replace(LINE, status="unknown", reason="partly_read"), "too little speech in that part"),
        (replace(LINE, synthesis="inconclusive"), "In 2 of 4 parts alone there are signs"),
    ],
)
def test_every_kind_of_result_has_its_words(line: ClipLine, words: str) -> None:
    [row] = clip_section(wording(Locale.EN), [line], {}, ZONE).rows
    assert words in " ".join(text for _, text in row.lines)


def test_many_clips_are_counted_and_they_are_part_of_what_a_report_shows() -> None:
    section = clip_section(wording(Locale.EN), [LINE] * (ROWS_MAX + 2), {}, ZONE)
    assert (len(section.rows), section.more) == (ROWS_MAX, "And 2 more.")
    plain = figures()
    assert replace(plain, clips=(LINE,)).sha256() != plain.sha256()
    page = page_of(write_report(replace(plain, clips=(LINE,)), replace(OPENED, members={ANALYSIS: PERSON})))
    assert PERSON in page.html
    assert "No analysis of sound can tell who is speaking" in page.html


def test_the_worst_clip_is_the_first_row_however_old_it_is() -> None:
    calm = replace(LINE, severity=None, match="not_consistent", synthesis="no_signs_found")
    newer = [replace(calm, received_at=LINE.received_at + timedelta(hours=n)) for n in range(1, ROWS_MAX + 9)]
    shown = clip_section(wording(Locale.EN), [*reversed(newer), LINE], {ANALYSIS: PERSON}, ZONE).rows
    assert PERSON in str(shown[0].lines)
    assert "22, 2026" in shown[1].received


@pytest.mark.parametrize("locale", list(Locale))
def test_a_report_with_a_voice_alert_never_says_that_nothing_was_found(locale: Locale) -> None:
    nothing = replace(figures(), locale=locale.value, exposures=(), closed=(), properties=())
    told = replace(nothing, clips=(LINE, replace(LINE, severity="medium", synthesis="no_signs_found")))
    before, after = write_report(nothing, OPENED), write_report(told, replace(OPENED, members={ANALYSIS: PERSON}))
    assert after.headline.startswith("1 clip with" if locale is Locale.EN else "1 áudio com")
    assert (before.headline, before.state) != (after.headline, after.state)
    assert after.state == "new"
    assert any(one.label in {"voice alerts", "alertas de voz"} and one.value == "1" for one in after.tiles)
    assert told.as_counts()["voice_alerts"] == 1
    for text in (after.headline, after.lead, *after.changes):
        assert not re.search(NEVER[locale], text, re.IGNORECASE), text


def test_a_report_is_made_again_for_a_clip_of_its_period_only(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    desk = desk_of(db, keyring)
    desk.enrol()
    later = replace(PERIOD, start_on=PERIOD.end_on, end_on=PERIOD.end_on + timedelta(days=7))

    def made(period: Period) -> int:
        return reports_service.generate(
            [desk.person.subscription_id], period, db=db, keyring=keyring, storage=LocalReportStorage(tmp_path / "pdf"),
            progress=Progress(db, "run"),
        ).made  # fmt: skip

    assert (made(PERIOD), made(PERIOD), made(later)) == (1, 0, 1)
    desk.give(spoken_wav(GRANDMOTHER, 1))
    desk.run()
    assert (made(PERIOD), made(later)) == (1, 0)
