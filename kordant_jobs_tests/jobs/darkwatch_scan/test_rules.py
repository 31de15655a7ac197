"""Who is told, how urgently, and what silence means."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.alerts import Severity
from kordant_jobs.domain.exposures import Judgement, SecretKind, Verdict
from kordant_jobs.jobs.darkwatch_scan import rules
from kordant_jobs.observability import redaction

RISING = [Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL]
CLASSES = sorted(rules.CRITICAL_DATA | rules.HIGH_DATA | rules.MEDIUM_DATA | {"Email addresses", "Avatars"})


@pytest.mark.parametrize("module", [rules, redaction])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "secret", "wanted"),
    [
        ([], SecretKind.NONE, Severity.LOW),
        (["Email addresses", "Avatars"], SecretKind.NONE, Severity.LOW),
        (["Email addresses", "Phone numbers"], SecretKind.NONE, Severity.MEDIUM),
        (["Email addresses", "Passwords"], SecretKind.NONE, Severity.HIGH),
        (["Email addresses"], SecretKind.HASHED, Severity.HIGH),
        (["Email addresses"], SecretKind.CLEAR, Severity.CRITICAL),
        (["Social security numbers"], SecretKind.NONE, Severity.CRITICAL),
    ],
)
def test_severity_goes_by_the_worst(classes: list[str], secret: SecretKind, wanted: Severity) -> None:
    assert rules.severity(classes, secret) is wanted


@given(st.lists(st.sampled_from(CLASSES)), st.sampled_from(CLASSES), st.sampled_from(SecretKind))
def test_more_stolen_data_never_makes_it_less_urgent(classes: list[str], more: str, secret: SecretKind) -> None:
    before, after = rules.severity(classes, secret), rules.severity([*classes, more], secret)
    assert RISING.index(after) >= RISING.index(before)


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_a_sensitive_breach_is_never_told_to_who_did_not_prove_the_address(
    sensitive: bool, fabricated: bool, retired: bool, spam: bool, verified: bool
) -> None:
    flags = rules.BreachFlags(is_sensitive=sensitive, is_fabricated=fabricated, is_retired=retired, is_spam_list=spam)
    judged = rules.judge(flags, verified=verified)
    assert (judged.judgement is Judgement.ALERT) == (
        not (fabricated or retired or spam) and (verified or not sensitive)
    )


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_clean_is_said_only_when_everything_was_read(exposures: int, read: int, unread: int) -> None:
    verdict, reason = rules.verdict(exposures=exposures, dumps_read=read, dumps_unread=unread)
    assert (verdict is Verdict.CLEAN) == (exposures == 0 and read > 0 and unread == 0)
    assert verdict is not Verdict.UNKNOWN or reason


@given(st.lists(st.integers(0, 1_000)), st.integers(1, 12))
def test_chunks_hold_everything_once_and_none_is_empty(weights: list[int], chunks: int) -> None:
    shared = rules.balanced(list(enumerate(weights)), chunks)
    assert sorted(one for chunk in shared for one in chunk) == list(range(len(weights)))
    assert len(shared) == min(chunks, len(weights))
    assert all(shared)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jane@example.com.txt", "[e-mail]"),
        ("0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e kept", "0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e kept"),
        ("card 4111 1111 1111 1111!", "card [number]!"),
        ("a%40b.example", "[e-mail]"),
        ("Shoply.csv.gz", "Shoply.csv.gz"),
    ],
)
def test_what_looks_personal_is_taken_out_and_ids_stay(text: str, shown: str) -> None:
    assert redaction.redact(text) == shown


def test_a_librarys_message_loses_what_it_quotes() -> None:
    assert redaction.redact_foreign("could not parse `hunter2` as\n  'dtype'") == "could not parse [value] as [value]"
