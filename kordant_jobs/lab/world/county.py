"""An invented county over twenty years: who owned what, what was recorded of it, and what of that was fraud.

The truth is written down as it happens (`Record.truth`), so that what the rules say can be counted against it.
Shares of kinds follow ACRIS and Allegheny: about a third are deeds, a third mortgages, a fifth satisfactions.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from kordant_jobs.domain.property.instruments import Event
from kordant_jobs.lab.world.county_people import LENDERS, CountyParty, People, written_all

START = date(2006, 1, 1)
YEARS = 20


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth about a record: the event, the relation of who takes to who owned, whether it must be loud, and the
    fraud pattern it is part of."""

    event: Event
    relation: str
    loud: bool
    fraud: str = ""
    attached: bool = False
    """A correction that must not alarm again."""


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded document: what a county publishes, and beside it the truth."""

    key: str
    code: str
    recorded_on: date
    executed_on: date
    amount: Decimal
    lots: tuple[int, ...]
    givers: tuple[str, ...] = field(repr=False)
    takers: tuple[str, ...] = field(repr=False)
    giver_ids: tuple[int, ...]
    taker_ids: tuple[int, ...]
    refers_to: tuple[str, ...]
    truth: Truth


@dataclass
class Lot:
    """One parcel: who owns it, and the open mortgages on it."""

    owners: list[CountyParty]
    mortgages: list[tuple[str, str]] = field(default_factory=list)
    """Keys and lenders."""
    price: int = 300_000
    stolen: bool = False


class County:
    """A county of `lots` parcels in which `deeds` documents or a few more are recorded."""

    def __init__(self, seed: int, *, lots: int, documents: int, frauds: int = 60) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - an invented county
        self.people = People(self.rng)
        self.records: list[Record] = []
        self.lots = [self._settled() for _ in range(lots)]
        self._days = YEARS * 365
        self._on = START
        self._first_deeds()
        self._run(documents, frauds)

    def parcel(self, lot: int) -> str:
        """The parcel number of a lot, as a BBL of Brooklyn."""
        return f"3{lot // 90 + 1:05d}{lot % 90 + 1:04d}"

    def _settled(self) -> Lot:
        one = self._buyer()
        return Lot(owners=one, price=self.rng.randrange(80, 1200) * 1000)

    def _buyer(self) -> list[CountyParty]:
        draw = self.rng.random()
        if draw < 0.12:
            return [self.people.firm()]
        one = self.people.person()
        if draw < 0.55:
            spouse = self.people.relative(one) if self.rng.random() < 0.85 else self.people.person()
            return [one, spouse]
        return [one]

    def _record(
        self,
        code: str,
        lots: Sequence[int],
        givers: Sequence[CountyParty],
        takers: Sequence[CountyParty],
        truth: Truth,
        *,
        amount: int = 0,
        refers_to: tuple[str, ...] = (),
        days: int = 0,
        lender: str = "",
        claimant: str = "",
    ) -> Record:
        rng = self.rng
        on = self._on + timedelta(days=days)
        outside = lender or claimant
        one = Record(
            key=f"{on:%Y%m%d}{len(self.records):08d}",
            code=code,
            recorded_on=on,
            executed_on=on - timedelta(days=rng.randrange(1, 40)),
            amount=Decimal(amount),
            lots=tuple(lots),
            givers=written_all(givers, rng),
            takers=(outside,) if outside else written_all(takers, rng),
            giver_ids=tuple(one.id for one in givers),
            taker_ids=() if outside else tuple(one.id for one in takers),
            refers_to=refers_to,
            truth=truth,
        )
        self.records.append(one)
        return one

    def _first_deeds(self) -> None:
        """Every lot has a deed from before, a few hundred by one document over many lots."""
        number = 0
        while number < len(self.lots):
            size = self.rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 1, 40)) if number + 40 < len(self.lots) else 1
            them = list(range(number, number + size))
            owners = self.lots[number].owners
            for lot in them:
                self.lots[lot].owners = owners
            self._on = START - timedelta(days=self.rng.randrange(1, 700))
            truth = Truth(Event.OWNERSHIP_CHANGE, "start", False)
            self._record("DEED", them, [self.people.firm()], owners, truth, amount=self.lots[number].price)
            number += size

    def _run(self, documents: int, frauds: int) -> None:
        rng = self.rng
        kinds: list[tuple[float, Callable[[int], None]]] = [
            (0.30, self._sale), (0.24, self._refinance), (0.06, self._to_trust), (0.06, self._gift),
            (0.05, self._estate), (0.03, self._add_spouse), (0.02, self._correct), (0.06, self._lien),
            (0.01, self._lis_pendens),
            (0.015, self._power), (0.01, self._on_death), (0.06, self._assign), (0.05, self._other),
            (0.005, self._tax_deed), (0.02, self._own_firm), (0.02, self._pay_off),
        ]  # fmt: skip
        weights, acts = [share for share, _ in kinds], [act for _, act in kinds]
        patterns = (
            self._forged,
            self._dead_grantor,
            self._to_llc_and_on,
            self._impostor,
            self._by_power,
            self._cash_out,
        )
        step = self._days / max(1, documents * 0.58)
        late = range(int(self._days * 0.75), self._days - 120)
        frauds = min(frauds, len(self.lots) // 8, len(late))
        strikes = sorted(rng.sample(late, frauds))
        clock, struck = 0.0, 0
        while clock < self._days - 90:
            clock += step
            self._on = START + timedelta(days=int(clock))
            lot = rng.randrange(len(self.lots))
            while struck < len(strikes) and strikes[struck] <= clock:
                patterns[struck % len(patterns)](self._clean_lot())
                struck += 1
            if not self.lots[lot].stolen:
                rng.choices(acts, weights)[0](lot)

    def _clean_lot(self) -> int:
        """A lot of persons, as owners whose house can be stolen are."""
        while True:
            lot = self.rng.randrange(len(self.lots))
            one = self.lots[lot]
            if not one.stolen and not any(owner.body for owner in one.owners):
                return lot

    # what happens in honest ways

    def _sale(self, lot: int) -> None:
        one, buyers = self.lots[lot], self._buyer()
        code = self.rng.choice(("DEED", "DEED", "DEED", "WARRANTY DEED", "BARGAIN AND SALE DEED", "SPECIAL WARRANTY"))
        self._record(
            code, [lot], one.owners, buyers, Truth(Event.OWNERSHIP_CHANGE, "stranger", False), amount=one.price
        )
        one.owners = buyers
        for key, lender in one.mortgages:
            self._satisfy(lot, key, lender, buyers, days=self.rng.randrange(10, 60))
        one.mortgages = []
        if self.rng.random() < 0.65:
            self._borrow(lot, buyers, self.rng.choice(LENDERS))

    def _borrow(self, lot: int, who: list[CountyParty], lender: str) -> None:
        truth = Truth(Event.MORTGAGE, "owner", False)
        made = self._record("MORTGAGE", [lot], who, (), truth, amount=self.lots[lot].price * 3 // 4, lender=lender)
        self.lots[lot].mortgages.append((made.key, lender))

    def _satisfy(self, lot: int, key: str, lender: str, who: list[CountyParty], *, days: int = 0) -> None:
        refers = (key,) if self.rng.random() < 0.7 else ()
        self._record("SATISFACTION OF MORTGAGE", [lot], who, (), Truth(Event.RELEASE, "owner", False), lender=lender,
                     refers_to=refers, days=days)  # fmt: skip

    def _refinance(self, lot: int) -> None:
        one = self.lots[lot]
        same = bool(one.mortgages) and self.rng.random() < 0.5
        lender = one.mortgages[0][1] if same else self.rng.choice(LENDERS)
        old, one.mortgages = one.mortgages, []
        relation = "refinance" if any(lender == held for _, held in old) else "owner"
        made = self._record("MORTGAGE", [lot], one.owners, (), Truth(Event.MORTGAGE, relation, False),
                            amount=one.price // 2, lender=lender)  # fmt: skip
        for key, held in old:
            self._satisfy(lot, key, held, one.owners, days=self.rng.randrange(5, 40))
        one.mortgages = [(made.key, lender)]

    def _pay_off(self, lot: int) -> None:
        one = self.lots[lot]
        for key, lender in one.mortgages:
            self._satisfy(lot, key, lender, one.owners)
        one.mortgages = []

    def _move(self, lot: int, takers: list[CountyParty], relation: str, code: str) -> None:
        one = self.lots[lot]
        amount = self.rng.choice((0, 0, 1, 1, 10))
        self._record(code, [lot], one.owners, takers, Truth(Event.OWNERSHIP_CHANGE, relation, False), amount=amount)
        one.owners = takers

    def _person_of(self, lot: int) -> CountyParty | None:
        return next((one for one in self.lots[lot].owners if not one.body), None)

    def _to_trust(self, lot: int) -> None:
        if one := self._person_of(lot):
            self._move(lot, [self.people.trust(one)], "own_trust", self.rng.choice(("DEED", "QUIT CLAIM DEED")))

    def _own_firm(self, lot: int) -> None:
        if one := self._person_of(lot):
            self._move(lot, [self.people.firm(one)], "own_firm", self.rng.choice(("DEED", "QUIT CLAIM DEED")))

    def _gift(self, lot: int) -> None:
        if one := self._person_of(lot):
            self._move(lot, [self.people.relative(one)], "family", self.rng.choice(("DEED", "QUIT CLAIM DEED")))

    def _add_spouse(self, lot: int) -> None:
        if one := self._person_of(lot):
            added = self.people.relative(one) if self.rng.random() < 0.7 else self.people.person()
            self._move(lot, [*self.lots[lot].owners[:1], added] if len(self.lots[lot].owners) == 1 else [one], "spouse",
                       "QUIT CLAIM DEED")  # fmt: skip

    def _estate(self, lot: int) -> None:
        one = self._person_of(lot)
        if not one or len(self.lots[lot].owners) > 1:
            return
        heir = self.people.relative(one) if self.rng.random() < 0.8 else self.people.person()
        made = self._record("EXECUTOR'S DEED", [lot], [one], [heir], Truth(Event.OWNERSHIP_CHANGE, "estate", False))
        self.records[-1] = _with_givers(made, tuple(f"{name} ESTATE OF" for name in made.givers))
        self.lots[lot].owners = [heir]

    def _correct(self, lot: int) -> None:
        one = self.lots[lot]
        before = next(
            (r for r in reversed(self.records[-400:]) if r.truth.event is Event.OWNERSHIP_CHANGE and not r.truth.fraud
             and r.truth.relation != "start" and len(r.lots) == 1 and not self.lots[r.lots[0]].stolen
             and [o.id for o in self.lots[r.lots[0]].owners] == list(r.taker_ids)), None)  # fmt: skip
        if before is None:
            return
        one = self.lots[before.lots[0]]
        givers = [self.people.all[i] for i in before.giver_ids]
        refers = (before.key,) if self.rng.random() < 0.6 else ()
        truth = Truth(Event.CORRECTION, "same", False, attached=True)
        made = self._record("CORRECTION DEED", before.lots, givers, one.owners, truth, refers_to=refers)
        if before.truth.relation == "estate":
            self.records[-1] = _with_givers(made, before.givers)

    def _lien(self, lot: int) -> None:
        code, who = self.rng.choice(
            (("FEDERAL TAX LIEN", "INTERNAL REVENUE SERVICE"), ("JUDGMENT", "CITY COMMISSIONER OF FINANCE"),
             ("MECHANICS LIEN", "SUMMIT CONSTRUCTION GROUP INC")))  # fmt: skip
        owners = self.lots[lot].owners
        made = self._record(code, [lot], owners, (), Truth(Event.LIEN, "owner", False), amount=9_000, claimant=who)
        if self.rng.random() < 0.7:
            self._record("RELEASE OF LIEN", [lot], owners, (), Truth(Event.RELEASE, "owner", False), claimant=who,
                         refers_to=(made.key,) if self.rng.random() < 0.7 else (),
                         days=self.rng.randrange(30, 89))  # fmt: skip

    def _lis_pendens(self, lot: int) -> None:
        self._record("LIS PENDENS", [lot], self.lots[lot].owners, (), Truth(Event.LIS_PENDENS, "owner", False),
                     claimant=self.rng.choice(LENDERS))  # fmt: skip

    def _power(self, lot: int) -> None:
        if one := self._person_of(lot):
            agent = self.people.relative(one)
            self._record("POWER OF ATTORNEY", [lot], [one], [agent], Truth(Event.POWER_OF_ATTORNEY, "family", False))

    def _on_death(self, lot: int) -> None:
        if one := self._person_of(lot):
            heir = self.people.relative(one)
            self._record(
                "TRANSFER ON DEATH DEED", [lot], [one], [heir], Truth(Event.TRANSFER_ON_DEATH, "family", False)
            )

    def _assign(self, lot: int) -> None:
        one = self.lots[lot]
        if one.mortgages:
            key, lender = one.mortgages[-1]
            new = self.rng.choice(LENDERS)
            bank = CountyParty(-1, body=lender)
            truth = Truth(Event.ASSIGNMENT, "owner", False)
            self._record("ASSIGNMENT OF MORTGAGE", [lot], [bank], (), truth, lender=new, refers_to=(key,))
            one.mortgages[-1] = (key, new)

    def _other(self, lot: int) -> None:
        code = self.rng.choice(("EASEMENT", "LEASE", "DECLARATION", "ZONING LOT DESCRIPTION", "DEED OF EASEMENT"))
        if code == "DEED OF EASEMENT":
            code = "EASEMENT AGREEMENT"
        self._record(code, [lot], self.lots[lot].owners, [self.people.firm()], Truth(Event.OTHER, "owner", False))

    def _tax_deed(self, lot: int) -> None:
        buyer = [self.people.firm()]
        sheriff = CountyParty(-1, body="SHERIFF OF THE COUNTY")
        self._record("SHERIFF'S DEED", [lot], [sheriff, *self.lots[lot].owners], buyer,
                     Truth(Event.TAX_DEED, "stranger", True), amount=40_000)  # fmt: skip
        self.lots[lot].owners, self.lots[lot].mortgages = buyer, []

    # fraud: the owners of the lot stay who they are, whatever is recorded

    def _forged(self, lot: int) -> None:
        self._steal(lot, [self.people.person()], "QUIT CLAIM DEED", "forged-quitclaim-nominal",
                    amount=self.rng.choice((0, 10)))  # fmt: skip

    def _steal(
        self, lot: int, takers: list[CountyParty], code: str, fraud: str, *, amount: int, days: int = 0
    ) -> Record:
        one = self.lots[lot]
        one.stolen = True
        truth = Truth(Event.OWNERSHIP_CHANGE, "stranger", True, fraud)
        return self._record(code, [lot], one.owners, takers, truth, amount=amount, days=days)

    def _dead_grantor(self, lot: int) -> None:
        self._steal(lot, [self.people.person()], "DEED", "dead-grantor", amount=1)

    def _to_llc_and_on(self, lot: int) -> None:
        firm = self.people.firm()
        self._steal(lot, [firm], "QUIT CLAIM DEED", "forged-deed-to-LLC-then-BFP", amount=0)
        self._record("DEED", [lot], [firm], [self.people.person()],
                     Truth(Event.OWNERSHIP_CHANGE, "stranger", True, "forged-deed-to-LLC-then-BFP"),
                     amount=self.lots[lot].price, days=self.rng.randrange(7, 80))  # fmt: skip

    def _impostor(self, lot: int) -> None:
        """No mortgage is open on it; a warranty deed, cash, well below what it is worth."""
        for key, lender in self.lots[lot].mortgages:
            self._satisfy(lot, key, lender, self.lots[lot].owners)
        self.lots[lot].mortgages = []
        self._steal(lot, [self.people.person()], "WARRANTY DEED", "vacant-land-impersonation", amount=38_000, days=20)

    def _by_power(self, lot: int) -> None:
        thief = self.people.person()
        owner = self.lots[lot].owners[0]
        truth = Truth(Event.POWER_OF_ATTORNEY, "stranger", False, "poa-then-deed")
        self._record("POWER OF ATTORNEY", [lot], [owner], [thief], truth)
        self._steal(lot, [thief], "DEED", "poa-then-deed", amount=250_000, days=self.rng.randrange(1, 59))

    def _cash_out(self, lot: int) -> None:
        self.lots[lot].stolen = True
        truth = Truth(Event.MORTGAGE, "stranger", True, "cash-out-mortgage")
        self._record(
            "MORTGAGE", [lot], [self.people.person()], (), truth, amount=200_000, lender=self.rng.choice(LENDERS)
        )


def _with_givers(record: Record, givers: tuple[str, ...]) -> Record:
    """The record with its givers as the index has them."""
    return Record(record.key, record.code, record.recorded_on, record.executed_on, record.amount, record.lots, givers,
                  record.takers, record.giver_ids, record.taker_ids, record.refers_to, record.truth)  # fmt: skip
