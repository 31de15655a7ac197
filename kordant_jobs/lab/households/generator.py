"""Years of rows of invented entities, each row with its truth: stream, own transfer, refund, duplicate, rise, outlier.

A world is made whole, future included; what a bank had shown by `as_of` is a part of it. One seed, one world.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from dateutil.relativedelta import relativedelta

from kordant_jobs.domain.insights.calendar import on_or_before
from kordant_jobs.lab.households.days import nth_bank_day, on_or_after
from kordant_jobs.lab.households.pools import Pool, made_name, person, pool_of

FUTURE_DAYS = 95
CADENCE_DAYS = {"weekly": 7, "fortnightly": 14, "days28": 28}
CADENCE_MONTHS = {"monthly": 1, "bimonthly": 2, "quarterly": 3, "yearly": 12}
ARCHETYPES = ("clt", "advance", "pix_paid", "autonomous", "firm")
ARCHETYPE_SHARE = (0.38, 0.2, 0.17, 0.15, 0.1)


@dataclass(kw_only=True)
class Stream:
    """A planted stream. `rises` are the days on which its price went up."""

    id: int
    kind: str
    cadence: str
    category: str
    rises: list[date] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class World:
    """Rows of all entities, by entity and day. `rows` beyond `as_of` are the future that a forecast is judged by."""

    seed: int
    as_of: date
    rows: pl.DataFrame
    accounts: pl.DataFrame
    streams: pl.DataFrame
    entities: pl.DataFrame

    @property
    def seen(self) -> pl.DataFrame:
        """The rows that the bank had shown by `as_of`."""
        return self.rows.filter(pl.col("day") <= self.as_of)


def _cents(value: float) -> int:
    return max(1, round(value * 100))


class _Entity:
    """Makes the rows of one entity."""

    def __init__(self, rng: np.random.Generator, pool: Pool, *, index: int, as_of: date, months: int) -> None:
        self.rng, self.pool, self.index, self.as_of = rng, pool, index, as_of
        self.months = months
        self.begin = as_of - timedelta(days=round(months * 30.44))
        self.end = as_of + timedelta(days=FUTURE_DAYS)
        self.rows: list[dict[str, Any]] = []
        self.streams: list[Stream] = []
        self.archetype = str(rng.choice(ARCHETYPES, p=ARCHETYPE_SHARE))
        self.is_firm = self.archetype == "firm"
        self.scale = float(np.exp(rng.normal(8.6, 0.5))) * (4 if self.is_firm else 1)
        """Income a month, in BRL."""
        self.owner = made_name(rng, pool, kind="CIA") if self.is_firm else person(rng, pool)
        self.accounts = ["checking"]
        if rng.random() < 0.4:
            self.accounts.append("savings")
        if rng.random() < 0.35:
            self.accounts.append("second")
        self.cards = [f"card{n}" for n in range(int(rng.choice([0, 1, 2], p=[0.15, 0.6, 0.25])))]
        self.main_card = self.cards[0] if self.cards else "checking"
        self.styles = {
            kind: [str(one) for one in rng.permutation(getattr(pool, f"{kind}_styles"))]
            for kind in ("card", "pix", "pix_in", "boleto", "debit")
        }
        self.next_group = 0

    # --- rows ------------------------------------------------------------------------------------------------------

    def line(self, style: str, name: str, day: date) -> str:
        rng = self.rng
        return style.format(
            name=name.title(), NAME=name.upper(), code=f"{rng.integers(10**5, 10**6)}", dm=f"{day:%d/%m}",
            city=self.pool.cities[self.index % len(self.pool.cities)],
        )  # fmt: skip

    def add(
        self, account: str, day: date, cents: int, line: str, *, type: str, category: str, mcc: int | None = None,  # noqa: A002 - the column
        payee: str = "", **truth: Any,
    ) -> dict[str, Any]:  # fmt: skip
        row = {
            "entity": self.index, "account": account, "day": day, "cents": cents, "description": line, "type": type,
            "category": category, "mcc": mcc, "payee": payee, "orig_cents": None, "stream": None, "transfer": None,
            "refund_of": None, "duplicate_of": None, "unusual": False, "plan": None, "no": None, "of": None,
            "iof_of": None, "state": "posted", "uid": len(self.rows), **truth,
        }  # fmt: skip
        self.rows.append(row)
        return row

    def style_of(self, channel: str, place: int = 0) -> str:
        styles = self.styles[channel]
        return styles[place % len(styles)]

    def pay(self, channel: str, account: str, day: date, value: float, name: str, category: str, *, style: str = "",
            mcc: int | None = None, **truth: Any) -> dict[str, Any]:  # fmt: skip
        """A payment to another person over a channel."""
        is_card = account.startswith("card")
        kind = {"card": "card", "pix": "pix", "pix_in": "pix", "boleto": "boleto", "debit": "collection"}
        sign = 1 if channel == "pix_in" else -1
        line = self.line(style or self.style_of("card" if is_card else channel), name, day)
        return self.add(
            account, day, sign * _cents(value), line, type="purchase" if is_card else kind[channel], category=category,
            payee=name, mcc=mcc, **truth,
        )  # fmt: skip

    # --- days ------------------------------------------------------------------------------------------------------

    def month_days(self, anchor: int, step: int, phase: int) -> Iterator[date]:
        year, month = self.begin.year, self.begin.month
        while (first := date(year, month, 1)) <= self.end:
            if (year * 12 + month) % step == phase % step:
                yield first.replace(day=min(anchor, calendar.monthrange(year, month)[1]))
            year, month = year + month // 12, month % 12 + 1

    def cadence_days(self, cadence: str) -> Iterator[date]:
        rng = self.rng
        if cadence in CADENCE_DAYS:
            day = self.begin + timedelta(days=int(rng.integers(0, CADENCE_DAYS[cadence])))
            while day <= self.end:
                yield day
                day += timedelta(days=CADENCE_DAYS[cadence])
        elif cadence.startswith("bank"):
            for first in self.month_days(1, 1, 0):
                yield nth_bank_day(first.year, first.month, int(cadence[4:]))
        else:
            yield from self.month_days(int(rng.integers(1, 29)), CADENCE_MONTHS[cadence], int(rng.integers(0, 12)))

    # --- streams ---------------------------------------------------------------------------------------------------

    def stream(
        self, *, kind: str, cadence: str, category: str, channel: str, account: str, name: str, value: float,
        shift: str = "none", spread: float = 0.0, season: float = 0.0, rises: bool = False, fx: bool = False,
        mcc: int | None = None, style: str = "", may_end: bool = False, drifts: bool = True,
        days: Callable[[], Iterator[date]] | None = None, yearly_rise: float = 0.0,
    ) -> Stream:  # fmt: skip
        """A payment or income that repeats. `spread` is its amounts' coefficient of variation."""
        rng, pool = self.rng, self.pool
        made = Stream(id=len(self.streams), kind=kind, cadence=cadence, category=category)
        self.streams.append(made)
        due = [day for day in (days or (lambda: self.cadence_days(cadence)))() if self.begin <= day <= self.end]
        if cadence == "monthly" and rng.random() < 0.06:  # a new due day from then on
            moves_at, moved = int(rng.integers(4, 14)), timedelta(days=int(rng.integers(-9, 10)))
            due = [day + moved if number >= moves_at else day for number, day in enumerate(due)]
        if may_end and rng.random() < 0.15:
            due = due[: max(3, int(len(due) * rng.uniform(0.4, 0.9)))]
        if may_end and rng.random() < 0.2:
            due = due[int(len(due) * rng.uniform(0, 0.5)) :]
        style = style or self.style_of(channel if not account.startswith("card") else "card", int(rng.integers(0, 4)))
        drift_at = int(rng.integers(3, 12)) if drifts and rng.random() < pool.drift_rate else 10**6
        other = self.style_of("card" if account.startswith("card") else channel, int(rng.integers(1, 5)))
        changed = (name, f"{name} {rng.choice(['SA', 'LTDA', 'BRASIL'])}", f"{name} {rng.choice(['DIGITAL', 'ONLINE'])}",
                   name[: max(5, len(name) - 3)], made_name(rng, pool, kind="GRUPO"))  # fmt: skip
        other_name = str(rng.choice(changed, p=[0.35, 0.2, 0.2, 0.1, 0.15]))
        stopped_rise = False
        lags = account.startswith("card") and rng.random() < 0.4  # a card whose lines are booked late
        paused = range(*sorted(int(one) for one in rng.integers(3, 14, size=2))) if rng.random() < 0.05 else range(0)
        for number, day in enumerate(due):
            if rng.random() < pool.skip_rate or (number in paused and may_end):
                continue
            per_year = {"weekly": 52, "fortnightly": 26, "days28": 13}.get(cadence, 12)
            if rises and number and not stopped_rise and rng.random() < pool.rise_rate / per_year:
                value *= 1 + float(rng.choice([0.05, 0.08, 0.1, 0.15, 0.22]))
                value = round(value) - 0.1 if value > 10 else value
                made.rises.append(day)
                stopped_rise = rng.random() < 0.7
            if yearly_rise and number and number % 12 == 0:
                value *= 1 + yearly_rise
                made.rises.append(day)
            amount = value * float(np.exp(rng.normal(0, spread))) if spread else value
            if season:
                amount *= 1 + season * float(np.cos((day.month - 1) / 12 * 2 * np.pi))
            when = on_or_after(day) if shift == "forward" else on_or_before(day) if shift == "back" else day
            if channel == "pix" or (spread and shift == "none"):
                when += timedelta(days=round(abs(float(rng.normal(0, pool.late_sd)))))
            if lags:
                when += timedelta(days=int(rng.choice([0, 1, 2], p=[0.6, 0.3, 0.1])))
            name_now, style_now = (other_name, other) if number >= drift_at else (name, style)
            extra: dict[str, Any] = {}
            if fx:
                rate = 5.2 + 0.5 * float(np.sin(day.toordinal() / 60)) + float(rng.normal(0, 0.05))
                extra["orig_cents"] = -_cents(amount)
                amount *= rate
            row = self.pay(
                channel, account, when, amount, name_now, category, style=style_now, mcc=mcc, stream=made.id, **extra
            )
            if fx and account.startswith("card"):
                iof = -max(1, round(abs(row["cents"]) * 0.035))
                self.add(account, when, iof, "IOF COMPRA INTERNACIONAL", type="tax", category="fees", iof_of=row["uid"])
        return made

    def income(self) -> None:
        rng, pool = self.rng, self.pool
        employer = made_name(rng, pool, kind=str(rng.choice(["EMPRESA", "GRUPO", "IND"])))
        style = str(rng.choice(pool.payroll))

        def wages(day: date, value: float, stream: Stream, name: str = employer) -> None:
            if self.begin <= day <= self.end:
                self.add(
                    "checking", day, _cents(value), self.line(style, name, day), type="payroll",
                    category="income.salary", payee=name, stream=stream.id,
                )  # fmt: skip

        def months() -> list[date]:
            return list(self.month_days(1, 1, 0))

        if self.archetype in ("clt", "advance"):
            share = 1.0 if self.archetype == "clt" else 0.6
            cadence = str(rng.choice(["bank5", "bank-1", "day"], p=[0.6, 0.25, 0.15]))
            anchor = int(rng.integers(1, 11))
            main = Stream(id=len(self.streams), kind="income", cadence="monthly", category="income.salary")
            self.streams.append(main)
            advance = None
            if self.archetype == "advance":
                advance = Stream(id=len(self.streams), kind="income", cadence="monthly", category="income.salary")
                self.streams.append(advance)
            value, raise_month = self.scale, int(rng.integers(1, 13))
            for first in months():
                if first.month == raise_month:
                    value *= 1.05
                pay_day = (
                    on_or_before(first.replace(day=anchor)) if cadence == "day"
                    else nth_bank_day(first.year, first.month, int(cadence[4:]))
                )  # fmt: skip
                wages(pay_day, value * share * float(np.exp(rng.normal(0, 0.015))), main)
                if advance is not None:
                    wages(on_or_before(first.replace(day=20)), value * 0.4, advance)
                if first.month in (11, 12):
                    day = on_or_before(first.replace(day=30 if first.month == 11 else 20))
                    extra = self.add(
                        "checking", day, _cents(value * (0.5 if first.month == 11 else 0.42)),
                        self.line(style, employer, day), type="payroll", category="income.salary", payee=employer,
                    )  # fmt: skip
                    if not self.begin <= day <= self.end:
                        self.rows.remove(extra)
        elif self.archetype == "pix_paid":
            self.stream(
                kind="income", cadence="monthly", category="income.salary", channel="pix_in", account="checking",
                name=employer, value=self.scale, spread=0.03, shift="back",
            )  # fmt: skip
        elif self.archetype == "autonomous":
            clients = [person(rng, pool) if rng.random() < 0.6 else made_name(rng, pool) for _ in range(6)]
            for day in self.days(9 / 30):
                self.pay("pix_in", "checking", day, self.scale / 9 * float(np.exp(rng.normal(0, 0.6))),
                         str(rng.choice(clients)), "income.other")  # fmt: skip
            if rng.random() < 0.5:
                self.stream(
                    kind="income", cadence="monthly", category="income.other", channel="pix_in", account="checking",
                    name=made_name(rng, pool), value=self.scale * 0.3,
                )  # fmt: skip
        else:
            acquirer = str(rng.choice(["CIELO VENDAS", "REDE CREDITO", "STONE PAGAMENTOS", "GETNET VENDAS"]))
            for day in self.days(0.75):
                if day.weekday() < 5:
                    self.add(
                        "checking", on_or_after(day), _cents(self.scale / 18 * float(np.exp(rng.normal(0, 0.45)))),
                        f"{acquirer} {day:%d%m}", type="ted", category="income.sales", payee=acquirer,
                    )  # fmt: skip
            for _ in range(int(rng.integers(1, 4))):
                self.stream(
                    kind="expense", cadence="bank5", category="payroll", channel="pix", account="checking",
                    name=person(rng, pool), value=self.scale * 0.09, style=self.style_of("pix"),
                )  # fmt: skip
            self.stream(
                kind="expense", cadence="monthly", category="taxes", channel="boleto", account="checking",
                name="DAS SIMPLES NACIONAL" if rng.random() < 0.7 else "DARF", value=self.scale * 0.08, spread=0.2,
                shift="forward", drifts=False, days=lambda: self.month_days(20, 1, 0),
            )  # fmt: skip
            for _ in range(int(rng.integers(2, 5))):
                supplier = made_name(rng, pool, kind="DISTR")
                for day in self.days(float(rng.uniform(1, 4)) / 30):
                    self.pay("boleto", "checking", on_or_after(day), self.scale * 0.05 * float(np.exp(rng.normal(0, 0.5))),
                             supplier, "supplies")  # fmt: skip

    def days(self, rate: float) -> Iterator[date]:
        """Days of a Poisson process of `rate` a day."""
        span = (self.end - self.begin).days
        count = int(self.rng.poisson(rate * span))
        for shift in sorted(self.rng.integers(0, span + 1, size=count).tolist()):
            yield self.begin + timedelta(days=int(shift))

    def bills(self) -> None:
        rng, pool, scale = self.rng, self.pool, self.scale / (4 if self.is_firm else 1)
        landlord = person(rng, pool)
        if rng.random() < 0.5:
            by_pix = rng.random() < 0.5
            self.stream(
                kind="expense", cadence="monthly", category="housing.rent", channel="pix" if by_pix else "boleto",
                account="checking", name=landlord if by_pix else made_name(rng, pool, kind="IMOBILIARIA"),
                value=round(scale * 0.22, -1), shift="none" if by_pix else "forward", yearly_rise=0.045,
            )  # fmt: skip
            if by_pix:
                for day in self.days(0.5 / 30):
                    self.pay(
                        "pix", "checking", day, scale * 0.02 * float(np.exp(rng.normal(0, 0.7))), landlord, "people"
                    )
        if rng.random() < 0.45:
            self.stream(kind="expense", cadence="monthly", category="housing.condominium", channel="boleto",
                        account="checking", name=made_name(rng, pool, kind="COND ED"), value=scale * 0.08,
                        spread=float(rng.choice([0.0, 0.06])), shift="forward")  # fmt: skip
        channel = str(rng.choice(["debit", "boleto"]))
        self.stream(kind="expense", cadence="monthly", category="utilities", channel=channel, account="checking",
                    name=str(rng.choice(pool.utilities)), value=scale * 0.025, spread=0.15, season=0.25,
                    shift="forward")  # fmt: skip
        if rng.random() < 0.7:
            self.stream(kind="expense", cadence=str(rng.choice(["monthly", "bimonthly"], p=[0.8, 0.2])),
                        category="utilities", channel=channel, account="checking", name=str(rng.choice(pool.water)),
                        value=scale * 0.015, spread=0.12, shift="forward")  # fmt: skip
        for _ in range(int(rng.integers(1, 3))):
            self.stream(kind="expense", cadence="monthly", category="telecom",
                        channel=str(rng.choice(["debit", "boleto"])), account="checking",
                        name=str(rng.choice(pool.telecom)), value=float(rng.uniform(45, 180)),
                        spread=float(rng.choice([0.0, 0.05])), shift="forward", rises=True)  # fmt: skip
        one_of = [
            ("education", "boleto", 0.15, "ESCOLA", "monthly", 0.0, 0.3),
            ("health", "boleto", 0.1, "SAUDE", "monthly", 0.0, 0.4),
            ("insurance", "debit", 0.03, "SEGURADORA", "monthly", 0.0, 0.3),
            ("loans", "debit", 0.12, "FINANCEIRA", "monthly", 0.0, 0.3),
            ("fitness", "card", 0.02, "ACADEMIA", "monthly", 0.0, 0.3),
            ("insurance", "boleto", 0.06, "ASSOCIACAO", "quarterly", 0.0, 0.12),
            ("taxes", "boleto", 0.2, "IPVA IPTU", "yearly", 0.03, 0.3),
            ("subscriptions", "card", 0.03, "ANUIDADE CLUBE", "yearly", 0.0, 0.2),
            ("telecom", "card", 0.012, "RECARGA", "days28", 0.0, 0.12),
        ]
        for category, channel, share, kind, cadence, spread, chance in one_of:
            if rng.random() < chance:
                account = self.main_card if channel == "card" else "checking"
                self.stream(kind="expense", cadence=cadence, category=category, channel=channel, account=account,
                            name=made_name(rng, pool, kind=kind), value=scale * share, spread=spread,
                            shift="forward" if channel != "card" else "none", rises=cadence == "monthly",
                            may_end=cadence == "monthly")  # fmt: skip
        if rng.random() < 0.3:
            self.stream(kind="expense", cadence=str(rng.choice(["weekly", "fortnightly"])), category="home",
                        channel="pix", account="checking", name=person(rng, pool),
                        value=float(rng.choice([120, 150, 180, 200])), rises=True)  # fmt: skip
        if rng.random() < 0.4:
            self.fee_line = str(rng.choice(pool.fee))
            self.stream(kind="expense", cadence="monthly", category="fees", channel="debit", account="checking",
                        name=self.fee_line, value=float(rng.uniform(15, 60)), style="{NAME}", drifts=False)  # fmt: skip
            for row in self.rows:
                if row["payee"] == self.fee_line:
                    row["type"] = "package_fee"

    def subscriptions(self) -> None:
        rng, pool = self.rng, self.pool
        known = [str(one) for one in rng.permutation(pool.subscriptions)]
        for number in range(int(rng.integers(2, 6))):
            name = (
                known[number]
                if rng.random() < 0.6
                else made_name(rng, pool, kind=str(rng.choice(["", "CLUBE", "APP"])))
            )
            self.stream(kind="expense", cadence="monthly", category="subscriptions", channel="card",
                        account=self.main_card, name=name, value=float(rng.choice([14.9, 21.9, 27.9, 34.9, 55.9, 99.9])),
                        rises=True, may_end=True, mcc=4899 if rng.random() < 0.5 else None)  # fmt: skip
        if self.cards and rng.random() < 0.4:
            self.stream(kind="expense", cadence="monthly", category="subscriptions", channel="card",
                        account=self.main_card, name=str(rng.choice(pool.fx_subscriptions)),
                        value=float(rng.choice([4.0, 10.0, 20.0])), fx=True, rises=True, may_end=True)  # fmt: skip
        if rng.random() < 0.5:
            name, thing = pool.mixed_shops[int(rng.integers(0, len(pool.mixed_shops)))]
            style = self.style_of("card")
            self.stream(kind="expense", cadence="monthly", category="subscriptions", channel="card", style=style,
                        account=self.main_card, name=name, value=float(rng.choice([10.9, 19.9, 14.9])), rises=True,
                        drifts=False)  # fmt: skip
            for day in self.days(float(rng.uniform(1, 6)) / 30):
                self.pay("card", self.main_card, day, float(np.exp(rng.normal(3.9, 0.8))), name, thing, style=style)

    def daily_life(self) -> None:
        rng, pool, scale = self.rng, self.pool, self.scale / (4 if self.is_firm else 1)
        budget = max(300.0, scale * 0.35)
        card = self.main_card
        markets = [made_name(rng, pool, kind=str(rng.choice(["MERCADO", "SUPERM", ""]))) for _ in range(3)]
        weekly = rng.random() < 0.35
        if weekly:  # the trap: the same shop every week, amounts as they come
            offset = int(rng.integers(0, 7))
            day = self.begin + timedelta(days=offset)
            while day <= self.end:
                if rng.random() < 0.9:
                    self.pay("card", card, day + timedelta(days=int(rng.choice([0, 0, 0, 1]))),
                             budget * 0.1 * float(np.exp(rng.normal(0, 0.3))), markets[0], "groceries", mcc=5411)  # fmt: skip
                day += timedelta(days=7)
        shops: list[tuple[list[str], str, float, float, float, int | None]] = [
            (markets[weekly:], "groceries", 5, 0.05, 0.55, 5411),
            ([made_name(rng, pool, kind="POSTO") for _ in range(2)], "fuel", 3, 0.045, 0.3, 5541),
            (
                [made_name(rng, pool, kind=k) for k in ("REST", "BAR", "PIZZARIA", "")],
                "restaurants",
                6,
                0.02,
                0.5,
                5812,
            ),
            ([made_name(rng, pool, kind="DROGARIA") for _ in range(2)], "health", 1.5, 0.03, 0.6, 5912),
            ([made_name(rng, pool, kind="LOJA") for _ in range(6)], "shopping", 2, 0.06, 0.8, 5651),
            ([made_name(rng, pool)], "transport", 4, 0.008, 0.35, 4121),
            ([made_name(rng, pool, kind="CAFE")], "restaurants", 4, 0.004, 0.3, None),
        ]
        for names, category, rate, share, sd, mcc in shops:
            rate *= float(np.exp(rng.normal(0, 0.3)))
            for day in self.days(rate / 30):
                weekend = 1.25 if day.weekday() >= 5 else 1.0
                self.pay("card", card, day, budget * share * weekend * float(np.exp(rng.normal(0, sd))),
                         names[min(int(rng.exponential(1.0)), len(names) - 1)], category,
                         mcc=mcc if rng.random() < 0.7 else None)  # fmt: skip
        fare = float(rng.choice([22.5, 25.0, 30.0]))  # above the floor of duplicates, often twice a day
        if rng.random() < 0.2:
            place = made_name(rng, pool, kind="ESTACIONAMENTO")
            for day in self.days(6 / 30):
                for _ in range(int(rng.choice([1, 2], p=[0.75, 0.25]))):
                    self.pay("card", card, day, fare, place, "transport", mcc=4784)
        if rng.random() < 0.15:  # a menu: few prices, often on days that follow each other
            place, prices = made_name(rng, pool, kind="REST"), rng.choice([22.9, 25.9, 29.9, 34.9], size=2)
            for day in self.days(9 / 30):
                self.pay("card", card, day, float(rng.choice(prices)), place, "restaurants", mcc=5812)
        friends = [person(rng, pool) for _ in range(5)]
        for day in self.days(4 / 30):
            sent = budget * 0.04 * float(np.exp(rng.normal(0, 0.9)))
            sent = max(10.0, round(sent, -1)) if rng.random() < 0.6 else sent
            self.pay("pix", "checking", day, sent, str(rng.choice(friends)), "people")
        for day in self.days(1.5 / 30):
            self.pay(
                "pix_in",
                "checking",
                day,
                budget * 0.04 * float(np.exp(rng.normal(0, 0.8))),
                str(rng.choice(friends)),
                "people",
            )
        for day in self.days(0.8 / 30):
            self.add(
                "checking",
                day,
                -_cents(float(rng.choice([50, 100, 200]))),
                "SAQUE 24H",
                type="withdrawal",
                category="cash",
            )
        for day in self.days(0.15 / 30):
            self.add("checking", day, -_cents(float(rng.uniform(3, 40))), str(rng.choice(pool.overdraft)),
                     type="overdraft_interest", category="interest")  # fmt: skip

    def oddities(self) -> None:
        """Duplicates, refunds, outliers: planted on rows that are there."""
        rng = self.rng
        plain = [
            r
            for r in self.rows
            if r["stream"] is None and r["type"] in ("card", "purchase", "boleto", "pix") and self._is_out(r)
        ]
        per_month = (self.end - self.begin).days / 30
        by_payee: dict[Any, list[dict[str, Any]]] = {}
        for row in plain:
            by_payee.setdefault(row["payee"], []).append(row)
        for row in self._pick(plain, 0.12 * per_month):
            if -row["cents"] >= 2000:  # charged twice
                self._copy(row, days=int(rng.choice([0, 0, 1])), duplicate_of=row["uid"])
        streams = [r for r in self.rows if r["stream"] is not None and self._is_out(r) and -r["cents"] >= 2000]
        for row in self._pick(streams, 0.03 * per_month):
            self._copy(row, days=int(rng.choice([0, 1])), duplicate_of=row["uid"], stream=None)
        for row in self._pick(plain, 0.012 * per_month):  # bought twice
            self._copy(row, days=int(rng.choice([0, 1])))
        for row in self._pick(plain, 0.06 * per_month):  # charged twice, reversed
            if -row["cents"] >= 2000:
                twice = self._copy(row, days=0)
                self._copy(twice, days=int(rng.integers(1, 8)), refund=True)
        for row in self._pick(plain, 0.3 * per_month):
            self._copy(row, days=int(rng.integers(2, 40)), refund=True, share=float(rng.choice([1.0, 1.0, 0.5])))
        copied = {r[of] for r in self.rows for of in ("duplicate_of", "refund_of")}
        often = [
            r for r in plain
            if len(by_payee[r["payee"]]) >= 14 and r["category"] not in ("people", "supplies") and r["uid"] not in copied
        ]  # fmt: skip
        for row in self._pick(often, 0.22 * per_month):
            usual = float(np.median([-r["cents"] for r in by_payee[row["payee"]]]))
            cents = round(max(usual * float(rng.uniform(7, 18)), 18_000))
            row["cents"], row["unusual"] = -cents, True

    @staticmethod
    def _is_out(row: dict[str, Any]) -> bool:
        return bool(row["cents"] < 0)

    def _pick(self, rows: list[dict[str, Any]], mean: float) -> list[dict[str, Any]]:
        count = min(int(self.rng.poisson(mean)), len(rows))
        return [rows[int(n)] for n in self.rng.choice(len(rows), size=count, replace=False)] if count else []

    def _copy(
        self, row: dict[str, Any], *, days: int, refund: bool = False, share: float = 1.0, **truth: Any
    ) -> dict[str, Any]:
        day = row["day"] + timedelta(days=days)
        cents = round(row["cents"] * share)
        made = {**row, "day": day, "uid": len(self.rows), **truth}
        if refund:
            made |= {"cents": -cents, "refund_of": row["uid"], "duplicate_of": None, "unusual": False, "stream": None,
                     "type": "reversal",
                     "description": f"ESTORNO {row['description']}"}  # fmt: skip
        self.rows.append(made)
        return made

    def instalments(self) -> None:
        rng = self.rng
        if not self.cards:
            return
        shape = str(rng.choice(["monthly", "at_once", "full"]))
        for day in self.days(0.35 / 30):
            name, count = made_name(rng, self.pool, kind="LOJA"), int(rng.choice([2, 3, 4, 6, 10, 12]))
            total = _cents(self.scale * 0.15 * float(np.exp(rng.normal(0, 0.6))))
            part, plan = total // count, self._group()
            line = self.line(self.style_of("card"), name, day)
            for number in range(1, count + 1 if shape != "full" else 2):
                cents = total if shape == "full" else part if number < count else total - part * (count - 1)
                shown = line if shape == "full" else f"{line} {number}/{count}"
                if shape == "at_once":
                    shown = f"{line} PARC {number:02d}/{count:02d}"
                posted = day + relativedelta(months=number - 1)
                if posted <= self.end:
                    self.add(self.cards[0], posted, -cents, shown, type="purchase", category="shopping", payee=name,
                             plan=plan, no=number, of=count)  # fmt: skip

    def _group(self) -> int:
        self.next_group += 1
        return self.next_group

    def transfers(self) -> None:
        rng, pool = self.rng, self.pool
        places = [name for name in self.accounts if name != "checking"]
        out_line, in_line = (str(one) for one in pool.own_transfer[int(rng.integers(0, len(pool.own_transfer)))])
        for place in places:
            anchor = int(rng.integers(1, 28))
            regular = rng.random() < 0.5
            days = self.month_days(anchor, 1, 0) if regular else self.days(1.2 / 30)
            for day in days:
                if not self.begin <= day <= self.end:
                    continue
                cents = _cents(float(rng.choice([100, 200, 300, 500])) if rng.random() < 0.7 else self.scale * 0.07)
                there = rng.random() < 0.75
                source, target = ("checking", place) if there else (place, "checking")
                pair = self._group()
                later = day + timedelta(days=int(rng.choice([0, 0, 0, 1, 3])))
                same_owner: dict[str, Any] = {"type": "pix", "category": "transfers.own", "payee": self.owner}
                self.add(source, day, -cents, self.line(out_line, self.owner, day), **same_owner, transfer=pair)
                self.add(target, later, cents, self.line(in_line, self.owner, later), **same_owner, transfer=pair)
                if rng.random() < 0.25:  # a decoy of equal amount
                    self.pay("pix", source, day, cents / 100, person(rng, pool), "people")

    def card_bills(self) -> None:
        rng, pool = self.rng, self.pool
        for card in self.cards:
            closing, lag = int(rng.integers(1, 28)), int(rng.integers(7, 11))
            from_line, to_line = pool.card_payment[int(rng.integers(0, len(pool.card_payment)))]
            partly = rng.random() < 0.12
            open_rows = sorted((r for r in self.rows if r["account"] == card), key=lambda r: r["day"])
            before, debt = self.begin - timedelta(days=60), 0
            for first in self.month_days(1, 1, 0):
                closes = on_or_before(first.replace(day=closing))
                debt += sum(r["cents"] for r in open_rows if before < r["day"] <= closes)
                before = closes
                due = on_or_after(closes + timedelta(days=lag))
                for row in open_rows:
                    if row.get("cash_day") is None and row["day"] <= closes:
                        row["cash_day"], row["closes_on"] = due, closes
                if debt >= 0 or not self.begin <= due <= self.end:
                    continue
                paid = -debt if not partly or rng.random() < 0.8 else -debt // 2
                pair = self._group()
                pays: dict[str, Any] = {"type": "bill_payment", "category": "transfers.card", "transfer": pair}
                self.add("checking", due, -paid, from_line, **pays)
                self.add(card, due, paid, to_line, **pays)
                debt += paid

    def make(self) -> _Entity:
        self.income()
        self.bills()
        self.subscriptions()
        self.daily_life()
        self.oddities()
        self.instalments()
        self.transfers()
        self.card_bills()
        if self.rng.random() < 0.15 and self.months > 4:  # an outage: a week that we never saw
            gone = self.begin + timedelta(days=int(self.rng.integers(30, self.months * 30)))
            for row in self.rows:
                row["lost"] = gone <= row["day"] < gone + timedelta(days=7)
        return self


