"""The rules against an invented county whose truth is known; the score against pairs that it was not fitted on."""

from __future__ import annotations

import pytest

from kordant_jobs.domain.property.likeness import Question
from kordant_jobs.lab.hometitle.judging import judge, judge_owners, judge_roll
from kordant_jobs.lab.hometitle.names_fit import measure
from kordant_jobs.lab.world.county import County


def test_events_types_roles_and_loudness_are_right_in_99_of_100() -> None:
    county = County(77, lots=1200, documents=8000, frauds=60)
    count = judge(county, range(len(county.lots)))
    assert count.precision >= 0.99
    assert count.recall >= 0.99
    for pattern, number in count.frauds.items():
        assert count.frauds_found[pattern] >= 0.99 * number, pattern
    assert sum(count.frauds.values()) >= 500


def test_owners_are_found_by_name_alone_and_others_are_not_taken_for_them() -> None:
    count, likely = judge_owners(County(78, lots=300, documents=2000, frauds=10), 100)
    assert (count.precision >= 0.95, count.recall >= 0.95) == (True, True)
    assert len(likely) > count.right > 100


def test_redirected_mail_and_unexplained_owners_are_alerted_and_other_spellings_are_not() -> None:
    mail, owners = judge_roll(County(79, lots=600, documents=4000, frauds=20), 79)
    assert (mail.wrong, mail.missed, owners.missed) == (0, 0, 0)
    assert owners.precision >= 0.9
    assert min(mail.right, owners.right) > 30


@pytest.mark.parametrize("question", Question)
def test_the_score_is_calibrated_on_fresh_pairs(question: Question) -> None:
    found = measure(question, seed=4321, size=1500)
    assert found.expected_calibration_error <= 0.03
    assert found.f1 >= 0.95


def test_the_same_seed_gives_the_same_county() -> None:
    assert County(5, lots=80, documents=300).records == County(5, lots=80, documents=300).records
