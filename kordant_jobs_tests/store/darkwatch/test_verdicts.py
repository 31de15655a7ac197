"""Verdicts that repeat are no new rows, and what is read of them has not changed: each day has its own verdict."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid4

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.store.darkwatch import verdicts
from kordant_jobs.store.people import subscriptions
from kordant_jobs.store.reports import reports

FIRST = date(2026, 5, 25)
"""Of eight days in two months."""
ANSWERS = (
    ("clean", None, 0),
    ("exposed", None, 1),
    ("exposed", None, 2),
    ("unknown", "1 breach dump was partly read", 0),
)
BY_DAY = """
SELECT day, verdict, reason, exposures FROM kordant.source_verdicts,
       kordant.check_days(checked_on, again_at) day WHERE subscription_id = :id ORDER BY 1, 2
"""
COUNTED = """
SELECT checked_on, verdict, reason, sum(subscriptions)::int FROM kordant.verdict_counts
GROUP BY 1, 2, 3 HAVING sum(subscriptions) <> 0 ORDER BY 1, 2, 3
"""
TRUE = """
SELECT day, verdict, coalesce(reason, ''), count(*) FROM kordant.source_verdicts,
       kordant.check_days(checked_on, again_at) day GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


@pytest.fixture
def own(db: Engine) -> UUID:
    """A subscription."""
    one = uuid4()
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.subscribers (id) VALUES (:id)"), {"id": one})
        connection.execute(
            sa.text("INSERT INTO kordant.subscriptions (id, subscriber_id, tier) VALUES (:id, :id, 'premium')"),
            {"id": one},
        )
    return one


def save(
    db: Engine, own: UUID, day: date, answer: tuple[str, str | None, int], until: datetime, *, new: int = 0,
    in_part: bool = False, now: datetime | None = None,
) -> None:  # fmt: skip
    frame = pl.DataFrame([(str(own), *answer, new)], schema=list(verdicts.COLUMNS), orient="row")
    with db.begin() as connection:
        verdicts.save(connection, frame, source="dumps", checked_on=day, until=until, in_part=in_part, now=now or until)


def at(day: date, hour: int = 0) -> datetime:
    return datetime.combine(day, time(hour), UTC)


@dataclass
class Days:
    """What a row for each day would hold."""

    held: dict[date, tuple[tuple[str, str | None, int], datetime]] = field(default_factory=dict)

    def save(self, day: date, answer: tuple[str, str | None, int], until: datetime, *, in_part: bool) -> None:
        if day not in self.held or until > self.held[day][1] or in_part:
            before = self.held[day][1] if day in self.held else until
            self.held[day] = (answer, max(before, until))


@pytest.mark.parametrize("seed", range(6))
def test_each_day_has_the_verdict_that_a_row_for_it_would_have(db: Engine, own: UUID, seed: int) -> None:
    chance = random.Random(seed)
    days = Days()
    for number in range(8):
        for hour in range(2, 2 + chance.choice((0, 1, 1, 2))):
            today = FIRST + timedelta(days=number)
            scans = [(today, at(today, hour))]
            if number and chance.random() < 0.4:
                past = FIRST + timedelta(days=chance.randrange(number))
                scans.append((past, at(past + timedelta(days=1))))
            for day, until in scans:
                answer, in_part = chance.choice(ANSWERS[: chance.choice((1, 2, 4))]), chance.random() < 0.1
                save(db, own, day, answer, until, in_part=in_part, now=at(today, hour))
                days.save(day, answer, until, in_part=in_part)
                with db.connect() as connection:
                    by_day = connection.execute(sa.text(BY_DAY), {"id": own}).all()
                    assert list(map(tuple, by_day)) == [(one, *days.held[one][0]) for one in sorted(days.held)]
                    assert connection.execute(sa.text(COUNTED)).all() == connection.execute(sa.text(TRUE)).all()
    with db.connect() as connection:
        _reads_are_of_days(connection, own, days)


def _reads_are_of_days(connection: sa.Connection, own: UUID, days: Days) -> None:
    last = max(days.held)
    [shown] = subscriptions.last_verdicts(connection, own)
    assert (shown.checked_on, (shown.verdict, shown.reason, shown.exposures)) == (last, days.held[last][0])
    period = {"before": FIRST + timedelta(days=1), "start": FIRST + timedelta(days=2), "end": FIRST + timedelta(days=7)}
    read = reports.facts(connection, [own], kind="weekly", **period).verdicts
    expected = [one for one in sorted(days.held) if period["before"] <= one < period["end"]]
    assert list(read["checked_on"]) == expected
    assert list(read["verdict"]) == [days.held[one][0][0] for one in expected]


def test_a_month_of_equal_checks_is_one_row(db: Engine, own: UUID) -> None:
    for number in range(37):
        day = date(2026, 5, 1) + timedelta(days=number)
        save(db, own, day, ANSWERS[0], at(day, 2))
    with db.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT checked_on, cardinality(again_at) FROM kordant.source_verdicts ORDER BY 1")
        ).all()
    assert list(map(tuple, rows)) == [(date(2026, 5, 1), 30), (date(2026, 6, 1), 5)]


def test_a_day_with_new_exposures_has_a_row_of_its_own_though_their_number_is_as_before(db: Engine, own: UUID) -> None:
    for number, new in enumerate((1, 0, 1, 0)):  # one was closed on the third day, and another found
        day = FIRST + timedelta(days=number)
        save(db, own, day, ANSWERS[1], at(day, 2), new=new)
    with db.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT checked_on, new_exposures FROM kordant.source_verdicts ORDER BY 1")
        ).all()
    assert list(map(tuple, rows)) == [(FIRST, 1), (FIRST + timedelta(days=2), 1)]
