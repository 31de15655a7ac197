"""What follows from scores: each word has its rule, and doubt is never resolved towards comfort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.voice.enrolment import (
    EnrolmentClip,
    centroids,
    consent_problem,
    enrolled_already,
    enrolment_problem,
    joined,
    mean_voice,
)
from kordant_jobs.domain.voice.verdicts import (
    Band,
    ChannelMeasurements,
    ClipStatus,
    Compared,
    Embedding,
    Enrolled,
    Match,
    MatchThresholds,
    Reason,
    ScreenThresholds,
    ScreenWindow,
    Synthesis,
    Verdict,
    Voice,
    compare,
    is_alert,
    judge,
    judge_clip,
    screened,
)

LIMITS = {Band.WIDE: MatchThresholds(consistent=0.65, not_consistent=0.50)}
SCREEN = {Band.WIDE: ScreenThresholds(signs=-8.0, no_signs=-2.0)}
ANN, BOB = UUID(int=1), UUID(int=2)


def at(score: float) -> Embedding:
    """A unit vector whose cosine with the first axis is `score`."""
    return np.array([score, np.sqrt(1 - score**2), 0.0], np.float32)


def ann(by_band: Mapping[Band, Embedding] | None = None) -> Enrolled:
    return Enrolled(id=ANN, person="Ann", by_band=by_band or {Band.WIDE: at(1.0)})


def measured(
    score: float = 0.9, *, speech_s: float = 10.0, screen: float = 0.0, failed: bool = False
) -> ChannelMeasurements:
    return ChannelMeasurements(
        seconds=12.0,
        speech_s=speech_s,
        band=Band.WIDE,
        voices=(Voice(speech_s=speech_s, embedding=at(score)),),
        windows=() if failed else (ScreenWindow(start_s=0.0, score=screen),),
        detector_failed=failed,
    )


@pytest.mark.parametrize(
    ("score", "speech_s", "match"),
    [
        (0.66, 10.0, Match.CONSISTENT),
        (0.64, 10.0, Match.INCONCLUSIVE),
        (0.51, 10.0, Match.INCONCLUSIVE),
        (0.49, 10.0, Match.NOT_CONSISTENT),
        (0.70, 3.0, Match.INCONCLUSIVE),  # short, and not far above
        (0.76, 3.0, Match.CONSISTENT),
        (0.30, 3.0, Match.NOT_CONSISTENT),
    ],
)
def test_a_match_goes_by_the_thresholds_of_the_band(score: float, speech_s: float, match: Match) -> None:
    found = compare(measured(score, speech_s=speech_s).voices, Band.WIDE, [ann()], LIMITS)
    assert found is not None
    assert (found.match, found.member) == (match, ANN)


def test_a_member_must_lead_the_next_one() -> None:
    twin = Enrolled(id=BOB, person="Bob", by_band={Band.WIDE: at(0.97)})
    found = compare(measured(0.99).voices, Band.WIDE, [ann(), twin], LIMITS)
    assert found is not None
    assert found.margin is not None
    assert found.margin < 0.10
    assert found.match is Match.INCONCLUSIVE


def test_two_enrolments_of_one_person_are_no_rivals() -> None:
    again = Enrolled(id=BOB, person=" ann", by_band={Band.WIDE: at(0.97)})
    stranger = Enrolled(id=UUID(int=3), person="Carl", by_band={Band.WIDE: at(0.2)})
    found = compare(measured(0.99).voices, Band.WIDE, [ann(), again, stranger], LIMITS)
    assert found is not None
    assert found.match is Match.CONSISTENT
    assert found.margin is not None
    assert found.margin > 0.5  # over Carl
    alone = compare(measured(0.99).voices, Band.WIDE, [ann(), again], LIMITS)
    assert alone is not None
    assert (alone.match, alone.margin) == (Match.CONSISTENT, None)


def test_a_voice_that_is_enrolled_is_known_again_in_a_band_that_both_have() -> None:
    member = ann()
    assert enrolled_already({Band.WIDE: at(0.9)}, [member], LIMITS) is member
    assert enrolled_already({Band.WIDE: at(0.6)}, [ann()], LIMITS) is None
    assert enrolled_already({Band.PHONE: at(0.9)}, [ann()], LIMITS) is None


def test_clips_that_are_added_weigh_as_much_as_those_before() -> None:
    found = joined({Band.WIDE: at(1.0)}, 3, {Band.WIDE: at(0.0), Band.PHONE: at(0.5)}, 3)
    assert np.allclose(found[Band.WIDE], at(np.sqrt(0.5)), atol=1e-5)
    assert np.allclose(found[Band.PHONE], at(0.5))


@pytest.mark.parametrize(
    ("day", "words"),
    [(date(2026, 11, 20), None), (date(2026, 11, 1), None), (date(2026, 11, 21), "future"), (date(1, 1, 1), "since")],
)
def test_no_consent_is_from_before_its_text_or_in_the_future(day: date, words: str | None) -> None:
    problem = consent_problem(day, date(2026, 11, 20))
    assert (problem is None) if words is None else (words in str(problem))


def test_a_channel_that_calls_for_an_alert_gives_the_verdict() -> None:
    member, copied = measured(0.9, screen=0.0), measured(0.7, screen=-9.0)
    verdict, of = judge_clip([member, copied, measured(-0.5)], [ann()], LIMITS, SCREEN)
    assert is_alert(verdict, always=False)
    assert of is copied
    assert verdict.voices == 2  # the member's and the stranger's; the copy sounds like the member
    quiet, of = judge_clip([measured(0.1, screen=-9.0), member, measured(speech_s=0.0)], [ann()], LIMITS, SCREEN)
    assert not is_alert(quiet, always=False)
    assert of is member


def test_of_a_file_that_was_read_in_part_too_little_speech_is_unknown() -> None:
    verdict = judge(replace(measured(speech_s=1.0), is_whole=False), [ann()], LIMITS, SCREEN)
    assert (verdict.status, verdict.reason) == (ClipStatus.UNKNOWN, Reason.PARTLY_READ)
    assert judge(replace(measured(), is_whole=False), [ann()], LIMITS, SCREEN).status is ClipStatus.OK


def test_across_bands_and_without_thresholds_a_match_is_inconclusive() -> None:
    other = ann({Band.PHONE: at(1.0)})
    for score in (0.1, 0.99):
        found = compare(measured(score).voices, Band.WIDE, [other], LIMITS)
        assert found is not None
        assert found.match is Match.INCONCLUSIVE
    uncalibrated = compare(measured(0.99).voices, Band.WIDE, [ann()], {})
    assert uncalibrated is not None
    assert uncalibrated.match is Match.INCONCLUSIVE


def test_of_several_voices_the_one_most_like_a_member_counts() -> None:
    voices = (Voice(speech_s=20, embedding=at(0.1)), Voice(speech_s=5, embedding=at(0.8)))
    found = compare(voices, Band.WIDE, [ann()], LIMITS)
    assert found is not None
    assert found.match is Match.CONSISTENT


def test_no_enrolment_is_no_match_at_all() -> None:
    verdict = judge(measured(), [], LIMITS, SCREEN)
    assert (verdict.status, verdict.compared, verdict.synthesis) == (ClipStatus.OK, None, Synthesis.NO_SIGNS)


@pytest.mark.parametrize(
    ("score", "word"),
    [(-9.0, Synthesis.SIGNS), (-8.0, Synthesis.SIGNS), (-5.0, Synthesis.INCONCLUSIVE), (-2.0, Synthesis.NO_SIGNS)],
)
def test_the_screen_has_three_answers(score: float, word: Synthesis) -> None:
    assert judge(measured(screen=score), [], LIMITS, SCREEN).synthesis is word


def test_a_detector_that_failed_or_is_uncalibrated_says_nothing() -> None:
    failed = judge(measured(failed=True), [ann()], LIMITS, SCREEN)
    assert (failed.synthesis, failed.reason) == (None, Reason.DETECTOR_FAILED)
    assert failed.compared is not None
    assert judge(measured(screen=-99.0), [], LIMITS, {}).synthesis is Synthesis.INCONCLUSIVE


def test_under_two_seconds_of_speech_nothing_is_said() -> None:
    verdict = judge(measured(speech_s=1.9, screen=-20), [ann()], LIMITS, SCREEN)
    assert verdict == Verdict(status=ClipStatus.INSUFFICIENT_SPEECH)
    assert not is_alert(verdict, always=False)


@pytest.mark.parametrize("match", [None, *Match])
@pytest.mark.parametrize("synthesis", [None, *Synthesis])
def test_a_subscriber_is_alerted_of_both_together_or_of_every_clip(
    match: Match | None, synthesis: Synthesis | None
) -> None:
    compared = Compared(match=match, member=ANN, score=0.9, margin=None) if match else None
    verdict = Verdict(status=ClipStatus.OK, compared=compared, synthesis=synthesis)
    both = match is Match.CONSISTENT and synthesis is Synthesis.SIGNS
    assert is_alert(verdict, always=False) is both
    assert is_alert(verdict, always=True)


@given(st.lists(st.floats(-30, 30), max_size=20), st.floats(-20, 0), st.floats(0.1, 20))
def test_a_lower_score_never_takes_signs_away(scores: list[float], signs: float, apart: float) -> None:
    limits = ScreenThresholds(signs=signs, no_signs=signs + apart)
    order = list(Synthesis)
    before = screened([ScreenWindow(start_s=0, score=one) for one in scores], limits)
    after = screened([ScreenWindow(start_s=0, score=one - 1) for one in scores], limits)
    if before is None or after is None:
        assert not scores
    else:
        assert order.index(after[0]) <= order.index(before[0])


def clip(name: str, score: float = 1.0, *, speech_s: float = 8.0, voices: int = 1) -> EnrolmentClip:
    return EnrolmentClip(name=name, speech_s=speech_s, band=Band.WIDE, voices=voices, by_band={Band.WIDE: at(score)})


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        ([clip("a"), clip("b", 0.9)], "too few"),
        ([clip("a"), clip("b", 0.9), clip("c", 0.6, speech_s=1.0)], "17 s of speech"),
        ([clip("a"), clip("b", 0.9), clip("party.wav", 0.6, voices=2)], "more than one voice in party.wav"),
        ([clip("a"), clip("b", 0.9), clip("c", 0.6), clip("uncle.wav", -0.5)], "uncle.wav is not like"),
        ([clip("a"), clip("b", 0.6), clip("copy.mp3", 0.999)], "a and copy.mp3 are one recording"),
        ([clip("a"), clip("b", 0.95), clip("c", 0.8)], None),
    ],
)
def test_clips_that_disagree_or_do_not_suffice_are_refused_by_name(
    clips: list[EnrolmentClip], words: str | None
) -> None:
    problem = enrolment_problem(clips, LIMITS)
    assert (words is None) == (problem is None)
    assert words is None or words in str(problem)


def test_a_centroid_is_of_unit_length_in_each_band() -> None:
    both = {Band.WIDE: at(0.9), Band.PHONE: at(0.2)}
    found = centroids([clip("a"), EnrolmentClip(name="b", speech_s=9, band=Band.WIDE, voices=1, by_band=both)])
    assert set(found) == {Band.WIDE, Band.PHONE}
    assert np.allclose([np.linalg.norm(one) for one in found.values()], 1)
    assert np.allclose(mean_voice([at(1.0), at(1.0)]), at(1.0))
