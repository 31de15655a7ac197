"""Decodes sound files to 16 kHz samples of each channel, by FFmpeg in a child process with limits.

A helper process without secrets imports the decoder once and forks for each clip. A clip that crashes the decoder,
never ends or takes too much memory ends only its child. Data is passed in files without names: in memory on Linux, on
other systems in the folder for temporary files."""

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
"""The most seconds that are decoded: the first hour, 115 MB of samples for each channel. With more than two channels
the total number of samples is that of two, so the time is shorter."""
CPU_S, WALL_S, MEMORY_MB = 60, 120, 1024
"""Limits for decoding one clip. An hour of MP3 takes about 4 s of CPU and 60 MB."""
RATE_MAX, CHANNELS_MAX = 768_000, 64
APART_MAX = 8
"""The most channels that are analysed separately; a file with more is mixed to one."""
ALIKE = 0.98
"""The correlation from which on a channel is a copy of another, perhaps softer or inverted. The two parties of a call
are near 0; the channels of a mono recording that is stored as stereo are above 0.99."""
OFFSET_MIN = 33
"""The mean of the samples from which on it is subtracted: a thousandth of full scale."""
MISSING_S = 0.15
"""Seconds by which a file may be shorter than its header says and still be whole: encoders round to frames."""
ANNOUNCING = frozenset({"flac", "mp3", "mov", "aiff", "caf", "w64"})
"""Formats whose header has the length of the sound; for others FFmpeg computes it from the data."""
OPEN_ENDED = range(0x7FFF_FF00, 0x1_0000_0000)
"""Sizes that a program writes into a WAV's header when it does not know its length yet."""
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,caf,flac,g722,gsm,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,ogg,"
    "w64,wav,avi,flv"
)
"""Container formats that may be opened. Playlists are left out, since they refer to other files and addresses."""
RAW_FORMATS = {"g722": "g722", "gsm": "gsm"}
"""Formats without a signature, which only the file's ending identifies."""
ENDINGS = frozenset(
    {"aac", "aif", "aiff", "amr", "avi", "caf", "flac", "g722", "gsm", "m4a", "mkv", "mov", "mp3", "mp4", "oga", "ogg",
     "opus", "wav", "weba", "webm", "wma", "3gp"}
)  # fmt: skip
"""The endings of a dropped clip's name that are stored; others may be a part of a name and are not stored."""
Samples = NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The sound of a clip, at most an hour. `channels` leaves out silent channels and copies of others, but has at
    least one. `is_whole` is False when the file is cut off, damaged or longer."""

    channels: tuple[Samples, ...] = field(repr=False)
    seconds: float
    is_whole: bool


class Undecodable(Exception):
    """A clip that cannot be decoded, with the reason."""

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
        """Decode a file, which is given in pieces. `ending`: that of its name, for formats without a signature.

        Raises:
            Undecodable: no sound can be read from it within the limits.
            SetupError: the helper process does not start.
        """
        with _memory_file() as given, _memory_file() as made:
            for piece in content:
                given.write(piece)
            given.flush()
            answer = self._ask(given, made, RAW_FORMATS.get(ending.lower()))
            if reason := answer.get("reason"):
                raise Undecodable(Reason(reason))
            count = answer["channels"]
            size = os.fstat(made.fileno()).st_size // (2 * count) * 2 * count
            if not size:
                raise Undecodable(Reason.NO_SOUND_STREAM)
            mapped = mmap.mmap(made.fileno(), size, access=mmap.ACCESS_READ)  # lives as long as the array
        channels = distinct(np.frombuffer(mapped, np.int16, size // 2).reshape(-1, count))
        return Decoded(channels=channels, seconds=answer["seconds"], is_whole=answer["is_whole"])

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
        """End the helper process. The next `decode` starts a new one."""
        if self._socket is not None:
            self._socket.close()
        if self._helper is not None:
            self._helper.kill()
            self._helper.wait()
        self._socket = self._helper = None


def distinct(sound: Samples) -> tuple[Samples, ...]:
    """The channels of sound [samples, channels] that are neither silent nor a copy of another; at least one."""
    count = sound.shape[1]
    if count == 1:
        return (_centred(sound[:, 0]),)
    sums, products = np.zeros(count), np.zeros((count, count))
    for begin in range(0, len(sound), 1 << 20):
        block = sound[begin : begin + (1 << 20)].astype(np.float64)
        sums += block.sum(axis=0)
        products += block.T @ block
    spread = products / len(sound) - np.outer(sums, sums) / len(sound) ** 2  # without what is constant
    loud = np.sqrt(np.maximum(spread.diagonal(), 0))
    kept: list[int] = []
    for one in np.argsort(-loud, kind="stable"):
        if loud[one] > 0 and all(abs(spread[one, other]) < ALIKE * loud[one] * loud[other] for other in kept):
            kept.append(int(one))
    return tuple(_centred(np.ascontiguousarray(sound[:, one])) for one in sorted(kept) or [0])


def _centred(samples: Samples) -> Samples:
    """The samples without their constant offset. With an offset of 0.6 the detector rates any speech as synthetic."""
    offset = round(float(samples.mean()))
    if abs(offset) < OFFSET_MIN:
        return samples
    return np.clip(samples.astype(np.int32) - offset, -32768, 32767).astype(np.int16)


def _memory_file() -> BinaryIO:
    """A file without a name, in memory if the system supports it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("clip"), "w+b")
    return tempfile.TemporaryFile()


