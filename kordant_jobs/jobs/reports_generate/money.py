"""The report's section on bank accounts: cash flow by month as a chart, then recurring payments, expectations and
events, a sentence each. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from kordant_jobs.domain.insights.insight import Kind
from kordant_jobs.jobs.reports_generate import charts
from kordant_jobs.jobs.reports_generate.rules import MoneyLine
from kordant_jobs.wording import Wording
from kordant_jobs.wording.insights import payee_name, sentence

MONTHS_MAX, LINES_MAX = 6, 40
_PARTS: tuple[tuple[str, tuple[Kind, ...]], ...] = (
    ("expected", (Kind.FORECAST, Kind.RUNWAY, Kind.CARD_USE)),
    ("happened", (Kind.PRICE_RISE, Kind.DUPLICATE, Kind.UNUSUAL, Kind.FEES)),
    ("repeats", (Kind.INCOME, Kind.RECURRING)),
)


@dataclass(frozen=True, kw_only=True)
class MoneyPart:
    """Sentences under a heading; `more` is the number left out."""

    title: str
    lines: list[str]
    more: str


@dataclass(frozen=True, kw_only=True)
class MoneySection:
    """The section; `parts` is empty where no accounts are connected."""

    title: str
    chart: str
    parts: list[MoneyPart]


def money_section(words: Wording, lines: Sequence[MoneyLine], payees: Mapping[UUID, str]) -> MoneySection:
    """The section on the accounts of a subscription's entities."""
    titles = {
        "expected": words.say("What is to be expected"),
        "happened": words.say("What happened on your accounts"),
        "repeats": words.say("What repeats"),
    }
    parts = []
    for name, kinds in _PARTS:
        said = [_said(words, one, payees) for one in lines if one.kind in kinds and _is_shown(one, lines)]
        if said:
            left = len(said) - LINES_MAX
            more = words.count("And %(number)s more.", "And %(number)s more.", left) if left > 0 else ""
            parts.append(MoneyPart(title=titles[name], lines=said[:LINES_MAX], more=more))
    return MoneySection(title=words.say("Your accounts"), chart=_chart(words, lines), parts=parts)


def _is_shown(line: MoneyLine, lines: Sequence[MoneyLine]) -> bool:
    """True for a line that is shown: of fees only the last month's; an unknown forecast only once."""
    if line.kind is Kind.FEES:
        return line is [one for one in lines if one.kind is Kind.FEES and one.entity_id == line.entity_id][-1]
    return not (line.kind is Kind.FORECAST and line.unknown_reason and line.facts.get("days") != 30)


def _said(words: Wording, line: MoneyLine, payees: Mapping[UUID, str]) -> str:
    opened = payees.get(line.line_id) if line.line_id is not None else None
    payee = payee_name(opened) if opened else None
    return sentence(words, line.kind, line.facts, payee=payee, unknown=line.unknown_reason)


def _chart(words: Wording, lines: Sequence[MoneyLine]) -> str:
    months: dict[str, tuple[Decimal, Decimal]] = {}
    for one in lines:
        if one.kind is Kind.CASH_FLOW:
            came, went = months.get(one.facts["month"], (Decimal(), Decimal()))
            months[one.facts["month"]] = (came + Decimal(one.facts["in"]), went + Decimal(one.facts["out"]))
    last = sorted(months)[-MONTHS_MAX:]
    return charts.cash_flow(words, [(date.fromisoformat(f"{one}-01"), *months[one]) for one in last]) if last else ""
