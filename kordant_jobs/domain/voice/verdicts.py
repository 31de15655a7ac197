"""The verdict on a clip: its possible words, and the rules for them. Pure.

No word says that a voice is that of a person, or that a clip is synthetic. A copy of a voice passes the comparison (25
of 25 vocoder copies did), and the screen finds only older synthesis, so neither is evidence of a live human."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from statistics import median
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]
"""A voice as a vector of unit length."""


class Band(StrEnum):
    """The bandwidth of a recording: up to 8 kHz, or a telephone's 4 kHz."""

    WIDE = "wide"
    PHONE = "phone"


class Match(StrEnum):
    """The result of comparing a voice with the family's enrolments."""

    CONSISTENT = "consistent"
    INCONCLUSIVE = "inconclusive"
    NOT_CONSISTENT = "not_consistent"


class Synthesis(StrEnum):
    """The result of the screen for older synthesis."""

    SIGNS = "signs_of_synthesis"
    INCONCLUSIVE = "inconclusive"
    NO_SIGNS = "no_signs_found"


class ClipStatus(StrEnum):
    """The state of an analysed clip; only OK has a comparison and a screen."""

    OK = "ok"
    INSUFFICIENT_SPEECH = "insufficient_speech"
    UNDECODABLE = "undecodable"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """The reason why a clip has no verdict, or an incomplete one."""

    MODEL_MISSING = "model_missing"
    SOUND_GONE = "sound_gone"
    """Retention deleted the sound before it was analysed."""
    DETECTOR_FAILED = "detector_failed"
    ANALYSIS_FAILED = "analysis_failed"
    NOT_SOUND = "not_sound"
    NO_SOUND_STREAM = "no_sound_stream"
    TOO_LARGE = "too_large"
    DECODER_CRASHED = "decoder_crashed"
    DECODER_TIMED_OUT = "decoder_timed_out"
    PARTLY_READ = "partly_read"
    """The part that was read has too little speech; the rest is unknown."""


@dataclass(frozen=True, kw_only=True)
class MatchThresholds:
    """The cosine scores of one band from which on a voice is consistent, and below which it is not consistent."""

    consistent: float
    not_consistent: float


@dataclass(frozen=True, kw_only=True)
class ScreenThresholds:
    """The scores of a detector (high: like human speech) up to which there are signs of synthesis, and from which on no
    signs."""

    signs: float
    no_signs: float


MARGIN = 0.10
"""The lead in score that the best member needs over the next, and the extra score that short clips need."""
SPEECH_MIN_S, SPEECH_ENOUGH_S = 2.0, 4.0
"""Seconds of speech: with less than the first there is no comparison; with less than the second, `consistent` needs a
score that is higher by `MARGIN`."""
SAME_VOICE = {Band.WIDE: 0.48, Band.PHONE: 0.62}
"""The cosine between pieces of 5 s from which on they count as one voice. 99 % of pairs of one person are above; of two
persons none of 375 pairs of LibriSpeech (wide), and 5 % of pairs of asterisk prompts (telephone)."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One voice of a clip: seconds of speech, and its embedding."""

    speech_s: float
    embedding: Embedding = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ScreenWindow:
    """A window that a detector scored: its start in seconds, and its score."""

    start_s: float
    score: float


