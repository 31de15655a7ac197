"""Interprets the instruments on one parcel for its watchers, in the order of recording.

The whole history is read every time. The same instruments always give the same findings, so a scan may be repeated, and
a late record is put in its place. The service knows which findings are new.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.findings import Finding, Reason
from kordant_jobs.domain.property.instruments import CHARGES, TITLE, Event, Form, Instrument, Party, Role
from kordant_jobs.domain.property.names import COMMON_WORDS, NameKind, Order, parse
from kordant_jobs.jobs.hometitle_scan.rules.relations import Relation, any_same, is_same, relation

NOMINAL_MOST = Decimal(100)
"""The highest consideration that counts as nominal: $0, $1 and $10 are customary (about 20 % of Allegheny's transfers
cost $1)."""
POWER_WINDOW = timedelta(days=60)
"""A deed within this time after a power of attorney, to its holder, is one case with it (advisories of title
insurers)."""
RESALE_WINDOW = timedelta(days=180)
"""A sale or mortgage by the taker within this time after a suspicious transfer is one case with it."""
REFINANCE_MOST = Decimal("1.5")
"""A mortgage by the same lender up to this multiple of its debt is a refinancing; above it is new debt."""
_LENDS = frozenset({"BANK", "MORTGAGE", "CREDIT", "LOAN", "LOANS", "LENDING", "SAVINGS", "TRUST", "NA"})
_PUBLIC = frozenset({"IRS", "REVENUE", "STATE", "CITY", "COUNTY", "TOWN", "DEPARTMENT", "DEPT", "TREASURER", "COURT"})
"""Words of public lien holders; lenders may have them in their names, too."""
LONG_HELD = timedelta(days=3650)
"""The time since an owner's last document after which the owner may be dead."""
CORRECTION_WINDOW = timedelta(days=3 * 365)
_CLOSE = frozenset({Relation.OWN_BODY, Relation.FAMILY})
CHEAP = Decimal(50_000)
"""Fraudsters' prices for land that is free and clear were mostly below it (FBI Newark, Secret Service advisories).
Other land is cheap below the debt on it."""


@dataclass
class _Parcel:
    """The state of the record up to the current instrument."""

    owners: tuple[str, ...] = ()
    deed: Instrument | None = None
    deeds: list[Instrument] = field(default_factory=list)
    charges: dict[str, Instrument] = field(default_factory=dict)
    closed: list[tuple[date, Instrument]] = field(default_factory=list)
    powers: list[Instrument] = field(default_factory=list)
    loud: Instrument | None = None
    loud_case: str = ""
    findings: dict[str, Finding] = field(default_factory=dict)


def in_order(instruments: Iterable[Instrument]) -> list[Instrument]:
    """The instruments by day of recording, then in the recorder's numbering (999 before 1000); those without a day
    first."""
    return sorted(instruments, key=lambda one: (one.recorded_on or date.min, _numbered(one.key)))


def _numbered(key: str) -> list[tuple[str, int]]:
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)([0-9]*)", key)]


def read_history(
    instruments: Iterable[Instrument], *, known_owners: Sequence[str] = (), order: Order = Order.EITHER
) -> list[Finding]:
    """One finding for each instrument, in order. `known_owners`: the owners as the subscriber knows them; they count
    where no deed names owners."""
    ordered = in_order(instruments)
    powers = [one for one in ordered if one.event is Event.POWER_OF_ATTORNEY]
    parcel = _Parcel(owners=tuple(known_owners), powers=powers)
    for one in ordered:
        found = _judge(one, parcel, tuple(known_owners), order)
        parcel.findings[one.key] = found
        _advance(one, found, parcel, order)
    return list(parcel.findings.values())


