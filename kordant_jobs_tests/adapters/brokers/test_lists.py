from __future__ import annotations

import json
from importlib.resources import files

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.brokers.lists import read_broker_list
from kordant_jobs.domain.removals import brokers as nouns
from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.errors import CatalogueUnreadable
from kordant_jobs.store.removals import catalogue, due
from kordant_jobs_tests.adapters.brokers import samples
from kordant_jobs_tests.jobs.removals import NOW

STARTER = files("kordant_jobs.adapters.brokers").joinpath("starter.yaml").read_bytes()
FORMS = {
    "eraser": samples.ERASER,
    "california, 8 columns": samples.CALIFORNIA_OLD,
    "california, 77 columns": samples.CALIFORNIA_NEW,
    "california, 6 columns": samples.CALIFORNIA_PUBLISHED,
    "california, 5 columns": samples.CALIFORNIA_2024,
    "california_links": samples.LINKS,
    "justvanish": samples.JUSTVANISH,
    "datenanfragen": samples.DATENANFRAGEN,
    "duckduckgo": samples.DUCKDUCKGO,
    "fronts": samples.FRONTS,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_list_is_known_by_its_form_and_every_row_is_kept_or_has_its_reason(form: str) -> None:
    found = read_broker_list(FORMS[form])
    assert found.layout == form
    assert found.rows_read == len(found.rows) + len(found.skipped) > 0
    assert all(one.reason for one in found.skipped)


@pytest.mark.parametrize("content", [b"", b"{}", b"a: 1", b"x,y\n1,2\n", b"\xff\xfe", b"[1]", b"%PDF"])
def test_what_is_no_list_says_so(content: bytes) -> None:
    with pytest.raises(CatalogueUnreadable):
        read_broker_list(content)


def test_the_registry_is_read_by_what_its_headers_say() -> None:
    [row] = read_broker_list(samples.CALIFORNIA_PUBLISHED).rows
    assert (row.name, row.website, row.emails) == ("Spoken, Inc.", "https://www.spoken.com", ("rights@spoken.com",))
    assert (row.opt_out_url, row.recipe) == ("https://www.spoken.com/rights", {"regulated_by": ["fcra"]})
    [row] = read_broker_list(samples.CALIFORNIA_2024).rows
    assert (row.website, row.emails, row.recipe) == ("https://spoken.com", ("rights@spoken.com",), {})


@pytest.mark.parametrize(
    ("content", "cut"),
    [
        (samples.CALIFORNIA_OLD, False),
        (samples.CALIFORNIA_OLD.rstrip(), False),
        (samples.CALIFORNIA_OLD[:-20], True),
        (samples.CALIFORNIA_OLD + b'"Third LLC","p@third.com","thi', True),
        (samples.DATENANFRAGEN + b'{"slug":"x","na', True),
    ],
)
def test_a_file_that_ends_in_the_middle_of_a_row_is_seen(content: bytes, cut: bool) -> None:
    assert read_broker_list(content).is_cut is cut


OWN = "kordant_brokers:\n- {{id: a, name: A, domains: [aa.com], {}}}\n"


@pytest.mark.parametrize(
    "more",
    ["emails: p", "emails: [9]", "website: 5", "recipe: [1]", "recipe: {daily_cap: lots}", "recipe: {daily_cap: -5}",
     "recipe: {search: {url: x}}", "recipe: {post: {url: x, fields: [a], success: x}}", 'notes: "a\\0b"'],
)  # fmt: skip
def test_an_entry_of_wrong_types_is_left_out_with_its_reason(more: str) -> None:
    found = read_broker_list(OWN.format(more).encode())
    assert found.rows == ()
    assert found.skipped[0].reason


def test_one_address_is_a_list_of_one() -> None:
    [row] = read_broker_list(OWN.format("emails: p@aa.com").encode()).rows
    assert row.emails == ("p@aa.com",)


def take(db: Engine, content: bytes) -> catalogue.Imported:
    found = read_broker_list(content)
    with db.begin() as connection:
        return catalogue.import_rows(connection, found.source, found.rows, now=NOW)


def test_lists_are_merged_by_domain_and_importing_twice_changes_nothing(db: Engine) -> None:
    order = [form for form in FORMS if not form.startswith("california, ") or form == "california, 8 columns"]
    for form in order:
        take(db, FORMS[form])
    with db.connect() as connection:
        before = connection.execute(sa.text("SELECT key, version, facts FROM kordant.brokers ORDER BY 1")).all()
        spoken = catalogue.find(connection, "Spoken")
        versions = connection.execute(sa.text("SELECT count(*) FROM kordant.broker_versions")).scalar_one()
    assert spoken is not None
    assert spoken.key == "spoken.com"
    assert set(spoken.facts["emails"]) == {"privacy@spoken.com", "legal@spoken.com", "eu@spoken.com"}
    for form in order:
        again = take(db, FORMS[form])
        assert (again.new_rows, again.changed_rows, again.gone_rows, again.changes) == (0, 0, 0, ())
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT key, version, facts FROM kordant.brokers ORDER BY 1")).all() == before
        count = sa.text("SELECT count(*) FROM kordant.broker_versions")
        assert connection.execute(count).scalar_one() == versions


def test_one_page_for_six_companies_is_one_request_and_a_dead_link_is_no_way_in(db: Engine) -> None:
    take(db, samples.LINKS)
    with db.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT b.key, o.key AS owner FROM kordant.brokers b LEFT JOIN kordant.brokers o "
                    "ON o.id = b.handled_by ORDER BY 1")
        ).all()  # fmt: skip
        dead = catalogue.find(connection, "dead.com")
        assert dead is not None
        assert due.ways(connection, [dead.id], agent=False) == {dead.id: {}}
    assert [row.owner for row in rows if row.key not in {"bigsix.com", "dead.com"}] == ["bigsix.com"] * 5
    assert dead.facts["dead_links"]