def as_of_of(seed: int) -> date:
    """The day up to which a seed's world is seen: another phase of the month and the year for each."""
    return date(2025, 3, 1) + timedelta(days=seed * 37 % 420)


def generate(seed: int, *, entities: int = 150, months: int | None = None) -> World:
    """A world of a seed. `months` of history for every entity; None: 3 to 18, by chance."""
    pool, as_of = pool_of(seed), as_of_of(seed)
    made = []
    for index in range(entities):
        rng = np.random.default_rng([seed, index])
        span = months or int(rng.integers(3, 19))
        made.append(_Entity(rng, pool, index=index, as_of=as_of, months=span).make())
    rows = pl.DataFrame(
        [row for one in made for row in one.rows if not row.get("lost")],
        schema={
            "entity": pl.Int32, "account": pl.Utf8, "day": pl.Date, "cents": pl.Int64, "description": pl.Utf8,
            "type": pl.Utf8, "category": pl.Utf8, "mcc": pl.Int32, "payee": pl.Utf8, "orig_cents": pl.Int64,
            "stream": pl.Int32, "transfer": pl.Int32, "refund_of": pl.Int32, "duplicate_of": pl.Int32,
            "unusual": pl.Boolean, "plan": pl.Int32, "no": pl.Int32, "of": pl.Int32, "iof_of": pl.Int32,
            "state": pl.Utf8, "uid": pl.Int32, "cash_day": pl.Date, "closes_on": pl.Date,
        },
    ).filter(pl.col("day") >= pl.date(2000, 1, 1)).sort("entity", "day", "uid", maintain_order=True)  # fmt: skip
    streams = pl.DataFrame(
        [
            {"entity": one.index, "stream": s.id, "kind": s.kind, "cadence": s.cadence, "category": s.category, "rises": s.rises}
            for one in made for s in one.streams
        ],
        schema={"entity": pl.Int32, "stream": pl.Int32, "kind": pl.Utf8, "cadence": pl.Utf8, "category": pl.Utf8,
                "rises": pl.List(pl.Date)},
    )  # fmt: skip
    accounts = pl.DataFrame(
        [{"entity": one.index, "account": name, "kind": "card" if name.startswith("card") else "savings" if name == "savings" else "checking"}
         for one in made for name in [*one.accounts, *one.cards]],
        schema={"entity": pl.Int32, "account": pl.Utf8, "kind": pl.Utf8},
    )  # fmt: skip
    who = pl.DataFrame(
        [{"entity": one.index, "archetype": one.archetype, "months": one.months, "owner": one.owner} for one in made]
    ).with_columns(pl.col("entity").cast(pl.Int32))
    return World(seed=seed, as_of=as_of, rows=rows, accounts=accounts, streams=streams, entities=who)


def money(cents: int) -> Decimal:
    """Cents as BRL."""
    return Decimal(cents) / 100