def _judge(one: Instrument, parcel: _Parcel, known: tuple[str, ...], order: Order) -> Finding:
    calm = Finding(
        key=one.key,
        event=one.event,
        severity=Severity.LOW,
        raises_alert=False,
        before=parcel.deed.key if parcel.deed else None,
    )
    match one.event:
        case Event.OWNERSHIP_CHANGE | Event.PARTIAL_TRANSFER | Event.TAX_DEED:
            return _title(one, parcel, known, order, calm)
        case Event.CORRECTION:
            return _correction(one, parcel, known, order, calm)
        case Event.MORTGAGE:
            return _mortgage(one, parcel, order, calm)
        case Event.TRANSFER_ON_DEATH:
            stranger = relation(one.givers, one.takers, order) is Relation.STRANGER
            said = (Reason.STRANGER,) if stranger else (Reason.FAMILY,)
            return replace(calm, severity=Severity.HIGH if stranger else Severity.LOW, raises_alert=True, reasons=said)
        case Event.POWER_OF_ATTORNEY:
            return replace(calm, severity=Severity.MEDIUM, raises_alert=True)
        case Event.LIEN | Event.LIS_PENDENS:
            return replace(calm, severity=Severity.HIGH, raises_alert=True)
        case Event.RELEASE | Event.PARTIAL_RELEASE:
            closed = _closed_by(one, parcel, order)
            return replace(calm, raises_alert=True, reasons=(Reason.CLOSES,) if closed else (), case=closed)
        case Event.CONTRACT | Event.TOD_REVOKED:
            return replace(calm, severity=Severity.MEDIUM, raises_alert=True)
        case Event.NAME_CHANGE:
            return replace(calm, raises_alert=True)
        case Event.UNKNOWN:  # it may be anything: what cannot be read is shown to the owner
            return replace(calm, severity=Severity.MEDIUM, raises_alert=True)
        case Event.MAILING_ADDRESS_CHANGED | Event.OWNER_CHANGED_ON_ROLL:
            said = (Reason.REDIRECTED if one.event is Event.MAILING_ADDRESS_CHANGED else Reason.NO_DOCUMENT,)
            return replace(calm, severity=Severity.HIGH, raises_alert=True, reasons=said)
        case _:
            return calm


def _title(one: Instrument, parcel: _Parcel, known: tuple[str, ...], order: Order, calm: Finding) -> Finding:
    """The finding of a transfer of title, from taker, giver and price. See `fraud` in the tests for the patterns."""
    if earlier := _same_deed(one, parcel, order):
        return replace(calm, reasons=(Reason.RECORDED_AGAIN,), case=earlier.key, before=_before(earlier, parcel))
    if one.event is Event.TAX_DEED:
        return replace(calm, severity=Severity.CRITICAL, raises_alert=True, reasons=(Reason.FORCED_SALE,))
    owners = parcel.owners or one.givers
    said: list[Reason] = []
    if (
        known
        and parcel.deed is not None
        and any_same(one.takers, known, order)
        and not any_same(parcel.owners, known, order)
    ):
        return replace(calm, raises_alert=True, reasons=(Reason.YOU_BOUGHT,))
    from_owner = not one.givers or not parcel.owners or _gives(one.givers, parcel.owners, order)
    to_whom = relation([*owners, *one.givers] if from_owner else list(owners), one.takers, order)
    if one.form is Form.FIDUCIARY and to_whom is Relation.STRANGER and _is_nominal(one):
        to_whom = Relation.ESTATE
    if to_whom is Relation.ESTATE and _is_nominal(one) and _are_companies(one.takers, order):
        to_whom = Relation.STRANGER  # people inherit
    if not from_owner and to_whom in {Relation.STRANGER, Relation.UNKNOWN}:
        said.append(Reason.GRANTOR_NOT_OWNER)
    if to_whom is not Relation.STRANGER and Reason.GRANTOR_NOT_OWNER not in said:
        return _calm_transfer(one, to_whom, owners, known, order, calm)
    said.append(Reason.STRANGER)
    said += _circumstances(one, parcel, order)
    case = None
    if Reason.AFTER_POWER in said:
        case = next(power.key for power in reversed(parcel.powers) if any_same(power.takers, one.takers, order))
    elif Reason.POWER_BEFORE in said:
        case = next(power.key for power in reversed(parcel.powers) if any_same(power.givers, one.givers, order))
    if Reason.RAPID_RESALE in said and parcel.loud is not None:
        case = parcel.loud_case
    loud = set(said) - {Reason.STRANGER, Reason.LONG_HELD, Reason.FREE_AND_CLEAR}
    severity = Severity.CRITICAL if loud else Severity.HIGH
    return replace(calm, severity=severity, raises_alert=True, reasons=tuple(dict.fromkeys(said)), case=case)


