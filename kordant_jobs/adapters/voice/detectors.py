"""Detectors of synthesis behind one port: a local ONNX file or a service, each described by a manifest.

A service gets a POST with the windows as little-endian float32, one after another, as `application/octet-stream`. The
headers `X-Windows` and `X-Samples` have their number and size. It answers `{"scores": [...]}`, one number per window.
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
"""Windows that are scored in parallel, each in a thread. Each takes about 110 MB of memory with AASIST."""


def open_session(folder: Path, manifest: Manifest, *, keep_memory: bool = False) -> onnxruntime.InferenceSession:
    """A session with one thread for the model file of a manifest. `keep_memory`: reuse the memory of a run for the next
    one. That is for inputs of one size only, since the most memory of any size is kept.

    Raises:
        SetupError: the file is missing or has another hash than the manifest.
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
    """A detector that a service runs. It receives sound of subscribers, for which the operator who configures it is
    responsible."""

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
    """The score as a float.

    Raises:
        TypeError: it is not a number, such as `true` or `"5"`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)
