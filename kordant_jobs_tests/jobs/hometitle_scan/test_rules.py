"""Each claim about severity is a row; the patterns of fraud and of calm stand in their own names."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.findings import Finding, Reason
from kordant_jobs.domain.property.instruments import Event, Instrument, Party, kind_of, role_of
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
    assert (found.severity, found.raises_alert) == (Severity.CRITICAL, True)


@pytest.mark.parametrize(("after", "is_rapid"), [(180, True), (181, False)])
def test_a_resale_is_rapid_within_half_a_year(after: int, *, is_rapid: bool) -> None:
    forged, resale = FRAUD["resale-to-a-buyer"]
    later = replace(resale, recorded_on=BOUGHT_ON + timedelta(days=900 + after))
    assert (Reason.RAPID_RESALE in last(forged, later).reasons) is is_rapid


def test_an_old_deed_recorded_again_changes_no_owner() -> None:
    sold = instrument("DEED", OWNER, "PEREZ MARIA", on=900, amount=410_000)
    again = instrument("DEED", "OLDMAN GREGORY", OWNER, on=950, amount=400_000, refers_to=PURCHASE.key)
    found = last(sold, again, instrument("DEED", "PEREZ MARIA", STRANGER, on=2000, amount=450_000))
    assert Reason.GRANTOR_NOT_OWNER not in found.reasons


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
def test_expected_documents_alert_as_low(name: str) -> None:
    found = last(CALM[name])
    assert (found.severity, found.raises_alert) == (Severity.LOW, True)


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
}


@pytest.mark.parametrize("name", QUIET)
def test_what_is_quiet_is_only_listed(name: str) -> None:
    assert not last(*QUIET[name]).raises_alert


@pytest.mark.parametrize("code", ["DEEDN", "MTRDEED", "CEMD"])
def test_a_type_that_only_resembles_a_deed_is_no_change_of_owner_and_is_shown(code: str) -> None:
    found = last(instrument(code, OWNER, STRANGER, on=900))
    assert (found.event, found.severity, found.raises_alert) == (Event.UNKNOWN, Severity.MEDIUM, True)


SHADY = "SHADY SID"
TOLD: dict[str, tuple[list[Instrument], Severity, Reason | None]] = {
    "a correction that adds a stranger": (
        [instrument("CORRECTION DEED", OWNER, f"{OWNER};{STRANGER}", on=900)], Severity.MEDIUM, Reason.CO_OWNER
    ),
    "a correction to another of that surname": (
        [instrument("CORRECTION DEED", OWNER, "HARLOW ROBERT", on=900)], Severity.MEDIUM, Reason.FAMILY
    ),
    "much more from the lender": (
        [MORTGAGE, instrument("MORTGAGE", OWNER, "CITIBANK NA", on=900, amount=2_000_000)], Severity.MEDIUM, None
    ),
    "back and forth and back": (
        [
            instrument("QUIT CLAIM DEED", OWNER, SHADY, on=900, amount=10),
            instrument("QUIT CLAIM DEED", SHADY, OWNER, on=902, amount=10),
            instrument("QUIT CLAIM DEED", OWNER, SHADY, on=904, amount=10),
        ], Severity.CRITICAL, Reason.NOMINAL
    ),
    "an estate's deed to a company for nothing": (
        [instrument("QUIT CLAIM DEED", f"ESTATE OF {OWNER}", "EVIL HOLDINGS LLC", on=900, amount=10)],
        Severity.CRITICAL, Reason.STRANGER
    ),
    "an executor's deed to a company for nothing": (
        [instrument("EXECUTOR DEED", OWNER, "EVIL HOLDINGS LLC", on=900, amount=0)], Severity.CRITICAL, Reason.STRANGER
    ),
    "a company called by a word that is the surname": (
        [
            instrument("DEED", OWNER, "GREEN JOHN", on=800, amount=400_000),
            instrument("QUIT CLAIM DEED", "GREEN JOHN", "GREEN ACRES HOMES LLC", on=900, amount=10),
        ],
        Severity.MEDIUM, Reason.OWN_BODY
    ),
    "strangers become co-owners": (
        [instrument("DEED", OWNER, f"{OWNER};{STRANGER};{SHADY}", on=900, amount=0)], Severity.MEDIUM, Reason.CO_OWNER
    ),
    "a deed without names": ([instrument("DEED", on=900)], Severity.MEDIUM, Reason.UNKNOWN),
    "a power, then a deed to a third person": (
        [
            instrument("POWER OF ATTORNEY", OWNER, SHADY, on=895),
            instrument("DEED", OWNER, STRANGER, on=900, amount=300_000),
        ],
        Severity.CRITICAL, Reason.POWER_BEFORE
    ),
    "the taker's mortgage after a loud deed": (
        [
            instrument("QUIT CLAIM DEED", OWNER, SHADY, on=900, amount=10),
            instrument("MORTGAGE", SHADY, "CITIBANK NA", on=902, amount=90_000),
        ], Severity.CRITICAL, Reason.RAPID_RESALE
    ),
    "a sale under the new name": (
        [instrument("NAME CHANGE", OWNER, "MILLER JANE", on=890), instrument("DEED", "MILLER JANE", STRANGER, on=900)],
        Severity.HIGH, Reason.STRANGER
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_which_documents_alert_and_how_severe(name: str) -> None:
    instruments, severity, reason = TOLD[name]
    found = last(*instruments)
    assert (found.severity, found.raises_alert) == (severity, True)
    assert reason is None or reason in found.reasons


def test_an_estates_deed_is_loud_where_the_subscriber_named_who_is_said_to_be_dead() -> None:
    deed = instrument("DEED", f"ESTATE OF {OWNER}", STRANGER, on=900, amount=300_000)
    assert last(deed).severity is Severity.LOW
    found = last(deed, known=("Jane Harlow",))
    assert (found.severity, found.reasons) == (Severity.HIGH, (Reason.ESTATE, Reason.SAID_TO_BE_DEAD))


def test_documents_of_one_day_stand_in_the_order_of_their_numbers() -> None:
    bought = replace(instrument("DEED", OWNER, STRANGER, on=900, amount=400_000), key="999")
    borrowed = replace(instrument("MORTGAGE", STRANGER, "CITIBANK NA", on=900, amount=300_000), key="1000")
    [*_, deed, mortgage] = read_history([PURCHASE, borrowed, bought])
    assert (deed.key, mortgage.key, mortgage.severity) == ("999", "1000", Severity.MEDIUM)


def test_a_power_of_the_same_day_counts_whatever_its_number() -> None:
    deed = replace(instrument("DEED", OWNER, SHADY, on=900, amount=300_000), key="1")
    power = replace(instrument("POWER OF ATTORNEY", OWNER, SHADY, on=900), key="2")
    found = {one.key: one for one in read_history([PURCHASE, deed, power])}["1"]
    assert (found.severity, found.case) == (Severity.CRITICAL, "2")


@pytest.mark.parametrize(("who", "closes"), [("INTERNAL REVENUE SERVICE", False), ("OTHER BANK NA", True)])
def test_a_public_body_releases_no_banks_mortgage(who: str, closes: bool) -> None:
    assert (last(MORTGAGE, instrument("RELEASE", OWNER, who, on=900)).case is not None) == closes


def test_a_second_mortgage_with_another_lender_is_alerted() -> None:
    assert last(MORTGAGE, instrument("MORTGAGE", OWNER, "PNC BANK NA", on=900)).severity is Severity.MEDIUM


def test_the_buyers_mortgage_with_the_sellers_lender_is_no_refinance() -> None:
    sold = instrument("DEED", OWNER, STRANGER, on=900, amount=500_000)
    assert last(MORTGAGE, sold, instrument("MORTGAGE", STRANGER, "CITIBANK NA", on=901)).raises_alert


def test_an_ordinary_sale_is_high_and_not_critical() -> None:
    found = last(MORTGAGE, instrument("DEED", OWNER, STRANGER, on=900, amount=500_000))
    assert (found.severity, found.raises_alert) == (Severity.HIGH, True)


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
