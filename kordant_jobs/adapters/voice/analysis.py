"""Measures a clip: the spans of speech, the band, the voices (as embeddings), and the detector's scores by window.

The work is limited for any length: at most an hour is decoded, and embeddings are made of at most EMBEDDED_MAX pieces
of speech and scores of at most SCREENED_MAX windows, spread evenly. Clips for an enrolment are read here as well."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from kordant_jobs.adapters.drop_folder import dropped_files
from kordant_jobs.adapters.voice.decoding import Decoder, Samples, Undecodable
from kordant_jobs.adapters.voice.drop_folder import ending_of
from kordant_jobs.adapters.voice.features import TELEPHONES, Floats, as_telephone, band_of, filter_banks, speech_spans
from kordant_jobs.adapters.voice.models.files import VoiceModels
from kordant_jobs.domain.voice.enrolment import EnrolmentClip, mean_voice
from kordant_jobs.domain.voice.models import RATE
from kordant_jobs.domain.voice.verdicts import (
    SAME_VOICE,
    Band,
    ChannelMeasurements,
    Embedding,
    Reason,
    ScreenWindow,
    Voice,
    count_voices,
)
from kordant_jobs.errors import SettingsError, SourceUnavailable

PIECE_S, TURN_MIN_S, PAUSE_S = 5.0, 2.0, 0.6
"""Seconds: the usual length of speech for one embedding, the shortest turn, and the shortest pause between turns.
Speakers change at pauses, so speech between two long pauses is a turn, which is cut into pieces. A turn that is too
short is joined with its neighbour."""
EMBEDDED_MAX, SCREENED_MAX = 60, 30
QUIET_PEAK, GAIN_MAX = 0.1, 300.0
"""For speech detection, sound with a lower peak (1 is full scale) is amplified, at most by this factor."""
SPEECH_BLOCK, SPEECH_FRAME, SPEECH_CONTEXT = 512, 512, 64
"""The input of the speech model: frames per call, samples per frame, and samples of the previous frame."""
VOICE_MIN_S = 3.0
"""The seconds of speech from which on a further voice is counted; less may be one piece with two voices."""
SCREEN_SPEECH_MIN = 0.3
"""The smallest share of speech in a window that is screened."""


@dataclass(frozen=True, kw_only=True)
class Speech:
    """The speech of a clip: its spans as samples [begin, end), its pieces, and their band and embeddings."""

    spans: Sequence[tuple[int, int]]
    pieces: Sequence[Floats] = field(repr=False)
    band: Band
    embeddings: Sequence[Embedding] = field(repr=False)

    @property
    def seconds(self) -> float:
        """The total length of the speech in seconds."""
        return _length(self.spans) / RATE

    @property
    def voices(self) -> list[Voice]:
        """The voices, the one with most speech first."""
        return _voices(self.pieces, self.embeddings, self.band)


def listen(samples: Samples, models: VoiceModels) -> Speech:
    """Find the speech in one channel of a clip (16 kHz), with its embeddings.

    Raises:
        SetupError: a model file is missing or has another hash than its manifest.
    """
    spans = find_speech(samples, models)
    pieces = _pieces(samples, spans)
    return Speech(
        spans=spans, pieces=pieces, band=band_of(pieces), embeddings=[embed(piece, models) for piece in pieces]
    )


def measure(channels: Sequence[Samples], models: VoiceModels, *, is_whole: bool = True) -> list[ChannelMeasurements]:
    """Measure each channel of a clip (16 kHz).

    Raises:
        SetupError: a model file is missing or has another hash than its manifest.
    """
    return [_measure_one(one, models, is_whole=is_whole, windows_max=SCREENED_MAX // len(channels)) for one in channels]


def _measure_one(samples: Samples, models: VoiceModels, *, is_whole: bool, windows_max: int) -> ChannelMeasurements:
    speech = listen(samples, models)
    failed, windows = False, tuple[ScreenWindow, ...]()
    try:
        windows = screen(samples, speech.spans, models, windows_max=windows_max)
    except SourceUnavailable:
        failed = True
    return ChannelMeasurements(
        seconds=len(samples) / RATE,
        speech_s=speech.seconds,
        band=speech.band,
        voices=tuple(speech.voices),
        windows=windows,
        is_whole=is_whole,
        detector_failed=failed,
    )


def find_speech(samples: Samples, models: VoiceModels) -> list[tuple[int, int]]:
    """The spans of speech, as samples [begin, end). Quiet sound is amplified, since the model misses speech at -60
    dB."""
    gain = _gain(samples)
    state = [np.zeros((1, 1, 128), np.float32)] * 2
    context = np.zeros(SPEECH_CONTEXT, np.float32)
    found = []
    for begin in range(0, len(samples), SPEECH_BLOCK * SPEECH_FRAME):
        block = gain * _floats(samples[begin : begin + SPEECH_BLOCK * SPEECH_FRAME])
        frames = np.pad(block, (0, -len(block) % SPEECH_FRAME)).reshape(-1, SPEECH_FRAME)
        contexts = np.vstack([context[None], frames[:-1, -SPEECH_CONTEXT:]])
        context = frames[-1, -SPEECH_CONTEXT:]
        given = {"input": np.hstack([contexts, frames]), "h": state[0], "c": state[1]}
        scores, *state = models.speech.run(None, given)
        found.append(scores)
    spans = speech_spans(np.concatenate(found), SPEECH_FRAME) if found else []
    return [(begin, min(end, len(samples))) for begin, end in spans]


def _gain(samples: Samples) -> np.float32:
    peak = float(max(samples.max(), -float(samples.min()))) / 32768 if len(samples) else 1.0
    return np.float32(1.0 if peak >= QUIET_PEAK else QUIET_PEAK / max(peak, QUIET_PEAK / GAIN_MAX))


def embed(speech: Floats, models: VoiceModels) -> Embedding:
    """The embedding of a piece of speech, of unit length."""
    features = filter_banks(speech)
    (embedding,) = models.speaker.run(None, {"features": (features - features.mean(axis=0))[None]})
    return mean_voice([embedding[0]])


def enrolment_clip(name: str, channels: Sequence[Samples], models: VoiceModels) -> EnrolmentClip:
    """The data of a clip for an enrolment, from the channel with most speech. `voices` counts those of all channels."""
    measured = [listen(one, models) for one in channels]
    most = max(measured, key=lambda one: one.seconds)
    clip = enrolment_of(name, most, models)
    return clip if len(measured) == 1 else replace(clip, voices=_people(measured))


def _people(channels: Sequence[Speech]) -> int:
    return count_voices(
        [
            ChannelMeasurements(seconds=0, speech_s=one.seconds, band=one.band, voices=tuple(one.voices))
            for one in channels
            if one.seconds >= VOICE_MIN_S
        ]
    )


def enrolment_of(name: str, speech: Speech, models: VoiceModels) -> EnrolmentClip:
    """The data of a clip's speech for an enrolment: its voice in the clip's band, and for wide clips also as a
    telephone would transmit it."""
    by_band = {speech.band: mean_voice(speech.embeddings)} if speech.embeddings else {}
    if by_band and speech.band is Band.WIDE:
        by_band[Band.PHONE] = mean_voice(
            [embed(as_telephone(piece, kind), models) for piece in speech.pieces for kind in TELEPHONES]
        )
    return EnrolmentClip(
        name=name, speech_s=speech.seconds, band=speech.band, voices=len(speech.voices), by_band=by_band
    )


def _floats(samples: Samples) -> Floats:
    return samples.astype(np.float32) / np.float32(32768)


def _length(spans: Sequence[tuple[int, int]]) -> int:
    return sum(end - begin for begin, end in spans)


def _turns(spans: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The turns: spans of speech, grouped at long pauses."""
    turns: list[list[tuple[int, int]]] = []
    for span in spans:
        is_new = not turns or span[0] - turns[-1][-1][1] > PAUSE_S * RATE
        if is_new and turns and _length(turns[-1]) >= TURN_MIN_S * RATE:
            turns.append([span])
        elif turns:
            turns[-1].append(span)
        else:
            turns = [[span]]
    if len(turns) > 1 and _length(turns[-1]) < TURN_MIN_S * RATE:
        rest = turns.pop()
        turns[-1] += rest
    return turns


