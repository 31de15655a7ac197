from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.removals.clocks import Ask, Law, add_business_days, add_months, deadlines

DAYS = st.dates(date(2020, 1, 1), date(2035, 12, 31))


@pytest.mark.parametrize(
    ("law", "ask", "received", "confirm", "answer", "extended"),
    [
        (Law.CCPA, Ask.DELETION, "2026-12-18", "2027-01-05", "2027-02-01", "2027-03-18"),  # Christmas, New Year
        (Law.CCPA, Ask.DELETION, "2026-11-20", "2026-12-08", "2027-01-04", "2027-02-18"),  # Thanksgiving, day after
        (Law.CCPA, Ask.OPT_OUT, "2026-03-02", None, "2026-03-23", "2026-03-23"),
        (Law.GDPR, Ask.DELETION, "2026-01-31", None, "2026-02-28", "2026-04-30"),
        (Law.GDPR, Ask.DELETION, "2028-01-30", None, "2028-02-29", "2028-04-30"),
        (Law.LGPD, Ask.DELETION, "2026-02-13", None, "2026-02-28", "2026-02-28"),
        (Law.TEXAS, Ask.DELETION, "2026-05-01", None, "2026-06-15", "2026-07-30"),
        (Law.OREGON, Ask.OPT_OUT, "2026-05-01", None, "2026-06-15", "2026-07-30"),
        (Law.IOWA, Ask.DELETION, "2026-05-01", None, "2026-07-30", "2026-09-13"),
        (Law.VOLUNTARY, Ask.DELETION, "2026-05-01", None, "2026-06-15", "2026-06-15"),
    ],
)
def test_deadlines_are_those_of_the_law(
    law: Law, ask: Ask, received: str, confirm: str | None, answer: str, extended: str
) -> None:
    found = deadlines(law, ask, date.fromisoformat(received))
    assert found.confirm_by_on == (date.fromisoformat(confirm) if confirm else None)
    assert (found.answer_by_on.isoformat(), found.extended_by_on.isoformat()) == (answer, extended)


@given(st.sampled_from(Law), st.sampled_from(Ask), DAYS)
def test_a_deadline_lies_after_the_day_of_receipt_and_an_extension_never_shortens_it(
    law: Law, ask: Ask, received: date
) -> None:
    found = deadlines(law, ask, received)
    assert received < found.answer_by_on <= found.extended_by_on
    if found.confirm_by_on:
        assert received < found.confirm_by_on <= found.answer_by_on


@given(DAYS, st.integers(1, 24))
def test_months_keep_the_day_or_take_the_last(start: date, months: int) -> None:
    found = add_months(start, months)
    assert (found.year * 12 + found.month) - (start.year * 12 + start.month) == months
    assert found.day == start.day or (found + timedelta(days=1)).day == 1


@given(DAYS, st.integers(1, 30))
def test_business_days_end_on_one_and_are_never_fewer_days_than_counted(start: date, days: int) -> None:
    found = add_business_days(start, days, "US", "CA")
    assert found.weekday() < 5
    assert (found - start).days >= days