def test_a_new_registry_in_the_new_layout_takes_the_place_of_the_old(db: Engine) -> None:
    take(db, samples.CALIFORNIA_OLD)
    changes = {one.key: one for one in take(db, samples.CALIFORNIA_NEW).changes}
    assert {key: one.kind for key, one in changes.items()} == {
        "spoken.com": "changed",
        "gone.com": "removed",
        "new-broker.com": "added",
    }
    assert dict(changes["spoken.com"].after) == {
        "website": "https://www.spoken.com",
        "emails": ["rights@spoken.com"],
        "opt_out_url": "https://www.spoken.com/rights",
    }
    with db.connect() as connection:
        gone = connection.execute(sa.text("SELECT row_key FROM kordant.broker_rows WHERE gone_at IS NOT NULL"))
        assert gone.scalars().all() == ["gone llc"]


def test_a_search_recipe_of_duckduckgo_becomes_ours_and_the_parent_handles_it() -> None:
    [row] = read_broker_list(samples.DUCKDUCKGO).rows
    assert row.handled_by == "spoken.com"
    assert row.recipe["search"] == {
        "url": "https://ixio.com/n/{first_name}-{last_name}",
        "result": ".card",
        "name": ".n",
    }


def test_a_recipe_whose_form_names_the_person_gives_a_link_to_fill_in() -> None:
    raw = json.loads(samples.DUCKDUCKGO)
    form = "https://ixio.com/out?f=${firstName}&m=${middleName|defaultIfEmpty:~}&c=${city|capitalize}"
    raw["ixio.com"]["steps"].append({"stepType": "optOut", "actions": [{"actionType": "navigate", "url": form}]})
    [row] = read_broker_list(json.dumps(raw).encode()).rows
    assert row.recipe["prefill"] == "https://ixio.com/out?f={first_name}&m=~&c={city}"


def test_every_link_of_our_own_list_is_filled_in_on_its_brokers_site() -> None:
    person = {"name": "Ann Example", "city": "Fresno", "state": "CA", "birth_year": "1980"}
    rows = [row for row in read_broker_list(STARTER).rows if "prefill" in row.recipe]
    assert rows
    for row in rows:
        link = nouns.prefilled(row.recipe["prefill"], person, year=2026)
        assert link is not None
        assert nouns.registrable(link) in row.domains
        assert "Fresno" in link


def test_channels_follow_from_what_is_known() -> None:
    [spoken, _] = read_broker_list(samples.ERASER).rows
    assert nouns.merge("spoken.com", [spoken]).channels == (RemovalChannel.EMAIL, RemovalChannel.WEB_FORM)
