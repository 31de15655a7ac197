"""Counts what the rules say of an invented county against its truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.findings import Finding
from kordant_jobs.domain.property.instruments import Event, Instrument, Party, kind_of, role_of
from kordant_jobs.domain.property.names import Order, flipped, lookup_keys, parse
from kordant_jobs.domain.property.rolls import RollState, canonical_mailing, canonical_owners
from kordant_jobs.jobs.hometitle_scan.rules.history import read_history
from kordant_jobs.jobs.hometitle_scan.rules.owners import OWNER_AT, advance, best_of, is_explained
from kordant_jobs.lab.world.county import County, Record
from kordant_jobs.lab.world.county_roll import roll_changes


def instrument_of(record: Record) -> Instrument:
    """The record as a driver would give it."""
    kind = kind_of(record.code, {})
    sides = ((1, record.givers), (2, record.takers))
    return Instrument(
        key=record.key,
        event=kind.event,
        form=kind.form,
        code=record.code,
        recorded_on=record.recorded_on,
        executed_on=record.executed_on,
        amount=record.amount,
        parties=tuple(Party(role=role_of(kind.event, side), name=name) for side, names in sides for name in names),
        refers_to=record.refers_to,
    )


def loudness(finding: Finding) -> str:
    """Quiet: only listed. Calm: low. Alerted: medium or high. Loud: critical."""
    if not finding.raises_alert:
        return "quiet"
    return {Severity.LOW: "calm", Severity.CRITICAL: "loud"}.get(finding.severity, "alerted")


def expected(record: Record) -> str:
    """The severity group that a record should get, by its truth."""
    truth = record.truth
    if truth.loud:
        return "loud"
    match truth.event:
        case Event.OWNERSHIP_CHANGE:
            return "alerted" if truth.relation == "stranger" else "calm"
        case Event.MORTGAGE:
            return "quiet" if truth.relation == "refinance" else "alerted"
        case Event.CORRECTION | Event.OTHER | Event.ASSIGNMENT:
            return "quiet"
        case Event.RELEASE | Event.TRANSFER_ON_DEATH:
            return "calm"
        case _:
            return "alerted"


@dataclass
class Count:
    """Found against planted, a row a watched parcel and instrument."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    frauds: Counter[str] = field(default_factory=Counter)
    """Records by the pattern that they are examples of; `frauds_found`: those judged right."""
    frauds_found: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Count) -> Count:
        return Count(
            right=self.right + other.right,
            wrong=self.wrong + other.wrong,
            missed=self.missed + other.missed,
            confusion=self.confusion + other.confusion,
            frauds=self.frauds + other.frauds,
            frauds_found=self.frauds_found + other.frauds_found,
        )

    @property
    def precision(self) -> float:
        """Of what was said, the share that is so."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Of what is so, the share that was said."""
        return self.right / max(1, self.right + self.missed)


def judge(county: County, watched: Iterable[int]) -> Count:
    """The events of watched lots: right when type, loudness and both sides' roles are as the truth has them."""
    on_lot: dict[int, list[Record]] = {}
    for record in county.records:
        for lot in record.lots:
            on_lot.setdefault(lot, []).append(record)
    count = Count()
    for lot in watched:
        records = {record.key: record for record in on_lot.get(lot, ())}
        findings = {
            one.key: one for one in read_history(map(instrument_of, records.values()), order=Order.SURNAME_FIRST)
        }
        for key, record in records.items():
            if record.truth.relation == "start":
                continue
            _count(count, record, findings.get(key))
    return count


