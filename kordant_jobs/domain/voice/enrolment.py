"""Rules for enrolments: which clips are sufficient, and which consent is valid. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations

import numpy as np

from kordant_jobs.domain.voice.verdicts import Band, Embedding, Enrolled, MatchThresholds

CLIPS_MIN, SPEECH_MIN_S = 3, 20.0
CONSENT_TEXT, CONSENT_SINCE = "2026-11", date(2026, 11, 1)
"""The version of the consent text in use (`wording/voice.toml`), and its first day. Voices are biometric data: BIPA
(740 ILCS 14/15), GDPR art. 9, LGPD art. 11 ask for a written release or explicit consent of the person whose voice it
is."""
SAME_RECORDING = 0.98
"""The cosine between two clips from which on they are one recording, perhaps in two formats. Two recordings of a person
have at most 0.90 (LibriSpeech, 24 pairs), one recording in two formats above 0.98 in the telephone's band."""


@dataclass(frozen=True, kw_only=True)
class EnrolmentClip:
    """One clip of an enrolment. `band` is the frequency band of the recording (telephone or full), `voices` the number
    of different voices in it, and `by_band` an embedding for each band."""

    name: str = field(repr=False)
    speech_s: float
    band: Band
    voices: int
    by_band: Mapping[Band, Embedding] = field(repr=False)


def mean_voice(embeddings: Sequence[Embedding]) -> Embedding:
    """The mean of embeddings, scaled to unit length."""
    mean = np.mean(np.stack(embeddings), axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)


def enrolment_problem(clips: Sequence[EnrolmentClip], thresholds: Mapping[Band, MatchThresholds]) -> str | None:
    """The reason why these clips cannot be enrolled; None: they can. A clip that is not like the others is named, since
    it may be of another person."""
    if len(clips) < CLIPS_MIN:
        return f"{len(clips)} clips are too few: give at least {CLIPS_MIN}."
    same = [f"{one.name} and {two.name}" for one, two in combinations(clips, 2) if _is_same_recording(one, two)]
    if same:
        return f"{same[0]} are one recording: give different ones."
    several = [clip.name for clip in clips if clip.voices > 1]
    if several:
        return f"there is more than one voice in {', '.join(several)}: give clips of one person."
    speech_s = sum(clip.speech_s for clip in clips)
    if speech_s < SPEECH_MIN_S:
        return f"there are {speech_s:.0f} s of speech in all: give at least {SPEECH_MIN_S:.0f} s."
    odd = [clip.name for clip in clips if _disagrees(clip, clips, thresholds)]
    if odd:
        return f"the voice in {', '.join(odd)} is not like that in the other clips: leave out those of another person."
    return None


def _is_same_recording(one: EnrolmentClip, two: EnrolmentClip) -> bool:
    shared = one.by_band.keys() & two.by_band.keys()
    return any(float(one.by_band[band] @ two.by_band[band]) >= SAME_RECORDING for band in shared)


def _disagrees(clip: EnrolmentClip, clips: Sequence[EnrolmentClip], thresholds: Mapping[Band, MatchThresholds]) -> bool:
    """True when a clip's score against the mean of the other clips is below the threshold of its band."""
    band = clip.band if all(clip.band in one.by_band for one in clips) else Band.PHONE
    others = [one.by_band[band] for one in clips if one is not clip]
    limits = thresholds.get(band)
    return limits is not None and float(clip.by_band[band] @ mean_voice(others)) < limits.not_consistent


def enrolled_already(
    found: Mapping[Band, Embedding], members: Sequence[Enrolled], thresholds: Mapping[Band, MatchThresholds]
) -> Enrolled | None:
    """The enrolment that has this voice already; None: there is none. It matters, since clips of a voice that is
    enrolled as two persons are never consistent with either: neither leads the other."""
    for member in members:
        for band in found.keys() & member.by_band.keys() & thresholds.keys():
            if float(found[band] @ member.by_band[band]) >= thresholds[band].consistent:
                return member
    return None


def joined(
    before: Mapping[Band, Embedding], clips_before: int, added: Mapping[Band, Embedding], clips_added: int
) -> dict[Band, Embedding]:
    """The voice of an enrolment after adding clips; every clip has the same weight."""
    found = {**before, **added}
    for band in before.keys() & added.keys():
        found[band] = mean_voice([before[band]] * clips_before + [added[band]] * clips_added)
    return found


def consent_problem(given_on: date, today: date) -> str | None:
    """The reason why a consent to the current text cannot have been given on that day; None: it can.

    >>> consent_problem(date(2027, 1, 1), date(2026, 12, 1))
    '2027-01-01 is in the future'
    """
    if given_on > today:
        return f"{given_on} is in the future"
    if given_on < CONSENT_SINCE:
        return f"text {CONSENT_TEXT} is in use since {CONSENT_SINCE}"
    return None


def centroids(clips: Sequence[EnrolmentClip]) -> dict[Band, Embedding]:
    """The mean voice for each band in the clips. Wide clips also have a simulated telephone version: with it, none of
    40 GSM prompts of enrolled speakers is *not consistent*; without it, 65 % are."""
    found: dict[Band, list[Embedding]] = {}
    for clip in clips:
        for band, embedding in clip.by_band.items():
            found.setdefault(band, []).append(embedding)
    return {band: mean_voice(embeddings) for band, embeddings in found.items()}
