"""Damaged bounces, requests, catalogues and answers are refused or taken, and break nothing: the short form of
`kordant-jobs fuzz outside`."""

from __future__ import annotations

from sqlalchemy import Engine

from kordant_jobs.lab.fuzz.outside import answers, bounces, catalogues, requests
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe


def test_damaged_bounces_break_nothing(db: Engine, keyring: Keyring) -> None:
    found = bounces(1_000, 1, db=db, keyring=keyring)
    assert found.broken == []
    assert {"refused", "failed", "late", "delivered"} <= set(found.outcomes)


def test_damaged_requests_are_never_answered_with_an_error_of_ours(db: Engine, keyring: Keyring) -> None:
    found = requests(3_000, 2026, db=db, keyring=keyring)
    assert found.broken == []
    assert {"200", "204", "403", "404", "422"} <= set(found.outcomes)


def test_damaged_catalogues_fail_no_import(db: Engine) -> None:
    found = catalogues(300, 1, db=db)
    assert found.broken == []
    assert {"taken", "taken in part", "refused"} <= set(found.outcomes)


def test_damaged_answers_fail_no_batch(db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    (item_id,) = person.items.values()
    found = answers(90, 1, db=db, keyring=keyring, item_id=item_id)
    assert found.broken == []
    assert {"exposed", "unknown"} <= set(found.outcomes)
