"""What a run hears with: the models of the settings, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass

from kordant_jobs.adapters.voice.models.files import VoiceModels, open_models
from kordant_jobs.errors import SetupError
from kordant_jobs.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Ears:
    """The models, None where they are missing; `problem` then says what to do."""

    models: VoiceModels | None
    problem: str = ""


def open_ears(settings: Settings) -> Ears:
    """The models of the settings. Files are opened when first used."""
    try:
        return Ears(models=open_models(settings.models, settings.voice_detector))
    except SetupError as error:
        return Ears(models=None, problem=str(error))
