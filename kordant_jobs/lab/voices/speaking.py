"""Clips of invented voices: syllables by additive synthesis, one voice for each seed. Nothing is recorded.

The models recognise them as speech, and tell their speakers apart. They sound like synthesis of the 1990s, and the
screen finds signs of synthesis in them, as it should.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kordant_jobs.domain.voice.models import RATE

STEP = 80
"""Samples between two values of pitch, formants and loudness: 5 ms."""
VOWELS = (
    (730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410), (660, 1720, 2410),
    (440, 1020, 2240), (490, 1350, 1690),
)  # fmt: skip
"""Formants of a man's vowels in Hz (Peterson and Barney 1952)."""
Sound = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class InventedVoice:
    """The parameters of a voice: pitch, vocal tract, widths of the formants, spectral tilt, breath and tempo."""

    pitch_hz: float
    tract: NDArray[np.float64]
    widths_hz: NDArray[np.float64]
    tilt_db: float
    breath: float
    tempo: float

    @classmethod
    def of(cls, seed: int) -> InventedVoice:
        """The voice for a seed; the same seed gives the same voice."""
        chance = np.random.default_rng(seed)
        pitch = float(chance.uniform(75, 260))
        tract = chance.uniform(0.8, 1.1) + (0.15 if pitch > 160 else 0.0)
        return cls(
            pitch_hz=pitch,
            tract=tract * chance.uniform(0.88, 1.12, 5),
            widths_hz=np.array([70, 90, 130, 200, 260]) * chance.uniform(0.5, 2.0, 5),
            tilt_db=float(chance.uniform(-12, -3)),
            breath=float(chance.uniform(0.005, 0.05)),
            tempo=float(chance.uniform(0.75, 1.3)),
        )


def speak(voice: InventedVoice, seconds: float, seed: int) -> Sound:
    """Meaningless syllables in a voice, in -1 … 1 at 16 kHz. Another seed gives other syllables."""
    chance = np.random.default_rng(seed)
    points = int(seconds * RATE / STEP)
    formants, loud, noise, pitch = _plan(voice, points, chance)
    at = np.linspace(0, points - 1, points * STEP)
    places = np.arange(points)
    phase = 2 * np.pi * np.cumsum(np.interp(at, places, pitch)) / RATE
    tone = np.zeros(points * STEP)
    for harmonic in range(1, int(RATE / 2 / pitch.min())):
        hertz = harmonic * pitch
        if hertz.min() > RATE / 2 - 500:
            break
        tone += np.interp(at, places, _envelope(voice, formants, hertz) * loud) * np.sin(harmonic * phase)
    hiss = chance.standard_normal(points * STEP)
    hiss = np.diff(hiss, prepend=0.0) * np.interp(at, places, noise + voice.breath * loud)
    sound = tone / max(np.abs(tone).max(), 1e-9) + 0.15 * hiss + 1e-4 * chance.standard_normal(points * STEP)
    return np.asarray(0.6 * sound / np.abs(sound).max(), np.float32)


def _plan(
    voice: InventedVoice, points: int, chance: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Formants [points, 5], the loudness of voice and noise, and the pitch, every 5 ms."""
    formants, loud = np.zeros((points, 5)), np.zeros(points)
    noise, pitch = np.zeros(points), np.full(points, voice.pitch_hz)
    at, syllable, now = 0, 0, np.array([500.0, 1500, 2500, 3400, 4400])
    while at < points:
        if syllable and syllable % int(chance.integers(6, 11)) == 0:
            pause = int(chance.uniform(30, 60))
            formants[at : at + pause] = now
            at = min(at + pause, points - 1)
        consonant, vowel = int(chance.uniform(8, 20) / voice.tempo), int(chance.uniform(20, 48) / voice.tempo)
        target = np.array([*VOWELS[int(chance.integers(len(VOWELS)))], 3400, 4400]) * voice.tract
        length = min(consonant + vowel, points - at)
        glide = np.clip(np.arange(length) / (consonant + 6), 0, 1)[:, None]
        formants[at : at + length] = now + (target - now) * glide
        shape = np.minimum(1, np.minimum(np.arange(length) / 4, (length - np.arange(length)) / 8))
        is_voiced = chance.random() < 0.5
        body = np.where(np.arange(length) < consonant, 0.35 if is_voiced else 0.02, 1.0)
        loud[at : at + length] = shape * body * chance.uniform(0.6, 1.0)
        noise[at : at + length] = np.where(np.arange(length) < consonant, 0.0 if is_voiced else 0.8, 0.0) * shape
        tune = 1 + 0.12 * np.sin(np.linspace(0, np.pi, length)) * chance.uniform(-0.5, 1) - 0.1 * (syllable % 8) / 8
        pitch[at : at + length] *= tune * (1 + 0.01 * chance.standard_normal(length))
        now, at, syllable = target, at + length, syllable + 1
    return formants, loud, noise, pitch


def _envelope(voice: InventedVoice, formants: NDArray[np.float64], hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """The loudness of a partial at `hertz` for each point: the formants' resonances over a falling source spectrum."""
    away = (hertz[:, None] - formants) / voice.widths_hz
    resonance = (1 / (1 + away**2)).sum(axis=1) + 0.01
    return np.asarray(resonance * 10 ** (voice.tilt_db / 20 * np.log2(np.maximum(hertz, 100) / 100)))


def as_wav(sound: Sound) -> bytes:
    """The sound as a WAV file, 16 bits, mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()
