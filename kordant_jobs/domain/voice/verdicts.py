"""The verdict on a clip: which words there are, and the rules that lead to them. Pure.

No word says that a voice is a person's, or that a clip was made by a machine. A copy of a voice passes the comparison
(25 of 25 vocoder copies did), and the screen finds older synthesis only, so neither is evidence of a live human.
"""

from __future__ import annotations

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
    """The state of a clip: whether a verdict is possible."""

    OK = "ok"
    INSUFFICIENT_SPEECH = "insufficient_speech"
    UNDECODABLE = "undecodable"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why nothing, or not all, can be said."""

    MODEL_MISSING = "model_missing"
    SOUND_GONE = "sound_gone"
    """Its sound was deleted, by retention, before it was analysed."""
    DETECTOR_FAILED = "detector_failed"
    ANALYSIS_FAILED = "analysis_failed"
    NOT_SOUND = "not_sound"
    NO_SOUND_STREAM = "no_sound_stream"
    TOO_LARGE = "too_large"
    DECODER_CRASHED = "decoder_crashed"
    DECODER_TIMED_OUT = "decoder_timed_out"
    PARTLY_READ = "partly_read"
    """There is too little speech in the part that was read; what the rest holds is not known."""


@dataclass(frozen=True, kw_only=True)
class MatchThresholds:
    """Cosine scores of one band from which on a voice is consistent, and below which it is not."""

    consistent: float
    not_consistent: float


@dataclass(frozen=True, kw_only=True)
class ScreenThresholds:
    """Scores of a detector (high: like human speech) up to which there are signs, and from which on there are none."""

    signs: float
    no_signs: float


MARGIN = 0.10
"""By how much the best member must lead the second, and short clips must be above the threshold."""
SPEECH_MIN_S, SPEECH_ENOUGH_S = 2.0, 4.0
"""Below the first nothing is said; below the second a match is at most inconclusive unless it is far above."""
SAME_VOICE = {Band.WIDE: 0.48, Band.PHONE: 0.62}
"""Cosine between pieces of 5 s from which on they are taken for one voice. Of pieces of one person 99 % are above; of
two persons none in 375 pairs of LibriSpeech (wide), 5 % of asterisk prompts (telephone)."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One voice of a clip: seconds of speech, and its embedding."""

    speech_s: float
    embedding: Embedding = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ScreenWindow:
    """A window that a detector scored: where it begins, in seconds, and its score."""

    start_s: float
    score: float


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The measurements of one channel of a clip. `voices`: the one with most speech first; without speech there is
    none."""

    seconds: float
    speech_s: float
    band: Band
    voices: tuple[Voice, ...]
    windows: tuple[ScreenWindow, ...] = ()
    is_whole: bool = True
    """False: the file broke off, or is longer than what is analysed."""
    detector_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Enrolled:
    """One enrolment of a family member: their voice in each band that there were clips of. `person`: what the family
    calls them; two enrolments of one name are one person."""

    id: UUID
    person: str = field(repr=False)
    by_band: Mapping[Band, Embedding] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The best enrolment for a clip's voices. `margin`: its lead over the best one of another person; None: there is
    no other person."""

    match: Match
    member: UUID
    score: float
    margin: float | None


@dataclass(frozen=True, kw_only=True)
class SaidOfClip:
    """The facts of a clip for mails and reports, as it is kept: closed words. `match` None: no member is enrolled;
    `synthesis` None: no detector scored it; `seconds` None: it was not decoded."""

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
    """The result of each window alone, from the beginning of the clip to its end."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a clip. `compared` None: no member is enrolled. `synthesis` None: no detector scored it."""

    status: ClipStatus
    reason: Reason | None = None
    compared: Compared | None = None
    synthesis: Synthesis | None = None
    screen_score: float | None = None
    windows: tuple[tuple[float, float, Synthesis], ...] = ()
    """Of each window where it begins, in seconds, its score, and what that alone says."""
    voices: int = 0
    """The number of voices in the clip."""


def compare(
    voices: Sequence[Voice], band: Band, members: Sequence[Enrolled], thresholds: Mapping[Band, MatchThresholds]
) -> Compared | None:
    """The member that one of the voices is most like. A clip of several voices is judged by its best one.

    A member without clips of the clip's band is compared across bands, which allows no more than *inconclusive*; so
    does a model without thresholds.
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
    """The result of the scores of a clip's windows, and their median; None: no window was scored. A detector without
    thresholds is uncalibrated: it is never more than inconclusive.

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
    heard: Heard,
    members: Sequence[Enrolled],
    matching: Mapping[Band, MatchThresholds],
    screening: Mapping[Band, ScreenThresholds],
) -> Verdict:
    """The verdict on one channel. Too little speech is said of a whole file only: what was not read may hold more."""
    if heard.speech_s < SPEECH_MIN_S:
        if heard.is_whole:
            return Verdict(status=ClipStatus.INSUFFICIENT_SPEECH)
        return Verdict(status=ClipStatus.UNKNOWN, reason=Reason.PARTLY_READ)
    compared = compare(heard.voices, heard.band, members, matching)
    limits = screening.get(heard.band)
    found = screened(heard.windows, limits)
    return Verdict(
        status=ClipStatus.OK,
        reason=Reason.DETECTOR_FAILED if heard.detector_failed else None,
        compared=compared,
        synthesis=found[0] if found else None,
        screen_score=found[1] if found else None,
        windows=tuple((one.start_s, one.score, _word_of(one.score, limits)) for one in heard.windows),
        voices=len(heard.voices),
    )


def judge_clip(
    channels: Sequence[Heard],
    members: Sequence[Enrolled],
    matching: Mapping[Band, MatchThresholds],
    screening: Mapping[Band, ScreenThresholds],
) -> tuple[Verdict, Heard]:
    """The verdict on a clip, with the channel that it is of: one that calls for an alert, else the one that is most
    like a member. Recorders of calls keep each party in a channel of its own."""
    judged = [(judge(one, members, matching, screening), one) for one in channels]
    order = [Match.CONSISTENT, Match.INCONCLUSIVE, Match.NOT_CONSISTENT, None]

    def rank(pair: tuple[Verdict, Heard]) -> tuple[bool, int, bool, float]:
        verdict, heard = pair
        compared = verdict.compared
        return (
            verdict.status is not ClipStatus.OK,
            order.index(compared.match if compared else None),
            verdict.synthesis is not Synthesis.SIGNS,
            -(compared.score if compared else heard.speech_s),
        )

    verdict, heard = min(judged, key=rank)
    return replace(verdict, voices=count_voices(channels)), heard


def count_voices(channels: Sequence[Heard]) -> int:
    """The number of voices in all channels; one that is in several of them counts once."""
    found: list[Embedding] = []
    for heard in channels:
        for voice in heard.voices:
            if not any(float(voice.embedding @ one) >= SAME_VOICE[heard.band] for one in found):
                found.append(voice.embedding)
    return len(found)


def is_alert(verdict: Verdict, *, always: bool) -> bool:
    """True when the subscriber is alerted: when a voice is consistent with a member's and there are signs of synthesis,
    and of every verdict when they asked for it."""
    both = verdict.compared is not None and verdict.compared.match is Match.CONSISTENT
    return always or (both and verdict.synthesis is Synthesis.SIGNS)
