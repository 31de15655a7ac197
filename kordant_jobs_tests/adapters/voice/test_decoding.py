"""Whatever a file holds, its decoding ends with sound or with a clear reason, and the next file is decoded."""

from __future__ import annotations

import io
import os
import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from kordant_jobs.adapters.voice.decoding import SECONDS_MAX, Decoder, Undecodable
from kordant_jobs.domain.voice.models import RATE
from kordant_jobs.domain.voice.verdicts import Reason
from kordant_jobs_tests.voices import spoken, spoken_wav

ODD = Path(os.environ.get("KORDANT_VOICE_SAMPLES", "/nonexistent"))
WAV = spoken_wav(0, 1)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as one:
        yield one


def encoded(container: str, codec: str, *, rate: int = RATE, layout: str = "mono", bits: str = "s16") -> bytes:
    """The spoken clip in another form."""
    file = io.BytesIO()
    with av.open(io.BytesIO(WAV), "r") as given, av.open(file, "w", format=container) as made:
        stream = made.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        resampler = av.AudioResampler(format=stream.codec_context.format or bits, layout=layout, rate=rate)
        fifo = av.AudioFifo()
        for frame in given.decode(audio=0):
            for one in resampler.resample(frame):
                one.pts = None
                fifo.write(one)
        size = stream.codec_context.frame_size or 1024
        while part := fifo.read(size, partial=True):
            made.mux(stream.encode(part))
        made.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "rate", "layout", "ending"),
    [
        ("flac", "flac", 16_000, "mono", "flac"),
        ("mp3", "mp3", 44_100, "stereo", "mp3"),
        ("ipod", "aac", 48_000, "stereo", "m4a"),
        ("ogg", "libopus", 48_000, "mono", "opus"),
        ("g722", "g722", 16_000, "mono", "g722"),
        ("matroska", "flac", 48_000, "7.1", "mkv"),
        ("wav", "pcm_s16le", 192_000, "mono", "wav"),
        ("wav", "pcm_mulaw", 8_000, "mono", "wav"),
    ],
)
def test_usual_forms_become_16_khz_mono(
    decoder: Decoder, container: str, codec: str, rate: int, layout: str, ending: str
) -> None:
    found = decoder.decode([encoded(container, codec, rate=rate, layout=layout)], ending)
    assert found.is_whole
    assert found.seconds == pytest.approx(4.1, abs=0.2)
    [samples] = found.channels  # copies of one another are one
    assert samples.dtype == np.int16
    assert int(np.abs(samples.astype(np.int32)).max()) > 3_000


def huge_header() -> bytes:
    """A WAV whose header says 4 GB of 64 channels at 384 kHz."""
    head = struct.pack("<HHIIHH", 1, 64, 384_000, 384_000 * 128, 128, 16)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + head + b"data\xff\xff\xff\xff" + bytes(256)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.NOT_SOUND),
        (b"\xff\xfb\x90", Reason.NOT_SOUND),
        (b"Dear Grandma, this is a letter.\n" * 50, Reason.NOT_SOUND),
        (WAV[:44], Reason.NO_SOUND_STREAM),
        (huge_header(), Reason.NO_SOUND_STREAM),
    ],
)
def test_what_holds_no_sound_has_a_reason(decoder: Decoder, content: bytes, reason: Reason) -> None:
    with pytest.raises(Undecodable) as caught:
        decoder.decode([content])
    assert caught.value.reason is reason


def test_a_list_of_files_is_not_followed(decoder: Decoder, tmp_path: Path) -> None:
    secret = tmp_path / "secret.aac"
    secret.write_bytes(encoded("adts", "aac"))
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:4.1,\n"
    for listed in (f"{head}{secret}\n#EXT-X-ENDLIST\n", f"ffconcat version 1.0\nfile {secret.name}\n"):
        with pytest.raises(Undecodable) as caught:
            decoder.decode([listed.encode()])
        assert caught.value.reason is Reason.NOT_SOUND


