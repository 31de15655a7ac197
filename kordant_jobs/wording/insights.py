"""Insights as sentences in the reader's language. Nothing is computed here."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from kordant_jobs.domain.finance.merchants import merchant_of
from kordant_jobs.domain.insights.insight import BELOW_ZERO_SAID, Kind, Unknown
from kordant_jobs.wording import Wording

Facts = Mapping[str, Any]
PAYEE_NAME_MAX = 40


def sentence(words: Wording, kind: Kind, facts: Facts, *, payee: str | None = None, unknown: str | None = None) -> str:
    """One insight as a sentence. `payee` is its payee, where it is known and may be shown."""
    if unknown:
        return words.say("Not known: %(why)s.", why=_why(words, Unknown(unknown)))
    who = payee or words.say("one payee")
    return _SAID[kind](words, facts, who)


def payee_name(line: str) -> str:
    """The payee's name in readable form, from a statement line.

    >>> payee_name("PAG*PADARIA SOL 03/11 SAO PAULO BR"), payee_name("12/03")
    ('Padaria Sol', '12/03')
    """
    return (merchant_of(line) or line).title()[:PAYEE_NAME_MAX]


def _why(words: Wording, reason: Unknown) -> str:
    return {
        Unknown.SHORT_HISTORY: words.say("there is too little history yet"),
        Unknown.NO_BALANCE: words.say("no bank said a balance"),
        Unknown.OLD_BALANCE: words.say("the last balance is too old"),
        Unknown.NO_LIMIT: words.say("the bank does not say the limit of the card"),
        Unknown.NO_BILLS: words.say("the bills of a card are not known"),
    }[reason]


def _cadence(words: Wording, name: str) -> str:
    return {
        "weekly": words.say("every week"),
        "fortnightly": words.say("every two weeks"),
        "days28": words.say("every 28 days"),
        "monthly": words.say("every month"),
        "bimonthly": words.say("every two months"),
        "quarterly": words.say("every three months"),
        "half_yearly": words.say("every six months"),
        "yearly": words.say("every year"),
    }[name]


def _money(words: Wording, facts: Facts, name: str) -> str:
    return words.money(Decimal(facts[name]))


def _day(words: Wording, facts: Facts, name: str) -> str:
    return words.day(date.fromisoformat(facts[name]), "medium")


def _month(words: Wording, facts: Facts) -> str:
    return words.month(date.fromisoformat(f"{facts['month']}-01"))


def _cash_flow(words: Wording, facts: Facts, who: str) -> str:
    values = {
        "month": _month(words, facts),
        "came": _money(words, facts, "in"),
        "went": _money(words, facts, "out"),
        "net": _money(words, facts, "net"),
    }
    if facts["is_partial"]:
        return words.say("%(month)s so far: %(came)s came in, %(went)s went out.", **values)
    return words.say("%(month)s: %(came)s came in, %(went)s went out, which makes %(net)s.", **values)


def _recurring(words: Wording, facts: Facts, who: str) -> str:
    values = {
        "who": who,
        "amount": _money(words, facts, "amount"),
        "cadence": _cadence(words, facts["cadence"]),
        "day": _day(words, facts, "next_on"),
        "month": _money(words, facts, "a_month"),
    }
    if facts["status"] == "overdue":
        return words.say("%(who)s: %(amount)s was expected on %(day)s and has not come.", **values)
    if facts["cadence"] == "monthly":
        return words.say("%(who)s: about %(amount)s %(cadence)s, next on %(day)s.", **values)
    return words.say("%(who)s: about %(amount)s %(cadence)s, next on %(day)s; that is %(month)s a month.", **values)


def _price_rise(words: Wording, facts: Facts, who: str) -> str:
    old, new = Decimal(facts["old"]), Decimal(facts["new"])
    return words.say(
        "%(who)s went from %(old)s to %(new)s (+%(share)s) on %(day)s: %(year)s more a year.",
        who=who,
        old=words.money(old, facts["currency"]),
        new=words.money(new, facts["currency"]),
        share=words.percent(float(new / old - 1)),
        day=_day(words, facts, "since"),
        year=words.money(Decimal(facts["a_year"]), facts["currency"]),
    )


def _duplicate(words: Wording, facts: Facts, who: str) -> str:
    return words.say(
        "%(who)s: %(amount)s was charged twice by %(day)s, possibly by mistake. If you did not buy twice, ask the shop "
        "or your bank to reverse it.",
        who=who,
        amount=_money(words, facts, "amount"),
        day=_day(words, facts, "on"),
    )


def _unusual(words: Wording, facts: Facts, who: str) -> str:
    return words.say(
        "%(who)s: %(amount)s on %(day)s is %(times)s times the usual %(usual)s.",
        who=who,
        amount=_money(words, facts, "amount"),
        day=_day(words, facts, "on"),
        times=words.number(round(facts["times"])),
        usual=_money(words, facts, "usual"),
    )


def _fees(words: Wording, facts: Facts, who: str) -> str:
    return words.say(
        "%(paid)s of fees, interest and their taxes in %(month)s.",
        paid=_money(words, facts, "paid"),
        month=_month(words, facts),
    )


def _forecast(words: Wording, facts: Facts, who: str) -> str:
    values = {
        "days": words.number(facts["days"]),
        "low": _money(words, facts, "low_80"),
        "high": _money(words, facts, "high_80"),
        "day": _day(words, facts, "lowest_on"),
        "share": words.percent(facts["below_zero"]),
    }
    if facts["below_zero"] >= BELOW_ZERO_SAID:
        return words.say(
            "The balance may fall below zero around %(day)s (probability %(share)s). In %(days)s days it is between "
            "%(low)s and %(high)s in 8 of 10 cases.",
            **values,
        )
    return words.say("In %(days)s days the balance is between %(low)s and %(high)s in 8 of 10 cases.", **values)


def _runway(words: Wording, facts: Facts, who: str) -> str:
    if facts["months"] is None:
        return words.say("At the pace of the last full months the money does not shrink.")
    return words.say(
        "At the pace of the last full months the money lasts about %(months)s months.",
        months=words.number(round(facts["months"])),
    )


def _card_use(words: Wording, facts: Facts, who: str) -> str:
    return words.say(
        "Cards use %(used)s, which is %(share)s of their limit of %(limit)s.",
        used=_money(words, facts, "used"),
        share=words.percent(facts["share"]),
        limit=_money(words, facts, "limit"),
    )


_SAID: Mapping[Kind, Callable[[Wording, Facts, str], str]] = {
    Kind.CASH_FLOW: _cash_flow,
    Kind.INCOME: _recurring,
    Kind.RECURRING: _recurring,
    Kind.PRICE_RISE: _price_rise,
    Kind.DUPLICATE: _duplicate,
    Kind.UNUSUAL: _unusual,
    Kind.FEES: _fees,
    Kind.FORECAST: _forecast,
    Kind.RUNWAY: _runway,
    Kind.CARD_USE: _card_use,
}