def _pieces(samples: Samples, spans: Sequence[tuple[int, int]]) -> list[Floats]:
    """The pieces of speech, one for each embedding. A long clip gives at most EMBEDDED_MAX pieces, spread evenly."""
    pieces = [
        (turn, place, count)
        for turn in _turns(spans)
        for count in (max(1, round(_length(turn) / RATE / PIECE_S)),)
        for place in range(count)
    ]
    chosen = [pieces[place] for place in _spread(len(pieces), EMBEDDED_MAX)]
    return [
        _floats(np.array_split(np.concatenate([samples[begin:end] for begin, end in turn]), count)[place])
        for turn, place, count in chosen
    ]


def _spread(count: int, most: int) -> list[int]:
    """The indexes of at most `most` of `count` items, spread evenly.

    >>> _spread(3, 5), _spread(10, 4)
    ([0, 1, 2], [0, 3, 6, 9])
    """
    return [int(place) for place in np.linspace(0, count - 1, min(count, most)).round()] if count else []


def _voices(pieces: Sequence[Floats], embeddings: Sequence[Embedding], band: Band) -> list[Voice]:
    """The voices, with similar pieces grouped, the one with most speech first. Further voices with little speech are
    left out."""
    groups: list[list[int]] = []
    for place, embedding in enumerate(embeddings):
        alike = [float(embedding @ mean_voice([embeddings[one] for one in group])) for group in groups]
        best = int(np.argmax(alike)) if alike else -1
        if best >= 0 and alike[best] >= SAME_VOICE[band]:
            groups[best].append(place)
        else:
            groups.append([place])
    found = [
        Voice(
            speech_s=sum(len(pieces[one]) for one in group) / RATE,
            embedding=mean_voice([embeddings[one] for one in group]),
        )
        for group in groups
    ]
    found.sort(key=lambda one: -one.speech_s)
    return [one for place, one in enumerate(found) if place == 0 or one.speech_s >= VOICE_MIN_S]


