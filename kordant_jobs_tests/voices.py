"""The models of voices and some invented speech, made once a process: tests share them."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from kordant_jobs.adapters.voice.decoding import Samples
from kordant_jobs.adapters.voice.models.files import VoiceModels, open_models
from kordant_jobs.adapters.voice.models.pull import pull_models
from kordant_jobs.bootstrap import lock
from kordant_jobs.bootstrap.state import state_dir
from kordant_jobs.errors import SetupError
from kordant_jobs.lab.voices.speaking import InventedVoice, as_wav, speak

GRANDMOTHER, STRANGER = 4, 8
"""Seeds of two voices that are far apart (0.35)."""


@lru_cache(maxsize=1)
def models_folder() -> Path:
    """Where the models are: KORDANT_MODELS_DIR, else the checkout's own, pulled by the first test that needs them."""
    environ = {name: value for name, value in os.environ.items() if name != "KORDANT_STATE_DIR"}
    state = state_dir(environ)
    folder = Path(os.environ.get("KORDANT_MODELS_DIR") or state / "models")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.held(folder / ".pulling", on_wait=lambda: None):
        try:
            found = open_models(folder)
            assert found.speech
            assert found.detector
        except SetupError:
            with tempfile.TemporaryDirectory() as logs:
                try:
                    pull_models(folder, Path(logs), environ)
                except SetupError as error:
                    pytest.skip(f"no models of voices: {error}")
    return folder


@lru_cache(maxsize=1)
def shared_models() -> VoiceModels:
    """The models, opened once a process."""
    return open_models(models_folder())


@lru_cache(maxsize=32)
def spoken(voice: int, seed: int, seconds: float = 8.0) -> Samples:
    """Invented speech of a voice, as decoded samples."""
    sound = speak(InventedVoice.of(voice), seconds, 100 * voice + seed)
    return np.asarray(sound * 32767, np.int16)


@lru_cache(maxsize=32)
def spoken_wav(voice: int, seed: int, seconds: float = 4.1) -> bytes:
    """Invented speech of a voice, as a file."""
    return as_wav(speak(InventedVoice.of(voice), seconds, 100 * voice + seed))
