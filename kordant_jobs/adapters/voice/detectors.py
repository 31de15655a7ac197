"""Detectors of synthesis behind one port: a local ONNX file or a service, each described by a manifest.

A service is posted float32 windows, little endian, one after the other, as `application/octet-stream`, with their
number and size in the headers `X-Windows` and `X-Samples`, and answers `{"scores": [...]}`, a number a window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np

from kordant_jobs import outside_json
from kordant_jobs.adapters.http_client import HttpClient
from kordant_jobs.adapters.voice.features import Floats
from kordant_jobs.domain.voice.models import Manifest
from kordant_jobs.errors import SetupError, SourceUnavailable

if TYPE_CHECKING:
    import onnxruntime

ANSWER_S = 30.0
WINDOWS_AT_ONCE = 2
"""Windows that are scored side by side, a thread each. Each takes about 110 MB of AASIST's arena."""


def open_session(folder: Path, manifest: Manifest, *, keep_memory: bool = False) -> onnxruntime.InferenceSession:
    """A session with one thread of the very file that a manifest describes. `keep_memory`: keep what a run takes for
    the next one. For inputs of one size only, since it keeps the most that any size took.

    Raises:
        SetupError: the file is missing or is another one.
    """
    import onnxruntime

    path = folder / (manifest.file or f"{manifest.id}.onnx")
    try:
        content = path.read_bytes()
    except OSError:
        raise SetupError(f"{path} is missing: run `kordant-jobs models pull`.") from None
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise SetupError(f"{path} is not the file that its manifest describes: run `kordant-jobs models pull`.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # lengths differ from clip to clip
    options.enable_cpu_mem_arena = keep_memory
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class OnnxDetector:
    """A detector in an ONNX file: sound [batch, samples] → logits [batch, 2] or scores [batch]."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._folder = folder

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self._folder, self.manifest, keep_memory=True)

    def scores(self, windows: Floats) -> Sequence[float]:
        """See `SynthesisDetector.scores`."""
        session = self._session
        name = session.get_inputs()[0].name

        def score(window: Floats) -> float:
            output = np.asarray(session.run(None, {name: window[None]})[0])[0]
            return float(output[1] - output[0]) if output.ndim else float(output)

        with ThreadPoolExecutor(WINDOWS_AT_ONCE, thread_name_prefix="detector") as threads:
            return list(threads.map(score, windows))


class HttpDetector:
    """A detector that a service runs. It is sent sound of subscribers: who turns it on answers for that."""

    def __init__(self, manifest: Manifest, client: httpx.Client | None = None) -> None:
        self.manifest = manifest
        self._client = client or HttpClient(timeout=ANSWER_S, follow_redirects=False)

    def scores(self, windows: Floats) -> Sequence[float]:
        """See `SynthesisDetector.scores`."""
        if self.manifest.url is None:
            raise SetupError(f"the manifest of {self.manifest.id} has no url.")
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Windows": str(len(windows)),
            "X-Samples": str(windows.shape[1]),
        }
        try:
            answer = self._client.post(self.manifest.url, content=windows.astype("<f4").tobytes(), headers=headers)
            answer.raise_for_status()
            found = [_number(score) for score in outside_json.loads(answer.content)["scores"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise SourceUnavailable(
                f"the detector {self.manifest.id} did not answer ({type(error).__name__})."
            ) from None
        if len(found) != len(windows) or not np.isfinite(found).all():
            raise SourceUnavailable(f"the detector {self.manifest.id} did not give a number for each window.")
        return found


def _number(value: object) -> float:
    """A score; what only could be read as one, as `true` or `"5"`, is a TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)
