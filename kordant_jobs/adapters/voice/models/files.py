"""Opens model files: one ONNX session for each model, with one thread, so that a run uses a predictable share of
CPU."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from kordant_jobs.adapters.voice.detectors import HttpDetector, OnnxDetector, open_session
from kordant_jobs.domain.voice.models import Manifest, ModelKind
from kordant_jobs.errors import SetupError
from kordant_jobs.ports import SynthesisDetector

if TYPE_CHECKING:
    import onnxruntime

SPEECH_ID, SPEAKER_ID, SCREEN_ID = "silero-vad", "campplus", "aasist"
PACKAGES = ("onnxruntime", "av")
NOTICE = "NOTICE"
"""The file beside the models with their copyright notices and licences."""
_MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True, kw_only=True)
class VoiceModels:
    """The models of one folder. Sessions are opened at first use, and stay open."""

    folder: Path
    speech_manifest: Manifest
    speaker_manifest: Manifest
    detector_manifest: Manifest | None
    detector_folder: Path

    @cached_property
    def speech(self) -> onnxruntime.InferenceSession:
        """The session that finds speech: frames [n, 576] and a state → probabilities [n] and the new state."""
        return open_session(self.folder, self.speech_manifest)

    @cached_property
    def speaker(self) -> onnxruntime.InferenceSession:
        """The session for speakers: features [batch, frames, 80] → embeddings [batch, 192]."""
        return open_session(self.folder, self.speaker_manifest)

    @cached_property
    def detector(self) -> SynthesisDetector | None:
        """The detector of synthesis; None: there is none."""
        manifest = self.detector_manifest
        if manifest is None:
            return None
        return HttpDetector(manifest) if manifest.url else OnnxDetector(self.detector_folder, manifest)


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a model.

    Raises:
        SetupError: the file is missing or is not a valid manifest.
    """
    try:
        return _MANIFEST.validate_json(path.read_bytes())
    except OSError:
        raise SetupError(f"there is no model {path.stem} in {path.parent}: run `kordant-jobs models pull`.") from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise SetupError(
            f"{path} is no manifest of a model: {where or 'it'} is wrong ({len(error.errors())} faults)."
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest beside its model, atomically: a reader finds the whole old or the whole new one."""
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n"
    draft = folder / f".{manifest.id}.json.{os.getpid()}"
    draft.write_text(text, encoding="utf-8")
    draft.replace(folder / f"{manifest.id}.json")


def open_models(folder: Path, detector: Path | None = None) -> VoiceModels:
    """Open the models in `folder`. `detector`: the manifest of another detector than the shipped one.

    Raises:
        SetupError: a model or a package is missing, or a manifest is invalid; the text says what to do.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(f"the packages of voices are missing ({', '.join(missing)}): run `kordant-jobs models pull`.")
    path = detector or folder / f"{SCREEN_ID}.json"
    screen = read_manifest(path)
    if screen.kind is not ModelKind.DETECTOR:
        raise SetupError(f"{path} is the manifest of a {screen.kind} model: KORDANT_VOICE_DETECTOR takes a detector's.")
    speech, speaker = read_manifest(folder / f"{SPEECH_ID}.json"), read_manifest(folder / f"{SPEAKER_ID}.json")
    for one, place in ((speech, folder), (speaker, folder), (screen, path.parent)):
        if one.file and not (place / one.file).is_file():
            raise SetupError(f"{place / one.file} is missing: run `kordant-jobs models pull`.")
    return VoiceModels(
        folder=folder,
        speech_manifest=speech,
        speaker_manifest=speaker,
        detector_manifest=screen,
        detector_folder=path.parent,
    )


def damaged(models: VoiceModels) -> list[Path]:
    """The model files that are missing or have another hash than their manifest; verdicts that need them are
    unknown."""
    places = [(models.speech_manifest, models.folder), (models.speaker_manifest, models.folder)]
    if models.detector_manifest is not None:
        places.append((models.detector_manifest, models.detector_folder))
    files = [(folder / one.file, one.sha256) for one, folder in places if one.file]
    return [path for path, expected in files if not path.is_file() or sha256_of(path) != expected]


@dataclass(frozen=True, kw_only=True)
class LoadedModels:
    """The models for a run. `models` None: they are missing, and `problem` says what to do."""

    models: VoiceModels | None
    problem: str = ""


def load_models(folder: Path, detector: Path | None = None) -> LoadedModels:
    """The models in `folder`, or the problem why there are none. Model files are opened at first use."""
    try:
        return LoadedModels(models=open_models(folder, detector))
    except SetupError as error:
        return LoadedModels(models=None, problem=str(error))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