def screen(
    samples: Samples, spans: Sequence[tuple[int, int]], models: VoiceModels, *, windows_max: int = SCREENED_MAX
) -> tuple[ScreenWindow, ...]:
    """The detector's scores of windows with speech. A clip that is shorter than a window is repeated to fill it.

    Raises:
        SourceUnavailable: the detector is a service that does not answer.
    """
    detector = models.detector
    if detector is None or not spans:
        return ()
    size, hop = detector.manifest.window_samples, detector.manifest.hop_samples
    starts = list(range(0, max(len(samples) - size, 0) + 1, hop))
    is_speech = np.zeros(len(samples) // SPEECH_FRAME + 2, bool)
    for begin, end in spans:
        is_speech[begin // SPEECH_FRAME + 1 : end // SPEECH_FRAME + 1] = True
    until = np.cumsum(is_speech, dtype=np.int32) * SPEECH_FRAME
    shares = [
        (until[min(start + size, len(samples)) // SPEECH_FRAME] - until[start // SPEECH_FRAME])
        / min(size, len(samples))
        for start in starts
    ]
    spoken = [start for start, part in zip(starts, shares, strict=True) if part >= SCREEN_SPEECH_MIN]
    spoken = spoken or [starts[int(np.argmax(shares))]]
    chosen = [spoken[place] for place in _spread(len(spoken), windows_max)]
    windows = np.stack([np.resize(_floats(samples[start : start + size]), size) for start in chosen])
    return tuple(
        ScreenWindow(start_s=start / RATE, score=float(score))
        for start, score in zip(chosen, detector.scores(windows), strict=True)
    )


def read_clips(folder: Path, models: VoiceModels) -> list[EnrolmentClip]:
    """Read and measure the clips of a folder.

    Raises:
        SettingsError: there is no such folder, or a clip in it has no sound or no speech; the text names the clip.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder: put the clips of one person into one.")
    found = []
    with Decoder() as decoder:
        for file in dropped_files(folder):
            try:
                decoded = decoder.decode([(folder / file.name).read_bytes()], ending_of(file.name))
            except Undecodable as error:
                raise SettingsError(f"{file.name} holds no sound that can be read ({_words(error.reason)}).") from None
            clip = enrolment_clip(file.name, decoded.channels, models)
            if not clip.by_band:
                raise SettingsError(f"there is no speech in {file.name}: leave it out.")
            found.append(clip)
    return found


def _words(reason: Reason) -> str:
    return reason.value.replace("_", " ")
