"""Clips a second of a core, from the file to what is measured of it, beside the bare ONNX sessions on the same inputs,
in turn; and whether memory stays flat over many clips of different lengths."""

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psutil
from rich.progress import track

from kordant_jobs.adapters.voice.analysis import measure as listen
from kordant_jobs.adapters.voice.decoding import Decoder
from kordant_jobs.adapters.voice.detectors import OnnxDetector
from kordant_jobs.adapters.voice.models.files import VoiceModels, open_models
from kordant_jobs.cli.output import err
from kordant_jobs.lab.figures import Figure
from kordant_jobs.lab.voices.speaking import InventedVoice, as_wav, speak
from kordant_jobs.settings import load_settings

DISTINCT = 24
"""Clips that are made; they come again and again. Of 3 to 8 seconds."""
GROWTH_MAX_MB = 30


class _Recording:
    """A session that notes what it is given, so that the peer is given the very same."""

    def __init__(self, session: Any, runs: list[tuple[Any, dict[str, Any]]]) -> None:
        self._session, self._runs = session, runs

    def run(self, names: None, given: dict[str, Any]) -> Any:
        self._runs.append((self._session, given))
        return self._session.run(names, given)

    def get_inputs(self) -> Any:
        return self._session.get_inputs()


def measure(*, clips: int, screen: bool) -> list[Figure]:
    """Measure `clips` clips, and run the bare sessions on a part of them."""
    settings = load_settings()
    models = open_models(settings.models, settings.voice_detector)
    if not screen:
        models = replace(models, detector_manifest=None)
    files = [as_wav(speak(InventedVoice.of(n), 3 + n % 6, n)) for n in range(DISTINCT)]
    with Decoder() as decoder:
        runs = _inputs(models, decoder, files)
        helper = _Helper(decoder)
        ours, bare, done, sizes = 0.0, 0.0, 0, list[float]()
        for _ in track(range(-(-clips // DISTINCT)), "listening", console=err, transient=True):
            with _cpu() as took:
                for file in files:
                    listen(decoder.decode([file], "wav").channels, models)
            ours += took[0] + helper.since()
            if done < DISTINCT * 3:
                with _cpu() as took:
                    for session, given in runs:
                        session.run(None, given)
                bare += took[0]
            done += DISTINCT
            sizes.append(psutil.Process().memory_info().rss / 1e6)
    rounds = done // DISTINCT
    own_s, bare_s = ours / done, bare / (min(rounds, 3) * DISTINCT)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    growth = sizes[-1] - sizes[min(2, rounds - 1)]
    return [
        Figure(key="clips_per_s_core", value=1 / own_s, unit="clips/s", goal=None, direction="min"),
        Figure(
            key="ratio_to_bare_onnx", value=bare_s / own_s, unit="", goal=0.8 if screen else None, direction="min",
            peer="bare sessions", peer_value=1.0,
        ),
        Figure(key="peak_mb_10k" if done >= 10_000 else "peak_mb", value=peak, unit="MB", goal=1024),
        Figure(key="growth_mb", value=growth, unit="MB", goal=GROWTH_MAX_MB),
        Figure(key="clips", value=done, unit="clips", goal=None),
    ]  # fmt: skip


def _inputs(models: VoiceModels, decoder: Decoder, files: Sequence[bytes]) -> list[tuple[Any, dict[str, Any]]]:
    """The very sessions that are measured, and what each is given for these clips."""
    runs: list[tuple[Any, dict[str, Any]]] = []
    noted = replace(models)
    noted.__dict__["speech"] = _Recording(models.speech, runs)
    noted.__dict__["speaker"] = _Recording(models.speaker, runs)
    if isinstance(models.detector, OnnxDetector):
        detector = OnnxDetector(models.detector_folder, models.detector.manifest)
        detector.__dict__["_session"] = _Recording(models.detector._session, runs)
        noted.__dict__["detector"] = detector
    for file in files:
        listen(decoder.decode([file], "wav").channels, noted)
    return runs


@contextmanager
def _cpu() -> Iterator[list[float]]:
    """The CPU seconds of this process within the block."""
    took = [0.0]
    before = os.times()
    yield took
    after = os.times()
    took[0] = after.user + after.system - before.user - before.system


class _Helper:
    """The CPU seconds of a decoder's helper and its children, from one call to the next."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder, self._before = decoder, 0.0
        self.since()

    def since(self) -> float:
        helper = self._decoder._helper
        if helper is None:
            return 0.0
        times = psutil.Process(helper.pid).cpu_times()
        now = times.user + times.system + times.children_user + times.children_system
        since, self._before = now - self._before, now
        return since