def _calm_transfer(
    one: Instrument, to_whom: Relation, owners: Sequence[str], known: tuple[str, ...], order: Order, calm: Finding
) -> Finding:
    """A transfer among related parties. It is less calm where the relation may be only apparent: a company named after
    a word that is also a surname, a company or several strangers as co-owners, an estate of a living owner, a deed that
    names no person."""
    said, severity = [Reason(to_whom.value)], Severity.LOW
    if to_whom is Relation.ESTATE and any_same(known, one.givers, order):
        said, severity = [*said, Reason.SAID_TO_BE_DEAD], Severity.HIGH
    elif to_whom is Relation.OWN_BODY and _bears_a_word(owners, one.takers, order):
        severity = Severity.MEDIUM
    elif to_whom is Relation.CO_OWNER:
        others = [name for name in one.takers if not any_same([name], owners, order)]
        is_spouse = len(others) == 1 and parse(others[0], order).is_person  # of whatever name
        stranger = relation(owners, others, order) is Relation.STRANGER
        severity = Severity.MEDIUM if stranger and not is_spouse else Severity.LOW
    elif to_whom is Relation.UNKNOWN:
        severity = Severity.MEDIUM
    return replace(calm, severity=severity, raises_alert=True, reasons=tuple(said))


def _are_companies(names: Sequence[str], order: Order) -> bool:
    return bool(names) and all(parse(name, order).kind is NameKind.ORGANISATION for name in names)


def _bears_a_word(owners: Sequence[str], takers: Sequence[str], order: Order) -> bool:
    """True when all takers are companies that share with the owners no more than a surname that is also a common
    word."""
    read = [parse(name, order) for name in owners]
    names = {word for one in read for word in (one.surname, one.given, *one.middle) if len(word) > 1} - COMMON_WORDS
    return _are_companies(takers, order) and not any(names & set(parse(name, order).words) for name in takers)


def _gives(givers: Sequence[str], owners: Sequence[str], order: Order) -> bool:
    """True when an owner, their estate or their trust is among the givers."""
    return any_same(givers, owners, order) or relation(owners, givers, order) in _CLOSE


def _circumstances(one: Instrument, parcel: _Parcel, order: Order) -> list[Reason]:
    said = []
    if _is_nominal(one):
        said.append(Reason.NOMINAL)
    if one.form is Form.QUITCLAIM:
        said.append(Reason.QUITCLAIM)
    on = one.recorded_on
    if on is not None:
        recent = [one for one in parcel.powers if one.recorded_on and on - POWER_WINDOW <= one.recorded_on <= on]
        if any(any_same(power.takers, one.takers, order) for power in recent):
            said.append(Reason.AFTER_POWER)
        elif any(any_same(power.givers, one.givers, order) for power in recent):
            said.append(Reason.POWER_BEFORE)
        if _follows_loud(one, parcel, order):
            said.append(Reason.RAPID_RESALE)
        if parcel.deed is not None and parcel.deed.recorded_on and on - parcel.deed.recorded_on >= LONG_HELD:
            said.append(Reason.LONG_HELD)
    if any(name.kind is NameKind.ESTATE and is_same(raw, giver, order) for deed in parcel.deeds for raw in deed.givers
           for name in [parse(raw, order)] for giver in one.givers):  # fmt: skip
        said.append(Reason.GRANTOR_DEAD)
    debt = [charge.amount or Decimal(0) for charge in parcel.charges.values() if charge.event is Event.MORTGAGE]
    if not debt:
        said.append(Reason.FREE_AND_CLEAR)
    if one.amount is not None and NOMINAL_MOST < one.amount < CHEAP and (not debt or one.amount < max(debt)):
        said.append(Reason.CHEAP)
    return said


