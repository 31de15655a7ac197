"""The calendar week or month that a report covers when none is named. Pure: the day is an argument."""

from datetime import date, timedelta


def last_ended(*, weekly: bool, today: date) -> tuple[date, date]:
    """The last complete week (from Monday) or month: its first day, and the first day after it.

    >>> [str(day) for day in last_ended(weekly=True, today=date(2026, 11, 30))]
    ['2026-11-23', '2026-11-30']
    >>> [str(day) for day in last_ended(weekly=False, today=date(2026, 11, 30))]
    ['2026-10-01', '2026-11-01']
    """
    if weekly:
        end = today - timedelta(days=today.weekday())
        return end - timedelta(days=7), end
    end = today.replace(day=1)
    return (end - timedelta(days=1)).replace(day=1), end
