"""The manifest of a model: its kind, inputs and outputs, and the scores from which it may say what. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kordant_jobs.domain.voice.verdicts import Band, MatchThresholds, ScreenThresholds

RATE = 16_000
"""Samples a second of all that models are given."""


class ModelKind(StrEnum):
    """The use of a model."""

    SPEECH = "speech"
    SPEAKER = "speaker"
    DETECTOR = "detector"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A model file beside which this stands as `<id>.json`.

    A detector takes float32 sound [batch, `window_samples`] at 16 kHz, a window every `hop_samples`, and gives either
    logits [batch, 2] of *spoof* and *bona fide*, whose difference is the score, or scores [batch]; high is like human
    speech. Without thresholds a model is uncalibrated: its verdicts are *inconclusive*. `url`: the detector is asked
    over HTTP, and there is no file.
    """

    id: str
    kind: ModelKind
    version: str
    licence: str
    notice: str
    source: str = ""
    file: str | None = None
    sha256: str | None = None
    weights_sha256: str | None = None
    """Of the weights that the file was built from: the same model when another library wrote its file."""
    url: str | None = None
    input: str = ""
    output: str = ""
    window_samples: int = 0
    hop_samples: int = 0
    match_thresholds: Mapping[Band, MatchThresholds] = field(default_factory=dict)
    screen_thresholds: Mapping[Band, ScreenThresholds] = field(default_factory=dict)
    evaluation: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The tag of this very model: id and the beginning of its hash, else its version."""
        return f"{self.id}@{(self.weights_sha256 or self.sha256 or self.version)[:16]}"
