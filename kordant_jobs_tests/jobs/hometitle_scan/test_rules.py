"""Each claim about severity is a row; the patterns of fraud and of calm stand in their own names."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.codes import kind_of
from kordant_jobs.domain.property.findings import Finding, Reason
from kordant_jobs.domain.property.instruments import Instrument, Party, role_of
from kordant_jobs.jobs.hometitle_scan.rules.history import read_history

BOUGHT_ON = date(2019, 3, 1)
OWNER, STRANGER = "HARLOW JANE M", "QUIMBY DEREK T"


def instrument(
    code: str, givers: str = "", takers: str = "", *, on: int = 0, amount: int | None = None, refers_to: str = ""
) -> Instrument:
    """A record `on` so many days after the purchase; names are divided by semicolons."""
    kind = kind_of(code, {})
    sides = ((1, givers), (2, takers))
    return Instrument(
        key=f"{on:06d}{code[:3]}",
        event=kind.event,
        form=kind.form,
        code=code,
        recorded_on=BOUGHT_ON + timedelta(days=on),
        amount=None if amount is None else Decimal(amount),
        parties=tuple(
            Party(role=role_of(kind.event, side), name=n) for side, names in sides for n in names.split(";") if n
        ),
        refers_to=(refers_to,) if refers_to else (),
    )


PURCHASE = instrument("DEED", "OLDMAN GREGORY", OWNER, amount=400_000)


def last(*later: Instrument, known: tuple[str, ...] = ()) -> Finding:
    return read_history([PURCHASE, *later], known_owners=known)[-1]


FRAUD = {
    "forged-quitclaim-nominal": [instrument("QUIT CLAIM DEED", OWNER, STRANGER, on=900, amount=10)],
    "dead-grantor": [instrument("DEED", OWNER, STRANGER, on=4200, amount=1)],
    "forged-deed-to-LLC": [instrument("QUIT CLAIM DEED", OWNER, "88 ELM ST LLC", on=900, amount=0)],
    "resale-to-a-buyer": [
        instrument("QUIT CLAIM DEED", OWNER, "88 ELM ST LLC", on=900, amount=0),
        instrument("DEED", "88 ELM ST LLC", "PEREZ MARIA", on=930, amount=410_000),
    ],
    "vacant-land-impersonation": [instrument("WARRANTY DEED", OWNER, STRANGER, on=900, amount=38_000)],
    "poa-then-deed": [
        instrument("POWER OF ATTORNEY", OWNER, STRANGER, on=900),
        instrument("DEED", OWNER, STRANGER, on=930, amount=250_000),
    ],
    "cash-out-mortgage": [instrument("MORTGAGE", STRANGER, "CITIBANK NA", on=900, amount=200_000)],
    "grantor-not-owner": [instrument("DEED", "NOBODY NED", STRANGER, on=900, amount=300_000)],
    "tax-deed": [instrument("SHERIFF'S DEED", "SHERIFF OF THE COUNTY", STRANGER, on=900, amount=50_000)],
    "correction-that-names-another": [instrument("CORRECTION DEED", "OLDMAN GREGORY", STRANGER, on=900)],
}


@pytest.mark.parametrize("pattern", FRAUD)
def test_each_pattern_of_fraud_is_critical(pattern: str) -> None:
    found = last(*FRAUD[pattern])
    assert (found.severity, found.is_told) == (Severity.CRITICAL, True)


def test_the_forged_quitclaim_says_nominal_stranger_and_quitclaim() -> None:
    assert {Reason.NOMINAL, Reason.STRANGER, Reason.QUITCLAIM} <= set(last(*FRAUD["forged-quitclaim-nominal"]).reasons)


@pytest.mark.parametrize("pattern", ["resale-to-a-buyer", "poa-then-deed"])
def test_what_belongs_together_is_one_case(pattern: str) -> None:
    first, second = FRAUD[pattern]
    found = last(first, second)
    assert found.case == first.key


def test_a_power_of_attorney_alone_is_medium() -> None:
    assert last(FRAUD["poa-then-deed"][0]).severity is Severity.MEDIUM


CALM = {
    "own trust": instrument("QUIT CLAIM DEED", OWNER, "HARLOW FAMILY TRUST", on=900, amount=0),
    "own company": instrument("DEED", OWNER, "HARLOW PROPERTIES LLC", on=900, amount=10),
    "child for a dollar": instrument("QUIT CLAIM DEED", OWNER, "HARLOW PETER", on=900, amount=1),
    "spouse added": instrument("QUIT CLAIM DEED", OWNER, f"{OWNER};BENTLEY ROY", on=900, amount=0),
    "inheritance": instrument("EXECUTOR'S DEED", f"{OWNER} ESTATE OF", "COLE ANNA", on=900, amount=0),
    "satisfaction": instrument("SATISFACTION OF MORTGAGE", OWNER, "CITIBANK NA", on=900),
}


@pytest.mark.parametrize("name", CALM)
def test_what_is_calm_is_told_as_low(name: str) -> None:
    found = last(CALM[name])
    assert (found.severity, found.is_told) == (Severity.LOW, True)


MORTGAGE = instrument("MORTGAGE", OWNER, "CITIBANK NA", on=10, amount=300_000)
QUIET = {
    "refinance with the same lender": [MORTGAGE, instrument("MORTGAGE", OWNER, "CITIBANK N.A.", on=900, amount=1)],
    "correction of the purchase": [
        instrument("CORRECTION DEED", "OLDMAN GREGORY", OWNER, on=60, refers_to=PURCHASE.key)
    ],
    "correction without a reference": [instrument("CORRECTION DEED", "OLDMAN GREGORY", "HARLOW JANE", on=60)],
    "the same deed recorded again": [
        instrument("DEED", "OLDMAN GREGORY", OWNER, on=20, amount=400_000, refers_to=PURCHASE.key)
    ],
    "easement": [instrument("EASEMENT", OWNER, "CITY POWER COMPANY", on=900)],
    "DEEDN": [instrument("DEEDN", OWNER, STRANGER, on=900)],
    "MTRDEED": [instrument("MTRDEED", OWNER, STRANGER, on=900)],
    "CEMD": [instrument("CEMD", OWNER, STRANGER, on=900)],
}


@pytest.mark.parametrize("name", QUIET)
def test_what_is_quiet_is_only_listed(name: str) -> None:
    assert not last(*QUIET[name]).is_told


def test_a_second_mortgage_with_another_lender_is_told() -> None:
    assert last(MORTGAGE, instrument("MORTGAGE", OWNER, "PNC BANK NA", on=900)).severity is Severity.MEDIUM


def test_the_buyers_mortgage_with_the_sellers_lender_is_no_refinance() -> None:
    sold = instrument("DEED", OWNER, STRANGER, on=900, amount=500_000)
    assert last(MORTGAGE, sold, instrument("MORTGAGE", STRANGER, "CITIBANK NA", on=901)).is_told


def test_an_ordinary_sale_is_high_and_not_critical() -> None:
    found = last(MORTGAGE, instrument("DEED", OWNER, STRANGER, on=900, amount=500_000))
    assert (found.severity, found.is_told) == (Severity.HIGH, True)


def test_a_sale_for_less_than_is_owed_is_critical() -> None:
    found = last(MORTGAGE, instrument("DEED", OWNER, STRANGER, on=900, amount=38_000))
    assert (found.severity, Reason.CHEAP in found.reasons) == (Severity.CRITICAL, True)


def test_the_subscribers_own_purchase_is_good_news() -> None:
    bought = instrument("DEED", OWNER, STRANGER, on=900, amount=0)
    assert last(bought, known=(STRANGER,)).reasons == (Reason.YOU_BOUGHT,)


def test_a_release_closes_its_lien() -> None:
    lien = instrument("FEDERAL TAX LIEN", OWNER, "INTERNAL REVENUE SERVICE", on=100)
    release = instrument("RELEASE OF FEDERAL TAX LIEN", OWNER, "INTERNAL REVENUE SERVICE", on=300)
    assert last(MORTGAGE, lien, release).case == lien.key


def test_the_order_of_arrival_does_not_matter() -> None:
    instruments = [PURCHASE, MORTGAGE, *FRAUD["resale-to-a-buyer"]]
    assert read_history(instruments) == read_history(reversed(instruments))


def test_the_owner_before_is_named_by_their_deed() -> None:
    assert last(*FRAUD["forged-quitclaim-nominal"]).before == PURCHASE.key
