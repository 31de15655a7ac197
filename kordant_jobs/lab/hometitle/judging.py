"""Counts what the rules say of an invented county against its truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.codes import kind_of
from kordant_jobs.domain.property.findings import Finding
from kordant_jobs.domain.property.instruments import Event, Instrument, Party, role_of
from kordant_jobs.domain.property.names import Order
from kordant_jobs.jobs.hometitle_scan.rules.history import read_history
from kordant_jobs.lab.world.county import County, Record


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


LOUDNESS = ("quiet", "calm", "told", "loud")


def loudness(finding: Finding) -> str:
    """Quiet: only listed. Calm: low. Told: medium or high. Loud: critical."""
    if not finding.is_told:
        return "quiet"
    return {Severity.LOW: "calm", Severity.CRITICAL: "loud"}.get(finding.severity, "told")


def expected(record: Record) -> str:
    """How loud a record should be, by its truth."""
    truth = record.truth
    if truth.loud:
        return "loud"
    match truth.event:
        case Event.OWNERSHIP_CHANGE:
            return "told" if truth.relation == "stranger" else "calm"
        case Event.MORTGAGE:
            return "quiet" if truth.relation == "refinance" else "told"
        case Event.CORRECTION | Event.OTHER | Event.ASSIGNMENT:
            return "quiet"
        case Event.RELEASE | Event.TRANSFER_ON_DEATH:
            return "calm"
        case _:
            return "told"


@dataclass
class Count:
    """Found against planted, a row a watched parcel and instrument."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    frauds: Counter[str] = field(default_factory=Counter)
    frauds_found: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, Record, Finding]] = field(default_factory=list)

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


def _count(count: Count, record: Record, finding: Finding | None) -> None:
    if record.truth.fraud and record.truth.loud:
        count.frauds[record.truth.fraud] += 1
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
        if record.truth.fraud and record.truth.loud:
            count.frauds_found[record.truth.fraud] += 1
    else:
        count.wrong += 1
        count.missed += 1
        count.confusion[wanted, said] += 1
        count.examples.append((wanted, record, finding))