def _follows_loud(one: Instrument, parcel: _Parcel, order: Order) -> bool:
    """True when the taker of a suspicious transfer sells or borrows soon after."""
    loud, on = parcel.loud, one.recorded_on
    if loud is None or loud.recorded_on is None or on is None:
        return False
    return on - loud.recorded_on <= RESALE_WINDOW and any_same(one.givers, loud.takers, order)


def _is_nominal(one: Instrument) -> bool:
    return one.amount is not None and one.amount <= NOMINAL_MOST


def _same_deed(one: Instrument, parcel: _Parcel, order: Order) -> Instrument | None:
    """The deed that this one repeats: recorded again, or indexed twice on one day."""
    for deed in reversed(parcel.deeds):
        named = deed.key in one.refers_to or (deed.number and deed.number in one.refers_to)
        is_last = deed is parcel.deeds[-1]  # once title has gone on, the same deed again is another one
        near = (
            is_last
            and deed.recorded_on
            and one.recorded_on
            and (one.recorded_on - deed.recorded_on) <= timedelta(days=30)
        )
        if (named or (near and deed.executed_on == one.executed_on)) and _alike(one, deed, order):
            return deed
    return None


def _alike(one: Instrument, deed: Instrument, order: Order) -> bool:
    """True when all takers of one deed are takers of the other, and any giver of one is a giver of the other."""
    takers = all(any(is_same(a, b, order) for b in deed.takers) for a in one.takers)
    return (
        bool(one.takers) and takers and (not one.givers or not deed.givers or any_same(one.givers, deed.givers, order))
    )


def _correction(one: Instrument, parcel: _Parcel, known: tuple[str, ...], order: Order, calm: Finding) -> Finding:
    """A correction that repeats an earlier deed belongs to it. One that names other takers is judged as a deed, so that
    calling a deed a correction does not silence it."""
    for deed in reversed(parcel.deeds):
        named = deed.key in one.refers_to or (deed.number and deed.number in one.refers_to)
        near = deed.recorded_on and one.recorded_on and one.recorded_on - deed.recorded_on <= CORRECTION_WINDOW
        if (named or near) and _alike(one, deed, order):
            return replace(calm, reasons=(Reason.CORRECTS,), case=deed.key, before=_before(deed, parcel))
    others = [name for name in one.takers if not any_same([name], parcel.owners, order)]
    stays = len(others) < len(one.takers)
    if not others or (stays and relation(parcel.owners, others, order) is not Relation.STRANGER):  # or misspelt
        return replace(calm, reasons=(Reason.CORRECTS,), case=parcel.deed.key if parcel.deed else None)
    judged = _title(replace(one, event=Event.OWNERSHIP_CHANGE), parcel, known, order, calm)
    if judged.severity is Severity.LOW:
        case = parcel.deed.key if parcel.deed else None
        said = (Reason.CORRECTS, *judged.reasons)
        if not {Reason.FAMILY, Reason.CO_OWNER} & set(judged.reasons):  # the owner's own trust, misspelt
            return replace(calm, reasons=said, case=case)
        return replace(calm, severity=Severity.MEDIUM, raises_alert=True, reasons=said, case=case)
    return replace(judged, event=Event.CORRECTION)


def _before(deed: Instrument, parcel: _Parcel) -> str | None:
    return parcel.findings[deed.key].before if deed.key in parcel.findings else None