def test_a_file_that_broke_off_gives_what_came_before(decoder: Decoder) -> None:
    files = {
        "flac": encoded("flac", "flac"),
        "mp3": encoded("mp3", "mp3", rate=44_100, layout="stereo"),
        "ogg": encoded("ogg", "libopus", rate=48_000),
        "wav": WAV,
        "aiff": encoded("aiff", "pcm_s16be"),
    }
    for name, whole in files.items():
        assert decoder.decode([whole], name).is_whole, name
        found = decoder.decode([whole[: len(whole) // 2]], name)
        assert 1.0 < found.seconds < 3.5, name
        assert not found.is_whole, name


def test_a_header_without_a_length_promises_none(decoder: Decoder) -> None:
    piped = WAV[:4] + b"\xff" * 4 + WAV[8:40] + b"\xff" * 4 + WAV[44:]
    assert decoder.decode([piped]).is_whole


@pytest.mark.parametrize("name", ["mp3", "flac"])
def test_damage_in_the_middle_costs_that_part_and_is_reported(decoder: Decoder, name: str) -> None:
    whole = encoded(name, name, rate=16_000)
    third = len(whole) // 3
    noise = np.random.default_rng(1).bytes(third)
    found = decoder.decode([whole[:third] + noise + whole[2 * third :]], name)
    assert not found.is_whole
    assert found.seconds > 2.3  # both ends


def wav_of(*channels: NDArray[np.int16]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(len(channels))
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes(np.stack(channels, axis=1).astype("<i2").tobytes())
    return file.getvalue()


def test_channels_that_differ_are_kept_apart(decoder: Decoder) -> None:
    one, two = spoken(0, 1, 3.0), spoken(1, 2, 3.0)
    size = min(len(one), len(two))
    one, two = one[:size] // 2, two[:size] // 2
    silence = np.zeros(size, np.int16)

    def kept(*channels: NDArray[np.int16]) -> list[int]:
        """Which of one and two the channels that are kept are like."""
        found = decoder.decode([wav_of(*channels)]).channels
        return [int(np.argmax([abs(np.corrcoef(each, it)[0, 1]) for it in (one, two)])) for each in found]

    assert kept(one, two) == [0, 1]
    assert kept(one, one // 2) == [0]
    assert kept(one, -one) == [0]  # their mean would be silence
    assert kept(silence, one) == [0]
    assert kept(silence, silence, silence, two, silence, silence) == [1]
    assert kept(*[one, two] * 5) == [0]  # of ten channels the mix
    assert len(decoder.decode([wav_of(silence, silence)]).channels) == 1
    [centred] = decoder.decode([wav_of(one + np.int16(9_000))]).channels
    assert abs(float(centred.mean())) < 1


def test_of_three_hours_the_first_is_decoded(decoder: Decoder) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as made:
        stream = made.add_stream("flac", rate=8_000)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4_608), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8_000
        for _ in range(3 * 3_600 * 8_000 // 4_608):
            silence.pts = None
            made.mux(stream.encode(silence))
        made.mux(stream.encode(None))
    assert len(file.getvalue()) < 3 << 20  # a bomb: 170 MB of samples in two
    found = decoder.decode([file.getvalue()])
    assert (found.is_whole, found.seconds) == (False, SECONDS_MAX)


def test_a_decoder_that_was_killed_is_replaced() -> None:
    with Decoder() as decoder:
        assert decoder.decode([WAV]).seconds > 4
        assert decoder._helper is not None
        decoder._helper.kill()
        decoder._helper.wait()
        with pytest.raises(Undecodable) as caught:
            decoder.decode([WAV])
        assert caught.value.reason is Reason.DECODER_CRASHED
        assert decoder.decode([WAV]).seconds > 4


@pytest.mark.skipif(not ODD.is_dir(), reason="KORDANT_VOICE_SAMPLES names no folder with odd files")
def test_odd_files_each_end_with_sound_or_a_reason(decoder: Decoder) -> None:
    said = {}
    for path in sorted((ODD / "odd-files").iterdir()):
        try:
            found = decoder.decode([path.read_bytes()], path.suffix[1:])
            said[path.name] = f"{found.seconds:.2f}"
        except Undecodable as error:
            said[path.name] = error.reason.value
    assert said["music-metadata--asf--CWE-835.wma"] == said["music-metadata--aiff--CWE-835-01.aiff"] == "not_sound"
    assert said["tinytag--there_is_no_such_ext.bogus"] == "not_sound"
    assert said["music-metadata--wav--odd-list-type.wav"] == "no_sound_stream"
    assert float(said["music-metadata--wav--mpeglayer3.wav"]) == pytest.approx(0.13, abs=0.01)
    assert len(said) > 15
