"""Bank days on which invented households are paid and pay."""

from datetime import date

from kordant_jobs.domain.insights.calendar import bank_day


def on_or_after(day: date) -> date:
    """The bank day on which a bill due on `day` is paid.

    >>> on_or_after(date(2026, 2, 14))          # a Saturday before Carnival
    datetime.date(2026, 2, 18)
    """
    return bank_day(day, 0, "forward")


def nth_bank_day(year: int, month: int, nth: int) -> date:
    """The nth bank day of a month; -1 for its last.

    >>> nth_bank_day(2026, 1, 5), nth_bank_day(2026, 1, -1)
    (datetime.date(2026, 1, 8), datetime.date(2026, 1, 30))
    """
    if nth > 0:
        return bank_day(date(year, month, 1), nth - 1, "forward")
    following = date(year + month // 12, month % 12 + 1, 1)
    return bank_day(following, nth, "forward")
