"""Files that hold several recordings are read to their end."""

import io
import logging
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE, joined, load_audio, probe
from sonopsis.audio.joined import pieces

KINDS = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("WAV", "PCM_16"), ("MP3", "MPEG_LAYER_III")]


def tone(seconds: float, rate: int, hertz: float = 440.0) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def coded(format: str, subtype: str, rate: int, seconds: float = 2.0, hertz: float = 440.0) -> bytes:
    file = io.BytesIO()
    more = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} if format == "MP3" else {}
    soundfile.write(file, tone(seconds, rate, hertz), rate, format=format, subtype=subtype, **more)
    return file.getvalue()


def id3(words: bytes) -> bytes:
    """An ID3v2.4 tag."""
    return b"ID3\x04\0\0\0\0\0" + bytes([len(words)]) + words


@pytest.mark.parametrize(("format", "subtype"), KINDS)
def test_every_recording_of_a_joined_file_is_heard_at_its_own_rate(format: str, subtype: str) -> None:
    parts = [coded(format, subtype, 16_000), coded(format, subtype, 48_000, 1.0, 880.0), coded(format, subtype, 24_000)]
    whole = io.BytesIO(b"".join(parts))
    alone = [load_audio(io.BytesIO(part)) for part in parts]
    np.testing.assert_array_equal(load_audio(whole), np.concatenate(alone))
    assert probe(whole).duration == pytest.approx(sum(map(len, alone)) / SAMPLE_RATE, abs=1e-3)
    assert [piece.start for piece in pieces(whole)] == [0, len(parts[0]), len(parts[0] + parts[1])]


@pytest.mark.parametrize(("format", "subtype"), KINDS)
def test_one_recording_is_one_piece(format: str, subtype: str) -> None:
    content = coded(format, subtype, 24_000)
    (piece,) = pieces(io.BytesIO(content))
    assert (piece.start, piece.end, piece.head) == (0, len(content), b"")


@pytest.mark.parametrize(
    "join",
    [
        lambda a, b: id3(b"Info and Xing are words too") + a + id3(b"ID3") + b,
        lambda a, b: a + b"TAG" + bytes(125) + b,
        lambda a, b: a + without_count(b),
    ],
    ids=["with tags before", "with a tag between", "without a count of its own"],
)
def test_joined_mp3(join: Callable[[bytes, bytes], bytes]) -> None:
    """Two seconds each, the second an octave higher."""
    first, second = coded("MP3", "MPEG_LAYER_III", 44_100), coded("MP3", "MPEG_LAYER_III", 44_100, 2.0, 880.0)
    heard = load_audio(io.BytesIO(join(first, second)))
    assert len(heard) / SAMPLE_RATE == pytest.approx(4.0, abs=0.12)
    for part, hertz in ((heard[8_000:24_000], 440), (heard[40_000:56_000], 880)):
        assert np.abs(np.fft.rfft(part)).argmax() == hertz


def without_count(mp3: bytes) -> bytes:
    """An MP3 file without its first frame, which says how long it is."""
    second = mp3.index(mp3[:2], 4)
    return mp3[second:]


@pytest.mark.parametrize(("format", "subtype"), KINDS)
def test_only_so_many_recordings_are_looked_for(
    format: str, subtype: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(joined, "MOST", 3)
    part = coded(format, subtype, 16_000)
    assert [len(pieces(io.BytesIO(part * count))) for count in (2, 3, 4, 9)] == [2, 3, 3, 3]
    load_audio(io.BytesIO(part * 3))
    assert "only 3 are heard" not in caplog.text
    load_audio(io.BytesIO(part * 4))
    assert "only 3 are heard" in caplog.text


def test_a_damaged_later_recording_is_said(caplog: pytest.LogCaptureFixture) -> None:
    first = coded("OGG", "VORBIS", 16_000)
    broken = coded("OGG", "VORBIS", 16_000)[:60]
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        assert len(load_audio(io.BytesIO(first + broken))) == 32_000
    assert f"what follows byte {len(first)} cannot be read" in caplog.text
