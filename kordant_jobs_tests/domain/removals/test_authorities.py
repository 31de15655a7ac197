from __future__ import annotations

import re

import pytest

from kordant_jobs.domain.removals.authorities import authorities, authority_of
from kordant_jobs.domain.removals.clocks import EU, STATE_LAWS, Law


@pytest.mark.parametrize(
    ("law", "country", "state"),
    [
        *((Law.GDPR, country, None) for country in sorted(EU)),
        *((law, "US", state) for state, law in STATE_LAWS.items()),
        (Law.LGPD, "BR", "SP"),
        (Law.UK_GDPR, "GB", None),
    ],
)
def test_a_subscriber_under_a_law_is_given_the_authority_of_their_own_place(
    law: Law, country: str, state: str | None
) -> None:
    known = authorities()
    found = authority_of(law, country, state)
    assert found is (known.get(f"{country}-{state}") or known[country])
    assert found not in {known["EU"], known["US"]}


def test_every_authority_has_a_name_and_a_secure_address_and_no_two_have_the_same() -> None:
    found = list(authorities().values())
    assert all(one.name and re.fullmatch(r"https://[a-z0-9.-]+(/[A-Za-z0-9_./-]*)?", one.website) for one in found)
    assert len({one.name for one in found}) == len({one.website for one in found}) == len(found)


def test_addresses_that_no_list_confirms_are_marked() -> None:
    marked = {place for place, one in authorities().items() if one.to_check}
    assert marked == {"BR", "EU", "US", *(one for one in authorities() if one.startswith("US-"))}