def _mortgage(one: Instrument, parcel: _Parcel, order: Order, calm: Finding) -> Finding:
    """A mortgage by a person who is not the owner is as severe as a deed. One with the lender of an open or just closed
    mortgage raises no alert."""
    if parcel.owners and one.givers and not _borrows(one.givers, parcel.owners, order):
        return replace(calm, severity=Severity.CRITICAL, raises_alert=True, reasons=(Reason.BORROWER_NOT_OWNER,))
    if _follows_loud(one, parcel, order):
        linked = replace(calm, reasons=(Reason.RAPID_RESALE,), case=parcel.loud_case)
        return replace(linked, severity=Severity.CRITICAL, raises_alert=True)
    since = (one.recorded_on or date.max) - timedelta(days=90) if one.recorded_on else date.min
    held = [charge for charge in parcel.charges.values() if charge.event is Event.MORTGAGE]
    held += [charge for closed_on, charge in parcel.closed if closed_on >= since]
    if any(
        any_same(one.takers, debt.takers, order)
        and _borrows(one.givers, debt.givers, order)
        and not (one.amount and debt.amount and one.amount > debt.amount * REFINANCE_MOST)
        for debt in held
    ):
        return replace(calm, reasons=(Reason.SAME_LENDER,))
    said = () if parcel.owners else (Reason.OWNER_UNKNOWN,)
    return replace(calm, severity=Severity.MEDIUM, raises_alert=True, reasons=said)


def _borrows(borrowers: Sequence[str], owners: Sequence[str], order: Order) -> bool:
    return any_same(borrowers, owners, order) or relation(owners, borrowers, order) in {
        Relation.OWN_BODY,
        Relation.FAMILY,
    }


def _closed_by(one: Instrument, parcel: _Parcel, order: Order) -> str | None:
    """The open charge that a release closes: the one that it names, else the only one of that lender, else the only
    one."""
    for key, charge in parcel.charges.items():
        if key in one.refers_to or (charge.number and charge.number in one.refers_to):
            return key
    theirs = [key for key, charge in parcel.charges.items() if any_same(charge.takers, one.takers, order)]
    if len(theirs) == 1:
        return theirs[0]
    if theirs:
        return theirs[0]
    is_public = any(_PUBLIC & words and not _LENDS & words for words in (set(parse(name).words) for name in one.takers))
    return next(iter(parcel.charges)) if len(parcel.charges) == 1 and not one.refers_to and not is_public else None


def _close_or_open(one: Instrument, parcel: _Parcel, order: Order) -> None:
    if one.event in CHARGES:
        parcel.charges[one.key] = one
    elif one.event is Event.RELEASE and (closed := _closed_by(one, parcel, order)):
        charge = parcel.charges.pop(closed)
        if one.recorded_on and charge.event is Event.MORTGAGE:
            parcel.closed.append((one.recorded_on, charge))
    elif one.event is Event.ASSIGNMENT:
        for key, charge in parcel.charges.items():
            if key in one.refers_to or (not one.refers_to and any_same(charge.takers, one.givers, order)):
                stay = tuple(party for party in charge.parties if party.role is not Role.LENDER)
                new = tuple(Party(role=Role.LENDER, name=name) for name in one.takers)
                parcel.charges[key] = replace(charge, parties=(*stay, *new))
                break


def _advance(one: Instrument, found: Finding, parcel: _Parcel, order: Order) -> None:
    """Update the state of the record by the instrument. A suspicious transfer changes the owner of record, too: later
    instruments are judged by what the record says."""
    if one.event in TITLE or (one.event is Event.CORRECTION and found.raises_alert):
        if Reason.RECORDED_AGAIN in found.reasons:
            return
        if one.takers:
            parcel.owners = _after(one, parcel.owners, order)
            parcel.deed = one
        parcel.deeds.append(one)
        if found.severity is Severity.CRITICAL and one.event is not Event.TAX_DEED:
            parcel.loud, parcel.loud_case = one, found.case or one.key
    elif one.event is Event.NAME_CHANGE and any_same(one.givers, parcel.owners, order):
        parcel.owners = (*parcel.owners, *one.takers)
    else:
        _close_or_open(one, parcel, order)


def _after(one: Instrument, before: tuple[str, ...], order: Order) -> tuple[str, ...]:
    """The owners after the instrument. When a share is sold, the other owners stay beside its buyer."""
    whole = one.event is not Event.PARTIAL_TRANSFER and (one.percent is None or not 0 < one.percent < 100)
    if whole:
        return one.takers
    stay = tuple(name for name in before if not any_same([name], one.givers, order))
    return (*stay, *one.takers)
