"""The manifest of a model: its kind, input and output, and the thresholds of its scores. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kordant_jobs.domain.voice.verdicts import Band, MatchThresholds, ScreenThresholds

RATE = 16_000
"""The sample rate of the sound that models get, in Hz."""


class ModelKind(StrEnum):
    """The use of a model."""

    SPEECH = "speech"
    SPEAKER = "speaker"
    DETECTOR = "detector"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of a model file, stored beside it as `<id>.json`.

    A detector gets float32 sound [batch, `window_samples`] at 16 kHz, a window every `hop_samples`. It returns either
    logits [batch, 2] of *spoof* and *bona fide*, whose difference is the score, or scores [batch]; a high score is like
    human speech. Without thresholds a model is uncalibrated, and its verdicts are *inconclusive*. `url`: the detector
    is a service, and there is no file."""

    id: str
    kind: ModelKind
    version: str
    licence: str
    notice: str
    source: str = ""
    file: str | None = None
    sha256: str | None = None
    weights_sha256: str | None = None
    """The hash of the weights from which the file was built; it stays the same if another library writes the file."""
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
        """The identity of the model: its id, and the beginning of its hash, or else its version."""
        return f"{self.id}@{(self.weights_sha256 or self.sha256 or self.version)[:16]}"
