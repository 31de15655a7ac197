"""Another detector of synthetic speech, as a service: a manifest, and a server that answers a score a window.

    .venv/bin/python examples/plug_in_a_detector.py 8765 manifest.json &       # serve, and write the manifest
    KORDANT_VOICE_DETECTOR=manifest.json .venv/bin/kordant-jobs models list
    KORDANT_VOICE_DETECTOR=manifest.json .venv/bin/kordant-jobs voices evaluate recordings/

A real one runs its model in `score`. Without `screen_thresholds` its verdicts are *inconclusive*, since nobody has
measured it: `voices evaluate` prints error rates, from which you choose them.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

WINDOW = 64_600
"""Samples of a window: 4 s at 16 kHz."""


def score(window: np.ndarray) -> float:
    """How much like human speech: here merely how much its loudness changes, which is no detector at all."""
    parts = np.abs(window[: len(window) // 100 * 100]).reshape(100, -1).mean(axis=1)
    return float(parts.std() / (parts.mean() + 1e-9))


class Detector(BaseHTTPRequestHandler):
    """Answers a POST of float32 windows, little endian, with `{"scores": […]}`."""

    def do_POST(self) -> None:
        """Answer the scores of the windows that were posted."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        windows = np.frombuffer(content, "<f4").reshape(-1, int(self.headers["X-Samples"]))
        answer = json.dumps({"scores": [score(one) for one in windows]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing of anybody's voice goes to a log, not even when it came."""


def manifest(port: int) -> dict[str, object]:
    """What `KORDANT_VOICE_DETECTOR` names."""
    return {
        "id": "loudness",
        "kind": "detector",
        "version": "1",
        "licence": "MIT",
        "notice": "an example",
        "url": f"http://127.0.0.1:{port}/score",
        "window_samples": WINDOW,
        "hop_samples": WINDOW // 2,
    }


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Detector) as server:
        Path(sys.argv[2]).write_text(json.dumps(manifest(server.server_port), indent=2), encoding="utf-8")
        server.serve_forever()