@dataclass(frozen=True, kw_only=True)
class ChannelMeasurements:
    """The measurements of one channel of a clip. `voices`: the one with most speech first; empty without speech."""

    seconds: float
    speech_s: float
    band: Band
    voices: tuple[Voice, ...]
    windows: tuple[ScreenWindow, ...] = ()
    is_whole: bool = True
    """False: the file is cut off or damaged, or is longer than what is analysed."""
    detector_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Enrolled:
    """One enrolment of a family member, with a voice for each band of its clips. `person`: the family's name for them;
    two enrolments with the same name are one person."""

    id: UUID
    person: str = field(repr=False)
    by_band: Mapping[Band, Embedding] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The enrolment that is most like a clip's voices. `margin`: its lead in score over the best enrolment of another
    person; None: there is no other person."""

    match: Match
    member: UUID
    score: float
    margin: float | None


@dataclass(frozen=True, kw_only=True)
class ClipSummary:
    """The analysis of a clip for mails and reports, as it is stored. `match` None: no member is enrolled, or there is
    no verdict; `synthesis` None: no detector scored it; `seconds` None: it was not decoded."""

    clip_id: UUID
    received_at: datetime
    seconds: float | None
    status: str
    reason: str | None
    match: str | None
    synthesis: str | None
    band: str | None
    voices: int
    is_whole: bool
    windows: tuple[str, ...]
    """The result of the screen for each window, in the order of the clip."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a clip. `compared` None: no member is enrolled, or there is too little speech. `synthesis` None:
    no detector scored it."""

    status: ClipStatus
    reason: Reason | None = None
    compared: Compared | None = None
    synthesis: Synthesis | None = None
    screen_score: float | None = None
    windows: tuple[tuple[float, float, Synthesis], ...] = ()
    """Each window: its start in seconds, its score, and the result of that score alone."""
    voices: int = 0
    """The number of voices in the clip."""


def compare(
    voices: Sequence[Voice], band: Band, members: Sequence[Enrolled], thresholds: Mapping[Band, MatchThresholds]
) -> Compared | None:
    """Compare the voices with the members. The result is that of the voice that is most like a member; None: no member
    is enrolled, or no voice has enough speech.

    A member without clips in this band is compared across bands, which is at most *inconclusive*. So is the result of a
    model without thresholds.
    """
    order = [Match.CONSISTENT, Match.INCONCLUSIVE, Match.NOT_CONSISTENT]
    if not members:
        return None
    found = [_compare_one(voice, band, members, thresholds) for voice in voices if voice.speech_s >= SPEECH_MIN_S]
    return min(found, key=lambda one: (order.index(one.match), -one.score), default=None)


def _compare_one(
    voice: Voice, band: Band, members: Sequence[Enrolled], thresholds: Mapping[Band, MatchThresholds]
) -> Compared:
    scores = {one.id: float(voice.embedding @ _centroid(one, band)) for one in members}
    ranked = sorted(members, key=lambda one: -scores[one.id])
    best = ranked[0]
    score = scores[best.id]
    others = [one for one in ranked if not is_same_person(one.person, best.person)]
    margin = score - scores[others[0].id] if others else None
    limits = thresholds.get(band)
    across = band not in best.by_band
    if limits is None:
        match = Match.INCONCLUSIVE
    elif score < limits.not_consistent:
        match = Match.INCONCLUSIVE if across else Match.NOT_CONSISTENT
    else:
        needed = limits.consistent + (MARGIN if voice.speech_s < SPEECH_ENOUGH_S else 0)
        leads = margin is None or margin >= MARGIN
        match = Match.CONSISTENT if score >= needed and leads and not across else Match.INCONCLUSIVE
    return Compared(match=match, member=best.id, score=score, margin=margin)


def is_same_person(one: str, other: str) -> bool:
    """True when two names that a family gave mean one person.

    >>> is_same_person("Grandma  Olga", "grandma olga"), is_same_person("Olga", "Olga's twin")
    (True, False)
    """
    return one.casefold().split() == other.casefold().split()


def _centroid(member: Enrolled, band: Band) -> Embedding:
    return member.by_band[band] if band in member.by_band else next(iter(member.by_band.values()))


def screened(windows: Sequence[ScreenWindow], thresholds: ScreenThresholds | None) -> tuple[Synthesis, float] | None:
    """The result of the screen, from the median of the windows' scores, and that median; None: no window was scored. A
    detector without thresholds is uncalibrated, so its result is always inconclusive.

    >>> windows = [ScreenWindow(start_s=float(n), score=score) for n, score in enumerate((-6.0, -5.0, 3.0))]
    >>> screened(windows, ScreenThresholds(signs=-4.0, no_signs=1.0))[0].value, screened(windows, None)[0].value
    ('signs_of_synthesis', 'inconclusive')
    """
    if not windows:
        return None
    middle = float(median(one.score for one in windows))
    return _word_of(middle, thresholds), middle


def _word_of(score: float, thresholds: ScreenThresholds | None) -> Synthesis:
    if thresholds is None or thresholds.signs < score < thresholds.no_signs:
        return Synthesis.INCONCLUSIVE
    return Synthesis.SIGNS if score <= thresholds.signs else Synthesis.NO_SIGNS


def judge(
    measured: ChannelMeasurements,
    members: Sequence[Enrolled],
    matching: Mapping[Band, MatchThresholds],
    screening: Mapping[Band, ScreenThresholds],
) -> Verdict:
    """The verdict on one channel. `insufficient_speech` is only for files that were read as a whole, since the rest of
    others may have more speech."""
    if measured.speech_s < SPEECH_MIN_S:
        if measured.is_whole:
            return Verdict(status=ClipStatus.INSUFFICIENT_SPEECH)
        return Verdict(status=ClipStatus.UNKNOWN, reason=Reason.PARTLY_READ)
    compared = compare(measured.voices, measured.band, members, matching)
    limits = screening.get(measured.band)
    found = screened(measured.windows, limits)
    return Verdict(
        status=ClipStatus.OK,
        reason=Reason.DETECTOR_FAILED if measured.detector_failed else None,
        compared=compared,
        synthesis=found[0] if found else None,
        screen_score=found[1] if found else None,
        windows=tuple((one.start_s, one.score, _word_of(one.score, limits)) for one in measured.windows),
        voices=len(measured.voices),
    )


def judge_clip(
    channels: Sequence[ChannelMeasurements],
    members: Sequence[Enrolled],
    matching: Mapping[Band, MatchThresholds],
    screening: Mapping[Band, ScreenThresholds],
) -> tuple[Verdict, ChannelMeasurements]:
    """The verdict on a clip, with the channel that it comes from: the one that is most like a member, and among equals
    one with signs of synthesis. Recorders of calls store each party in its own channel."""
    judged = [(judge(one, members, matching, screening), one) for one in channels]
    order = [Match.CONSISTENT, Match.INCONCLUSIVE, Match.NOT_CONSISTENT, None]

    def rank(pair: tuple[Verdict, ChannelMeasurements]) -> tuple[bool, int, bool, float]:
        verdict, measured = pair
        compared = verdict.compared
        return (
            verdict.status is not ClipStatus.OK,
            order.index(compared.match if compared else None),
            verdict.synthesis is not Synthesis.SIGNS,
            -(compared.score if compared else measured.speech_s),
        )

    verdict, measured = min(judged, key=rank)
    return replace(verdict, voices=count_voices(channels)), measured


def count_voices(channels: Sequence[ChannelMeasurements]) -> int:
    """The number of voices in all channels; a voice in several channels counts once."""
    found: list[Embedding] = []
    for measured in channels:
        for voice in measured.voices:
            if not any(float(voice.embedding @ one) >= SAME_VOICE[measured.band] for one in found):
                found.append(voice.embedding)
    return len(found)


def is_alert(verdict: Verdict, *, always: bool) -> bool:
    """True when the subscriber is alerted: if a voice is consistent with a member's and there are signs of synthesis.
    `always`: the subscriber wants an alert for every clip."""
    both = verdict.compared is not None and verdict.compared.match is Match.CONSISTENT
    return always or (both and verdict.synthesis is Synthesis.SIGNS)