def _serve(place: int) -> None:
    """Run the helper process: fork for each clip until the parent closes the socket."""
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
    """Decode a clip and send the answer; runs in the child process. Returns the exit code, 0 if an answer was sent."""
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
    """Write the samples of the first sound stream, channels interleaved. A damaged file is decoded as far as
    possible."""
    import av

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "none", "max_streams": "64"}
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
        announced = _announced_s(container, stream, given)
        sound = _Sound(made)
        whole = not _is_cut(given, container.format.name)
        is_open_ended = container.format.name == "wav" and _riff_size(given) in OPEN_ENDED
        try:
            for packet in container.demux(stream):
                whole &= is_open_ended or not packet.is_corrupt
                try:
                    frames = packet.decode()
                except (av.error.FFmpegError, ValueError):
                    whole = False  # the next packet may be sound again
                    continue
                for frame in frames:
                    sound.write(frame)
                if sound.is_full:
                    whole = False
                    break
        except (av.error.FFmpegError, ValueError):
            whole = False
        with suppress(av.error.FFmpegError, ValueError):
            sound.write(None)
    return {
        "seconds": sound.seconds,
        "channels": sound.channels,
        "is_whole": whole and sound.seconds >= announced - MISSING_S,
    }


class _Sound:
    """Writes frames as samples of 16 bits at 16 kHz, channels interleaved, up to a limit."""

    def __init__(self, made: BinaryIO) -> None:
        self._made = made
        self._resampler: Any = None
        self.channels, self._written, self._most = 1, 0, SECONDS_MAX * RATE

    @property
    def is_full(self) -> bool:
        """True when the limit is reached."""
        return self._written >= self._most

    @property
    def seconds(self) -> float:
        """The seconds of sound that were written."""
        return self._written / RATE

    def write(self, frame: Any) -> None:
        """Write a frame; None: write the rest that is in the resampler."""
        import av

        if self._resampler is None:
            if frame is None:
                return
            count = frame.layout.nb_channels
            self.channels = count if count <= APART_MAX else 1
            self._most = SECONDS_MAX * RATE * 2 // max(2, self.channels)
            layout = frame.layout if count <= APART_MAX else "mono"
            self._resampler = av.AudioResampler(format="s16", layout=layout, rate=RATE)
        for one in self._resampler.resample(frame):
            sound = one.to_ndarray().tobytes()[: 2 * self.channels * (self._most - self._written)]
            self._made.write(sound)
            self._written += len(sound) // (2 * self.channels)


def _announced_s(container: Any, stream: Any, given: BinaryIO) -> float:
    """The length in seconds that the file's header has; 0: it has none, or FFmpeg only estimates it."""
    name = container.format.name.partition(",")[0]
    if name not in ANNOUNCING or not stream.duration:
        return 0.0
    if name == "mp3" and not any(mark in _read_at(given, 0, 1 << 16) for mark in (b"Xing", b"Info", b"VBRI")):
        return 0.0
    return float(stream.duration * stream.time_base)


def _riff_size(given: BinaryIO) -> int:
    return int.from_bytes(_read_at(given, 4, 4), "little")


def _is_cut(given: BinaryIO, name: str) -> bool:
    """True when an Ogg file ends within a page; a page's header has its length (RFC 3533, section 6)."""
    if name != "ogg":
        return False
    size = os.fstat(given.fileno()).st_size
    end = _read_at(given, max(0, size - (1 << 17)), 1 << 17)
    page = end[end.rfind(b"OggS") :]
    return len(page) < 27 or len(page) < 27 + page[26] or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _read_at(given: BinaryIO, place: int, size: int) -> bytes:
    """Bytes of the file, read without moving the decoder's position."""
    return os.pread(given.fileno(), size, place)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
