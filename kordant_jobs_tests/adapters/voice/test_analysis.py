"""What is measured of invented speech: bands, voices, windows; the same clip gives the same figures."""

from __future__ import annotations

import numpy as np

from kordant_jobs.adapters.voice.analysis import EMBEDDED_MAX, SCREENED_MAX, enrolment_clip, measure
from kordant_jobs.adapters.voice.features import TELEPHONES, as_telephone, band_of
from kordant_jobs.domain.voice.verdicts import Band
from kordant_jobs_tests.voices import GRANDMOTHER, STRANGER, shared_models, spoken


def test_a_clip_measured_twice_gives_the_same() -> None:
    clip = spoken(GRANDMOTHER, 1, 4.1)
    first, second = measure(clip, shared_models()), measure(clip, shared_models())
    assert first.windows == second.windows
    assert np.array_equal(first.voices[0].embedding, second.voices[0].embedding)
    assert (first.band, len(first.voices)) == (Band.WIDE, 1)


def test_the_band_is_found_in_the_sound() -> None:
    wide = spoken(GRANDMOTHER, 1).astype(np.float32) / np.float32(32768)
    assert (band_of([wide]), band_of([as_telephone(wide, TELEPHONES[1])])) == (Band.WIDE, Band.PHONE)


def test_two_people_in_one_clip_are_two_voices() -> None:
    pause = np.zeros(16_000, np.int16)
    turns = [spoken(GRANDMOTHER, 11), spoken(STRANGER, 1), spoken(GRANDMOTHER, 12), spoken(STRANGER, 2)]
    both = np.concatenate([part for turn in turns for part in (turn, pause)])
    assert enrolment_clip("both", both, shared_models()).voices == 2
    alone = np.concatenate([turns[0], pause, turns[2]])
    assert enrolment_clip("alone", alone, shared_models()).voices == 1


def test_an_enrolled_wide_clip_counts_for_the_telephone_too() -> None:
    clip = enrolment_clip("a", spoken(GRANDMOTHER, 1), shared_models())
    assert set(clip.by_band) == {Band.WIDE, Band.PHONE}
    called = enrolment_clip(
        "b",
        (as_telephone(np.asarray(spoken(GRANDMOTHER, 1) / 32768, np.float32), TELEPHONES[1]) * 32767).astype(np.int16),
        shared_models(),
    )
    assert set(called.by_band) == {Band.PHONE}
    alike = {band: float(called.by_band[Band.PHONE] @ clip.by_band[band]) for band in Band}
    assert alike[Band.PHONE] > max(alike[Band.WIDE], 0.62)


def test_what_a_long_clip_costs_is_bounded() -> None:
    assert (EMBEDDED_MAX, SCREENED_MAX) == (60, 30)
