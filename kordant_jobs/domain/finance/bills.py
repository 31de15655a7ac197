"""Card bills: their state, and what of their total is not explained. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from kordant_jobs.domain.finance.states import BillState


def state_of(
    *, total: Decimal | None, paid: Decimal, due_on: date, today: date, is_instalmented: bool = False
) -> BillState:
    """Where a closed bill stands. A total of zero or less (a credit) has nothing to be paid.

    >>> day = date(2026, 3, 10)
    >>> state_of(total=Decimal(100), paid=Decimal(40), due_on=day, today=day).value
    'partly_paid'
    >>> state_of(total=Decimal(100), paid=Decimal(0), due_on=day, today=date(2026, 3, 11)).value
    'overdue'
    """
    if is_instalmented:
        return BillState.INSTALMENTED
    if total is None:
        return BillState.CLOSED
    if paid >= total:
        return BillState.PAID
    if today > due_on:
        return BillState.OVERDUE
    return BillState.PARTLY_PAID if paid > 0 else BillState.CLOSED


def unexplained(total: Decimal, rows: Iterable[Decimal], charges: Iterable[Decimal]) -> Decimal:
    """What of a bill's total its rows and finance charges do not make up. Rows are signed towards the holder: a
    purchase of 10 is -10. Payments of bills are not among them.

    >>> unexplained(Decimal("103.38"), [Decimal("-100"), Decimal("-3")], [])
    Decimal('0.38')
    """
    return total + sum(rows, Decimal(0)) - sum(charges, Decimal(0))