def judge_roll(county: County, seed: int) -> tuple[Count, Count]:
    """A year's change of the owner roll, of every lot: redirected mail, and owners whom no document explains, as they
    are alerted after the 60 days; each right, wrong or missed."""
    on_lot: dict[int, list[Record]] = {}
    for record in county.records:
        for lot in record.lots:
            on_lot.setdefault(lot, []).append(record)
    mail, owners = Count(), Count()
    for change in roll_changes(county, seed, range(len(county.lots))):
        first, second = (
            RollState(owners=canonical_owners(one.owners).encode(), mailing=canonical_mailing(one.mailing).encode())
            for one in (change.before, change.after)
        )
        state, moved = advance(first, second, today=change.on)
        alerted = state.waiting_since is not None and not is_explained(
            change.after.owners, state.waiting_since, map(instrument_of, on_lot[change.lot])
        )
        for count, said, truth in ((mail, moved, change.redirected), (owners, alerted, change.usurped)):
            count.right += said and truth
            count.wrong += said and not truth
            count.missed += truth and not said
            if said != truth:
                what = "; ".join(change.after.owners) if count is owners else change.after.mailing
                count.confusion["changed" if truth else "spelled otherwise", f"{said}: {what}"] += 1
    return mail, owners


BENIGN = {
    "own_trust": "benign-love-and-affection", "own_firm": "benign-love-and-affection",
    "family": "benign-love-and-affection", "same": "benign-correction", "estate": "benign-divorce-estate",
    "spouse": "benign-divorce-estate",
}  # fmt: skip
"""Events that resemble a fraud and are none, by the relation of those who take: named as in the advisories'
patterns."""


def pattern_of(record: Record) -> str:
    """The pattern that a record is an example of; empty: of none."""
    truth = record.truth
    if truth.fraud:
        return truth.fraud if truth.loud else ""
    return BENIGN.get(truth.relation, "") if truth.event in {Event.OWNERSHIP_CHANGE, Event.CORRECTION} else ""


def _count(count: Count, record: Record, finding: Finding | None) -> None:
    pattern = pattern_of(record)
    if pattern:
        count.frauds[pattern] += 1
    if finding is None:
        count.missed += 1
        return
    wanted = f"{record.truth.event.value} {expected(record)} {record.truth.relation}"
    said = f"{finding.event.value} {loudness(finding)} {' '.join(finding.reasons)}"
    instrument = instrument_of(record)
    roles_right = (
        instrument.givers == record.givers and instrument.takers == record.takers
    ) or finding.event is Event.OTHER
    if finding.event is record.truth.event and loudness(finding) == expected(record) and roles_right:
        count.right += 1
        if pattern:
            count.frauds_found[pattern] += 1
    else:
        count.wrong += 1
        count.missed += 1
        count.confusion[wanted, said] += 1


def judge_owners(county: County, watched: int) -> tuple[Count, list[tuple[float, bool]]]:
    """Owners watched by their name alone, as they write it: right when a document of theirs is alerted. Beside the
    count, of each document that the name's keys bring up the probability and the truth."""
    on_key: dict[str, list[Record]] = {}
    of_person: dict[int, list[Record]] = {}
    for record in county.records:
        names = [parse(name, Order.SURNAME_FIRST) for name in (*record.givers, *record.takers)]
        for key in {key for name in names for key in lookup_keys(name)}:
            on_key.setdefault(key, []).append(record)
        for one in {*record.giver_ids, *record.taker_ids}:
            of_person.setdefault(one, []).append(record)
    owners = [one for one in county.people.all if not one.body and one.id in of_person]
    people = sum(not one.body for one in county.people.all)
    count, likely = Count(), []
    for owner in county.rng.sample(owners, min(watched, len(owners))):
        name = parse(owner.full, Order.GIVEN_FIRST)
        keys = {key for reading in (name, flipped(name)) for key in lookup_keys(reading)}
        theirs = {record.key for record in of_person[owner.id]}
        alerted = set()
        for record in {one.key: one for key in keys for one in on_key.get(key, ())}.values():
            instrument = instrument_of(record)
            said = best_of(instrument, [name], people=people, order=Order.SURNAME_FIRST)
            likely.append((said.probability, record.key in theirs))
            if said.probability >= OWNER_AT:
                alerted.add(record.key)
                if record.key not in theirs:
                    count.confusion["another's", f"theirs: {' '.join(said.agrees)}"] += 1
            elif record.key in theirs:
                count.confusion["theirs", f"another's: {' '.join(said.differs) or 'too frequent a name'}"] += 1
        count.right += len(alerted & theirs)
        count.wrong += len(alerted - theirs)
        count.missed += len(theirs - alerted)
    return count, likely
