"""The authority for complaints about a data broker, by the subscriber's residence. Pure, except that it reads the list
beside this file."""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from kordant_jobs.domain.removals.clocks import CLOCKS, Law, law_of


class Authority(NamedTuple):
    """An authority's name, and the address where complaints begin. `to_check`: no list confirms the address, so an
    operator opens it before a subscriber is sent there."""

    name: str
    website: str
    to_check: bool


@lru_cache(maxsize=1)
def authorities() -> Mapping[str, Authority]:
    """All authorities, by ISO 3166 code of a country or of a part of it (`FR`, `DE-BY`, `US-CA`)."""
    raw = tomllib.loads(files(__package__).joinpath("authorities.toml").read_text("utf-8"))
    return {
        place: Authority(name, website, part == "to_check")
        for part, entries in raw.items()
        for place, (name, website) in entries.items()
    }


def authority_of(law: Law, country: str, state: str | None) -> Authority | None:
    """The authority responsible for a law at the subscriber's residence: that of their state, else of their country.
    None where no law obliges the broker. Subscribers who have moved away get instructions for finding theirs.

    >>> authority_of(Law.GDPR, "DE", "BY").name, authority_of(Law.GDPR, "FR", None).website
    ('Bayerisches Landesamt für Datenschutzaufsicht', 'https://www.cnil.fr')
    >>> authority_of(Law.OTHER_STATE, "US", "MN").name, authority_of(Law.CCPA, "FR", None).name
    ('Attorney General of Minnesota', 'California Privacy Protection Agency')
    >>> authority_of(Law.GDPR, "US", "CA").name, authority_of(Law.VOLUNTARY, "US", "NY")
    ('your data protection authority', None)
    """
    if law is Law.VOLUNTARY:
        return None
    clock, known = CLOCKS[law], authorities()
    if law not in {Law.GDPR, Law.OTHER_STATE}:  # each of the others is the law of one place
        country, state = clock.country, clock.state
    elif law_of(country, state) is not law:
        country, state = ("EU" if law is Law.GDPR else "US"), None
    return known.get(f"{country}-{state}") or known[country]
