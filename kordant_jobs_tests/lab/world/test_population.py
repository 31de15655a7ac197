from __future__ import annotations

from collections import Counter

import phonenumbers
import pytest

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.lab.world.population import (
    LATIN_NAMES,
    NAMES,
    NEWEST_ITEM_DAYS,
    PHONE_PREFIXES,
    Population,
    make_population,
    spell,
)
from kordant_jobs_tests.lab.world.reading import identified


@pytest.fixture(scope="module")
def population() -> Population:
    return make_population(7, 2_000)


def test_the_same_seed_gives_the_same_people_and_ids(population: Population) -> None:
    assert make_population(7, 2_000) == population


def test_another_seed_gives_other_people_and_ids(population: Population) -> None:
    other = make_population(8, 2_000)
    assert not {item.id for item in other.items} & {item.id for item in population.items}
    assert other.subscribers[0].name != population.subscribers[0].name or other.items[0].raw != population.items[0].raw


def test_tiers_are_spread_as_sixty_thirty_ten(population: Population) -> None:
    counts = Counter(subscriber.tier for subscriber in population.subscribers)
    assert {tier: round(count / 200) / 10 for tier, count in counts.items()} == {
        Tier.BASIC: 0.6,
        Tier.PLUS: 0.3,
        Tier.PREMIUM: 0.1,
    }


def test_every_id_is_a_version_4_uuid_and_its_own(population: Population) -> None:
    people = population.subscribers
    ids = [item.id for item in population.items] + [i for one in people for i in (one.id, one.subscription_id)]
    assert len(set(ids)) == len(ids)
    assert {id_.version for id_ in ids} == {4}


def test_what_was_typed_becomes_the_canonical_form(population: Population) -> None:
    assert [item for item in population.items if identified(item.kind, item.raw) != (item.kind, item.canonical)] == []


@pytest.mark.parametrize("kind", ["email", "phone", "username"])
def test_every_spelling_becomes_the_canonical_form(population: Population, kind: str) -> None:
    for item in [item for item in population.items if item.kind == kind][:200]:
        spellings = {spell(item.kind, item.canonical, way) for way in range(12)}
        assert len(spellings) >= 2
        assert {identified(kind, spelling)[1] for spelling in spellings} == {item.canonical}


def test_phones_are_possible_and_in_ranges_kept_for_fiction(population: Population) -> None:
    starts = {prefix for prefixes in PHONE_PREFIXES.values() for prefix in prefixes}
    for item in population.items:
        if item.kind == "phone":
            assert item.canonical[:-2] in starts
            number = phonenumbers.parse(item.raw, "US")
            assert phonenumbers.is_possible_number(number)
            assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == item.canonical


def test_addresses_are_under_reserved_names_only(population: Population) -> None:
    for item in population.items:
        if item.kind == "email":
            domain = item.canonical.partition("@")[2]
            assert domain.endswith((".example", ".test")) or domain.split(".")[-2] == "example"


def test_items_are_older_than_any_dump(population: Population) -> None:
    assert min(item.created_on_day for item in population.items) >= NEWEST_ITEM_DAYS > 2


def test_the_contact_is_a_watched_address(population: Population) -> None:
    assert all(one.contact in {item.canonical for item in one.items} for one in population.subscribers)


def test_some_identifiers_are_watched_by_two_households_and_none_twice_by_one(population: Population) -> None:
    assert Counter(Counter(item.canonical for item in population.items).values()).keys() == {1, 2}
    for one in population.subscribers:
        assert len({item.canonical for item in one.items}) == len(one.items)


def test_names_come_in_several_scripts_with_accents_and_apostrophes(population: Population) -> None:
    names = "".join(subscriber.name for subscriber in population.subscribers)
    assert set("'-ãé") <= set(names)
    assert any("\u0590" <= letter <= "\u06ff" for letter in names), "one is written from right to left"
    assert "".join(name for name, _, _ in NAMES[:LATIN_NAMES]).encode("latin-1")
