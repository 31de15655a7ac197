"""Finds pairs of rows that move money between accounts of one owner. Pure.

A missing leg is never invented; a row with several possible partners stays a candidate. A counterparty that is another
person speaks against a pair, whatever its amount.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from kordant_jobs.domain.finance.states import TransactionType as T

DAYS = (-1, 4)
"""The days allowed between the outgoing and the incoming leg: a card's payment may be seen a day early, a TED takes a
weekend."""
OWN_FROM = 0.6
LEAD = 0.1
MOVES = frozenset(
    {T.PIX, T.TED, T.DOC, T.INTERNAL_TRANSFER, T.BOLETO, T.BILL_PAYMENT, T.DEPOSIT, T.REDEMPTION, T.OTHER, T.COLLECTION}
)
"""Types that a leg may have. Wages, purchases, fees and interest are excluded."""
PAYS_BILLS = frozenset({T.PIX, T.BOLETO, T.INTERNAL_TRANSFER, T.COLLECTION, T.OTHER, T.TED})


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An outgoing and an incoming row of the same amount. `is_holder`: True when the leg's counterparty is the owner,
    None where the bank does not say; `same_key`: both have the same end-to-end id; `days` from out to in."""

    out_id: UUID
    in_id: UUID
    out_type: T
    in_type: T
    out_is_holder: bool | None
    in_is_holder: bool | None
    same_key: bool | None
    days: int

    @property
    def score(self) -> float:
        """The likelihood that it is a transfer, from 0 to 1; 2 where both legs have the same id. The counterparty is
        ignored for a card's bill, which is paid to its bank."""
        if self.same_key:
            return 2.0
        pays_bill = T.BILL_PAYMENT in {self.in_type, self.out_type}
        given = (self.out_is_holder, self.in_is_holder)
        if False in given and not pays_bill:
            return 0.0
        score = 0.3 + (0.45 if True in given else 0.0)
        if pays_bill:
            score += 0.3 if self.out_type in PAYS_BILLS or self.out_type is T.BILL_PAYMENT else -0.2
        elif self.out_type is self.in_type:
            score += 0.25
        elif T.OTHER not in {self.out_type, self.in_type}:
            score -= 0.1
        return round(max(0.0, min(1.0, score + {0: 0.15, 1: 0.1}.get(self.days, 0.0))), 3)


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The pairs that are transfers, with their scores; and the rows that may be legs of one."""

    own: tuple[tuple[Pair, float], ...]
    candidates: frozenset[UUID]


def decide(pairs: Sequence[Pair]) -> Decided:
    """Choose the best pairs, each row once. Of two equally good pairs neither is chosen."""
    scored = [(one.score, one) for one in pairs]
    by_leg = defaultdict[UUID, list[tuple[float, Pair]]](list)
    for score, one in scored:
        if score > 0:
            by_leg[one.out_id].append((score, one))
            by_leg[one.in_id].append((score, one))
    taken, own, candidates = set[UUID](), list[tuple[Pair, float]](), set[UUID]()
    for score, one in sorted(scored, key=lambda each: (-each[0], abs(each[1].days), each[1].out_id, each[1].in_id)):
        legs = {one.out_id, one.in_id}
        if score <= 0 or taken & legs:
            continue
        rivals = [
            rival
            for leg in legs
            for other, rival in by_leg[leg]
            if rival is not one and score - other < LEAD and not taken & {rival.out_id, rival.in_id}
        ]
        if score < OWN_FROM or any(abs(rival.days) <= abs(one.days) for rival in rivals):
            candidates |= legs
            continue
        own.append((one, min(score, 1.0)))
        taken |= legs
    return Decided(own=tuple(own), candidates=frozenset(candidates - taken))
