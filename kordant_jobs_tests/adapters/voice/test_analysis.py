"""What is measured of invented speech: bands, voices, windows; the same clip gives the same figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kordant_jobs.adapters.voice.analysis import EMBEDDED_MAX, SCREENED_MAX, _pieces, enrolment_clip, measure, screen
from kordant_jobs.adapters.voice.features import TELEPHONES, as_telephone, band_of
from kordant_jobs.adapters.voice.models.pull import MANIFESTS
from kordant_jobs.domain.voice.verdicts import Band
from kordant_jobs_tests.voices import GRANDMOTHER, STRANGER, shared_models, spoken


def test_a_clip_measured_twice_gives_the_same() -> None:
    clip = spoken(GRANDMOTHER, 1, 4.1)
    [first], [second] = measure([clip], shared_models()), measure([clip], shared_models())
    assert first.windows == second.windows
    assert np.array_equal(first.voices[0].embedding, second.voices[0].embedding)
    assert (first.band, len(first.voices)) == (Band.WIDE, 1)


def test_the_band_is_found_in_the_sound() -> None:
    wide = spoken(GRANDMOTHER, 1).astype(np.float32) / np.float32(32768)
    assert (band_of([wide]), band_of([as_telephone(wide, TELEPHONES[1])])) == (Band.WIDE, Band.PHONE)
    assert band_of([wide * np.float32(0.3) + np.float32(0.6)]) is Band.WIDE  # an offset is no speech


def test_two_people_in_one_clip_are_two_voices() -> None:
    pause = np.zeros(16_000, np.int16)
    turns = [spoken(GRANDMOTHER, 11), spoken(STRANGER, 1), spoken(GRANDMOTHER, 12), spoken(STRANGER, 2)]
    both = np.concatenate([part for turn in turns for part in (turn, pause)])
    assert enrolment_clip("both", [both], shared_models()).voices == 2
    alone = np.concatenate([turns[0], pause, turns[2]])
    assert enrolment_clip("alone", [alone], shared_models()).voices == 1


def test_an_enrolled_wide_clip_counts_for_the_telephone_too() -> None:
    clip = enrolment_clip("a", [spoken(GRANDMOTHER, 1)], shared_models())
    assert set(clip.by_band) == {Band.WIDE, Band.PHONE}
    called = enrolment_clip(
        "b",
        [
            (as_telephone(np.asarray(spoken(GRANDMOTHER, 1) / 32768, np.float32), TELEPHONES[1]) * 32767).astype(
                np.int16
            )
        ],
        shared_models(),
    )
    assert set(called.by_band) == {Band.PHONE}
    alike = {band: float(called.by_band[Band.PHONE] @ clip.by_band[band]) for band in Band}
    assert alike[Band.PHONE] > max(alike[Band.WIDE], 0.62)


class Counting:
    """A detector that notes how many windows it was given."""

    manifest = MANIFESTS["aasist"]
    given = 0

    def scores(self, windows: NDArray[np.float32]) -> list[float]:
        self.given = len(windows)
        return [float(np.abs(window).max()) for window in windows]


def test_of_an_hour_so_many_windows_are_screened_and_all_of_them_hold_speech() -> None:
    samples = np.zeros(3_600 * 16_000, np.int16)
    spans = [(at, at + 102_400) for at in range(0, len(samples) - 102_400, 512_000)]
    for begin, end in spans:
        samples[begin:end] = 9_000
    models = replace(shared_models())
    counting = models.__dict__["detector"] = Counting()
    windows = screen(samples, spans, models)
    assert counting.given == len(windows) == SCREENED_MAX
    assert min(window.score for window in windows) > 0
    assert windows[-1].start_s > 3_000
    assert len(_pieces(samples, spans)) == EMBEDDED_MAX
