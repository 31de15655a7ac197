"""Who is told, how urgently, and what silence means."""

from __future__ import annotations

import dataclasses
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs import redaction
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.domain.darkwatch.breaches import Breach
from kordant_jobs.domain.darkwatch.exposures import Judgement, JudgementReason, SecretKind, UnknownReason, Verdict
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.jobs.darkwatch_scan import rules
from kordant_jobs.jobs.darkwatch_scan.rules import asking

RISING = [Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL]
CLASSES = sorted(rules.CRITICAL_DATA | rules.HIGH_DATA | rules.MEDIUM_DATA | {"Email addresses", "Avatars"})


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
def test_a_sensitive_breach_alerts_no_one_who_did_not_prove_the_address(
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


FLAGS = [field.name for field in dataclasses.fields(rules.BreachFlags)]
breach_flags = st.builds(rules.BreachFlags, **dict.fromkeys(FLAGS, st.booleans()))


@pytest.mark.parametrize(
    ("flag", "judged", "reason"),
    [
        ("is_fabricated", Judgement.NOT_A_BREACH, JudgementReason.FABRICATED),
        ("is_retired", Judgement.NOT_A_BREACH, JudgementReason.RETIRED),
        ("is_spam_list", Judgement.NOT_A_BREACH, JudgementReason.SPAM_LIST),
        ("is_sensitive", Judgement.WITHHELD_SENSITIVE, JudgementReason.SENSITIVE_AND_NOT_VERIFIED),
        ("is_unverified", Judgement.WITHHELD_UNVERIFIED, JudgementReason.UNVERIFIED),
        ("is_malware", Judgement.ALERT, JudgementReason.MALWARE),
        ("is_stealer_log", Judgement.ALERT, JudgementReason.STEALER_LOG),
    ],
)
def test_each_kind_of_breach_has_its_rule_with_its_reason(
    flag: str, judged: Judgement, reason: JudgementReason
) -> None:
    assert rules.judge(rules.BreachFlags(**{flag: True}), verified=False) == rules.Ruling(
        judgement=judged, reason=reason
    )


@given(breach_flags, st.booleans(), st.booleans())
def test_not_me_is_heard_before_everything_else(breach: rules.BreachFlags, verified: bool, held: bool) -> None:
    assert rules.judge(breach, verified=verified, held_by_us=held, not_me=True).judgement is Judgement.NOT_ME


@given(breach_flags, st.booleans())
def test_an_unverified_breach_is_alerted_only_when_we_have_its_data(breach: rules.BreachFlags, verified: bool) -> None:
    if breach.is_unverified:
        assert rules.judge(breach, verified=verified).judgement is not Judgement.ALERT
    held = rules.judge(breach, verified=verified, held_by_us=True)
    assert held == rules.judge(dataclasses.replace(breach, is_unverified=False), verified=verified)


facts = st.builds(
    rules.Facts,
    data_classes=st.lists(st.sampled_from(CLASSES), max_size=4),
    secret=st.sampled_from(SecretKind),
    age_days=st.none() | st.integers(0, 9000),
    reused=st.booleans(),
    from_a_device=st.booleans(),
)


@given(facts)
def test_age_lowers_and_reuse_and_malware_raise_and_by_one_step_at_most(one: rules.Facts) -> None:
    def place(**change: object) -> int:
        return RISING.index(rules.urgency(dataclasses.replace(one, **change)))  # type: ignore[arg-type] # its own fields

    assert 0 <= place(age_days=0) - place(age_days=9000) <= 1
    assert 0 <= place(reused=True) - place(reused=False) <= 1
    assert place(from_a_device=True) >= max(place(from_a_device=False), RISING.index(Severity.HIGH))


@given(facts)
def test_what_suffices_to_take_money_or_an_identity_stays_critical(one: rules.Facts) -> None:
    if one.secret is SecretKind.CLEAR or rules.CRITICAL_DATA & set(one.data_classes):
        assert rules.urgency(one) is Severity.CRITICAL


@given(st.sampled_from(UnknownReason), st.integers(0, 99), st.none() | st.floats(0, 3600))
def test_a_source_is_never_asked_before_the_time_it_named(
    reason: UnknownReason, attempts: int, retry_after_s: float | None
) -> None:
    wait_s = asking.retry_delay_s(reason, attempts, retry_after_s)
    assert wait_s >= max(asking.RETRIES_S[0], retry_after_s or 0)


@given(st.integers(0, 3), st.dictionaries(st.sampled_from([one.value for one in UnknownReason]), st.integers(1, 9)))
def test_a_source_is_clean_only_when_it_answered_everything(exposures: int, unknown: dict[str, int]) -> None:
    verdict, reason = asking.source_verdict(exposures=exposures, unknown=unknown)
    assert (verdict is Verdict.CLEAN) == (not exposures and not unknown)
    assert verdict is not Verdict.UNKNOWN or reason in unknown


def _breach(name: str, domain: str = "", day: date | None = None) -> Breach:
    return Breach(name=name, title=name, domain=domain, breached_on=day)


@pytest.mark.parametrize(
    ("told", "same"),
    [
        (_breach("adobe"), "Adobe"),
        (_breach("Adobe.com", "adobe.com"), "Adobe"),
        (_breach("Adobe.com", "ADOBE.com", date(2013, 12, 1)), "Adobe"),
        (_breach("Adobe.com", "adobe.com", date(2021, 1, 1)), None),
        (_breach("000webhost", "forum.example"), None),
        (_breach("Twin.example", "twin.example"), None),
        (_breach("Other", ""), None),
    ],
)
def test_another_name_is_the_same_breach_only_when_it_is_sure(told: Breach, same: str | None) -> None:
    known = [
        _breach("Adobe", "adobe.com", date(2013, 10, 4)),
        _breach("TwinA", "twin.example"),
        _breach("TwinB", "twin.example"),
        _breach("NoDomain"),
    ]
    assert asking.same_breach(told, known) == same


def test_the_document_for_people_names_every_rule() -> None:
    text = (CHECKOUT / "docs" / "judgement.md").read_text()
    assert [one for one in [*JudgementReason, *UnknownReason] if f"`{one}`" not in text] == []
