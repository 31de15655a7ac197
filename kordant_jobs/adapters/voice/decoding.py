"""Sound files to 16 kHz mono samples, decoded by FFmpeg in a child process with limits that is replaced by none.

A helper process without secrets imports the decoder once and forks for each clip; what a clip does to its child (a
crash, an endless loop, memory without end) ends that child only. Bytes travel in files without names: in
memory on Linux, elsewhere in the system's folder for temporary ones.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from kordant_jobs.domain.voice.models import RATE
from kordant_jobs.domain.voice.verdicts import Reason
from kordant_jobs.errors import SetupError

SECONDS_MAX = 3600
"""Seconds that are decoded of a long file: the first hour, 115 MB of samples."""
CPU_S, WALL_S, MEMORY_MB = 60, 120, 1024
"""Limits of decoding one clip. An hour of MP3 takes about 4 s of CPU and 60 MB."""
RATE_MAX, CHANNELS_MAX = 768_000, 64
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,caf,flac,g722,gsm,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,ogg,"
    "w64,wav,avi,flv"
)
"""Containers that may be opened. Playlists are left out: they name other files and addresses."""
RAW_FORMATS = {"g722": "g722", "gsm": "gsm"}
"""Formats that only the ending tells, since their bytes carry no mark."""
ENDINGS = frozenset(
    {"aac", "aif", "aiff", "amr", "avi", "caf", "flac", "g722", "gsm", "m4a", "mkv", "mov", "mp3", "mp4", "oga", "ogg",
     "opus", "wav", "weba", "webm", "wma", "3gp"}
)  # fmt: skip
"""Endings of a dropped clip's name that are kept; any other ending is not."""
Samples = NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The sound of a clip: at most an hour. `is_whole` is False when the file broke off or is longer."""

    samples: Samples = field(repr=False)
    seconds: float
    is_whole: bool


class Undecodable(Exception):
    """A clip that gives no sound, and why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Decoder:
    """Decodes clips, one at a time. A context manager: its helper process ends with it."""

    def __init__(self) -> None:
        self._helper: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decode(self, content: Iterable[bytes], ending: str = "") -> Decoded:
        """The sound of a file given in pieces. `ending`: that of its name, for formats without a mark.

        Raises:
            Undecodable: it holds no sound that can be read within the limits.
            SetupError: the helper process does not start.
        """
        with _memory_file() as given, _memory_file() as made:
            for piece in content:
                given.write(piece)
            given.flush()
            answer = self._ask(given, made, RAW_FORMATS.get(ending.lower()))
            if reason := answer.get("reason"):
                raise Undecodable(Reason(reason))
            size = os.fstat(made.fileno()).st_size // 2 * 2
            if not size:
                raise Undecodable(Reason.NO_SOUND_STREAM)
            mapped = mmap.mmap(made.fileno(), size, access=mmap.ACCESS_READ)  # lives as long as the array
        samples = np.frombuffer(mapped, np.int16, size // 2)
        return Decoded(samples=samples, seconds=answer["seconds"], is_whole=answer["is_whole"])

    def _ask(self, given: BinaryIO, made: BinaryIO, hint: str | None) -> dict[str, Any]:
        ours = self._socket or self._start()
        try:
            socket.send_fds(ours, [json.dumps({"format": hint}).encode()], [given.fileno(), made.fileno()])
            ours.settimeout(WALL_S + 10)
            answer = ours.recv(4096)
        except OSError:
            answer = b""
        if not answer:
            self.close()
            return {"reason": Reason.DECODER_CRASHED.value}
        found: dict[str, Any] = json.loads(answer)
        return found

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[3]), "OPENBLAS_NUM_THREADS": "1"},
            )
        self._socket = ours
        if ours.recv(16) != b"ready":
            self.close()
            raise SetupError("the decoder of sound does not start: `kordant-jobs models pull` installs what it needs.")
        return ours

    def close(self) -> None:
        """End the helper process. The next clip starts another."""
        if self._socket is not None:
            self._socket.close()
        if self._helper is not None:
            self._helper.kill()
            self._helper.wait()
        self._socket = self._helper = None


def _memory_file() -> BinaryIO:
    """A file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("clip"), "w+b")
    return tempfile.TemporaryFile()


def _serve(place: int) -> None:
    """The helper process: a fork a clip, until the other end closes."""
    import av

    av.logging.set_level(None)
    with socket.socket(fileno=place) as ours:
        ours.send(b"ready")
        while True:
            asked, files, _, _ = socket.recv_fds(ours, 4096, 2)
            if not asked:
                return
            child = os.fork()
            if child == 0:
                os._exit(_decode_one(ours, files, json.loads(asked)["format"]))
            for one in files:
                os.close(one)
            _, status = os.waitpid(child, 0)
            if os.waitstatus_to_exitcode(status) != 0:
                timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGALRM, signal.SIGXCPU}
                reason = Reason.DECODER_TIMED_OUT if timed_out else Reason.DECODER_CRASHED
                ours.send(json.dumps({"reason": reason.value}).encode())


def _decode_one(ours: socket.socket, files: list[int], hint: str | None) -> int:
    """In the child: decode, answer, and say whether the answer is there (0)."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20, MEMORY_MB << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WALL_S)
    try:
        with os.fdopen(files[0], "rb") as given, os.fdopen(files[1], "wb") as made:
            given.seek(0)
            answer = _decoded(given, made, hint)
        ours.send(json.dumps(answer).encode())
    except MemoryError:
        ours.send(json.dumps({"reason": Reason.TOO_LARGE.value}).encode())
    except BaseException:  # noqa: BLE001 - the helper reports it, and the message may quote the file
        return 1
    return 0


def _decoded(given: BinaryIO, made: BinaryIO, hint: str | None) -> dict[str, Any]:
    """Write the samples of the first sound stream. What breaks off in the middle keeps what came before."""
    import av

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "none", "max_streams": "64"}
    written, left, whole = 0, SECONDS_MAX * RATE, True
    try:
        container = av.open(given, "r", format=hint, options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError, OSError):
        return {"reason": Reason.NOT_SOUND.value}
    with container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            return {"reason": Reason.NO_SOUND_STREAM.value}
        context = stream.codec_context
        if (context.sample_rate or 0) > RATE_MAX or (context.channels or 0) > CHANNELS_MAX:
            return {"reason": Reason.TOO_LARGE.value}
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        try:
            for frame in container.decode(stream):
                for one in resampler.resample(frame):
                    sound = one.to_ndarray().tobytes()[: 2 * (left - written)]
                    made.write(sound)
                    written += len(sound) // 2
                if written >= left:
                    whole = False
                    break
        except (av.error.FFmpegError, ValueError):
            whole = False
        if whole:
            with suppress(av.error.FFmpegError, ValueError):
                for one in resampler.resample(None):
                    sound = one.to_ndarray().tobytes()
                    made.write(sound)
                    written += len(sound) // 2
    return {"seconds": written / RATE, "is_whole": whole}


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
