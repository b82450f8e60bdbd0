"""WAV from a pipe: the same samples as from a file, as they come, and the bytes back where it is something else."""

import io
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sonopsis.audio import AudioError, LiveAudio, iter_windows
from sonopsis.live import live_wav

RATE = 8_000
SAMPLES = 0.3 * np.random.default_rng(0).standard_normal((2 * RATE + 7, 2)).clip(-1, 1)


def recorded(subtype: str = "PCM_16", format: str = "WAV", samples: np.ndarray = SAMPLES) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=format, subtype=subtype)
    return stream.getvalue()


def opened(data: bytes) -> LiveAudio:
    audio, _ = live_wav(io.BytesIO(data), "-", "standard input")
    assert audio is not None
    return audio


def with_size(data: bytes, size: int) -> bytes:
    """A recording whose header says that it has `size` bytes of sound."""
    place = data.index(b"data") + 4
    return data[:place] + struct.pack("<I", size) + data[place + 4 :]


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_the_samples_are_those_of_the_file(format: str, subtype: str) -> None:
    data = recorded(subtype, format)
    audio = opened(data + b"LIST chunks that follow the sound are no sound")
    assert (audio.rate, audio.channels, audio.frames) == (RATE, 2, len(SAMPLES))
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_array_equal(np.concatenate(list(audio.read())), expected)
    assert audio.heard == pytest.approx(len(SAMPLES) / RATE)


@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFDB])
def test_a_size_that_nobody_knew_is_read_to_the_end(size: int) -> None:
    audio = opened(with_size(recorded(), size))
    assert audio.frames == 0
    assert sum(len(block) for block in audio.read()) == len(SAMPLES)


def test_nothing_is_decoded_where_ctrl_c_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes to the main thread, and would be lost in what libsndfile calls."""
    decode, threads = soundfile.read, set[threading.Thread]()

    def read(*arguments: Any, **options: Any) -> Any:
        threads.add(threading.current_thread())
        return decode(*arguments, **options)

    audio = opened(recorded())
    monkeypatch.setattr(soundfile, "read", read)
    assert sum(len(block) for block in audio.read()) == len(SAMPLES)
    assert threads and threading.main_thread() not in threads


def test_windows_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(data := recorded())
    for window, hop in ((0.5, None), (0.5, 0.25), (0.5, 0.75)):
        live = list(iter_windows(opened(data), window=window, hop=hop))
        file = list(iter_windows(tmp_path / "a.wav", window=window, hop=hop))
        assert [(w.start, w.end) for w in live] == [(w.start, w.end) for w in file]
        for ours, theirs in zip(live, file, strict=True):
            np.testing.assert_allclose(ours.samples, theirs.samples, atol=1e-6)


class Endless(io.RawIOBase):
    """A microphone that is never switched off, which knows how much was taken from it."""

    def __init__(self) -> None:
        self.head = io.BytesIO(with_size(recorded(samples=np.zeros((1, 1))), 0xFFFF_FFFF)[:-2])
        self.taken = 0

    def read(self, count: int = -1) -> bytes:
        assert count >= 0, "it has no end"
        data = self.head.read(count)
        self.taken += count
        return data + b"\1\2" * ((count - len(data)) // 2)


def test_a_window_is_there_when_its_sound_is(caplog: pytest.LogCaptureFixture) -> None:
    stream = Endless()
    audio, _ = live_wav(stream, "-", "standard input")
    assert audio is not None
    windows: Iterator[object] = iter_windows(audio, window=1.0)
    for n in range(1, 4):
        next(windows)
        assert stream.taken <= (n + 1.0) * RATE * 2  # bytes of sixteen bits


def test_a_window_is_there_when_its_sound_is_though_the_next_begins_much_later() -> None:
    stream = Endless()
    audio, _ = live_wav(stream, "-", "standard input")
    assert audio is not None
    windows = iter_windows(audio, window=1.0, hop=30.0, beyond=800)
    for n in range(3):
        found = next(windows)
        assert (found.start, found.end) == (30.0 * n, 30.0 * n + 1)
        assert stream.taken <= (30.0 * n + 2.0) * RATE * 2  # bytes of sixteen bits


def test_what_lies_between_two_windows_is_not_held() -> None:
    audio, _ = live_wav(Endless(), "-", "standard input")
    assert audio is not None
    windows = iter_windows(audio, window=1.0, hop=200.0)
    next(windows)
    tracemalloc.start()
    try:
        next(windows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2e6  # 200 s are 12.8 MB


def test_a_last_window_behind_a_gap_has_at_least_a_tenth_of_a_second() -> None:
    for frames, ends in ((799, [1.0]), (800, [1.0, 3.1]), (8_000, [1.0, 4.0]), (12_000, [1.0, 4.0])):
        samples = np.concatenate([SAMPLES[:8_000], SAMPLES[:16_000], SAMPLES[:frames]])  # the second begins after 3 s
        found = iter_windows(opened(recorded(samples=samples)), window=1.0, hop=3.0)
        assert [window.end for window in found] == ends


@pytest.mark.parametrize("data", [b"", b"RI", b"no recording at all", b"RIFF\0\0\0\0WAVE", recorded()[:30]])
def test_what_is_no_wav_comes_back(data: bytes) -> None:
    stream = io.BytesIO(data)
    audio, seen = live_wav(stream, "-", "standard input")
    assert audio is None
    assert seen + stream.read() == data


@pytest.mark.parametrize(("format", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("WAV", "IMA_ADPCM")])
def test_other_recordings_come_back(format: str, subtype: str) -> None:
    data = recorded(subtype, format)
    stream = io.BytesIO(data)
    audio, seen = live_wav(stream, "-", "standard input")
    assert audio is None
    assert seen + stream.read() == data


def test_a_header_without_sound_is_called_so() -> None:
    with pytest.raises(AudioError, match="standard input: holds no audio"):
        list(iter_windows(opened(recorded(samples=np.zeros((0, 1)))), window=1.0))
