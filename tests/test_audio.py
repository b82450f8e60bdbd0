"""Reading recordings: every container, rate and shape; windows over long files; bad input refused in one line."""

import io
import logging
import os
import threading
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE, AudioError, is_silent, iter_windows, load_audio, probe


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 440.0) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def refusal(source: Any, **arguments: Any) -> str:
    """The one line with which `load_audio` refuses a source; `iter_windows` must use the same, `probe` may accept."""
    with pytest.raises(AudioError) as caught:
        load_audio(source, **arguments)
    with pytest.raises(AudioError) as windows:
        list(iter_windows(source, window=1.0, **arguments))
    message = str(caught.value)
    assert message == str(windows.value)
    assert len(message.splitlines()) == 1
    return message


# ---- what is read


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_containers(tmp_path: Path, suffix: str, rate: int) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(0.7, rate), rate)
    samples, info = load_audio(path), probe(path)
    decoded, _ = soundfile.read(path)
    assert samples.dtype == np.float32
    assert samples.shape == (round(len(decoded) * SAMPLE_RATE / rate),)
    assert (info.sample_rate, info.channels, info.format) == (rate, 1, suffix.upper())
    assert info.duration == len(decoded) / rate
    lossless = suffix in ("wav", "flac")
    middle = slice(2_000, 9_000)  # away from the edges, which resampling and coding smear
    np.testing.assert_allclose(samples[middle], tone(0.7)[middle], atol=1e-3 if lossless else 0.1)


@pytest.mark.parametrize("rate", [1_000, 11_025, 22_050, 32_000, 48_000, 96_000, 384_000])
@pytest.mark.parametrize("frames", [20_001, 31_999])
def test_sample_counts_are_exact(rate: int, frames: int) -> None:
    assert len(load_audio(np.zeros(frames), sample_rate=rate)) == round(frames * SAMPLE_RATE / rate)


@given(st.integers(1, 3_000), st.sampled_from([8_000, 11_025, 32_000, 44_100, 48_000]))
@settings(max_examples=40, deadline=None)
def test_short_clips_have_exact_counts_too(frames: int, rate: int) -> None:
    expected = round(frames * SAMPLE_RATE / rate)
    if expected:
        assert len(load_audio(np.ones(frames), sample_rate=rate)) == expected
    else:
        assert "too short" in refusal(np.ones(frames), sample_rate=rate)


def test_resampling_is_that_of_soxr_over_the_whole_signal() -> None:
    samples = np.random.default_rng(0).standard_normal(200_001).astype(np.float32) * 0.1
    expected = soxr.resample(samples, 44_100, SAMPLE_RATE, quality="HQ")
    np.testing.assert_allclose(load_audio(samples, sample_rate=44_100), expected, atol=1e-5)


def test_eight_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).uniform(-0.5, 0.5, (4_000, 8)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", channels, SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), channels.mean(1), atol=1e-6)
    assert probe(tmp_path / "a.wav").channels == 8


@pytest.mark.parametrize("name", ["walk_to_the_lock.flac", "water_filling_a_lock.ogg", "arrow.wav"])
def test_the_first_seconds_are_those_of_the_whole(name: str) -> None:
    path = Path(__file__).parent.parent / "examples" / name
    whole = load_audio(path)
    for seconds in (0.0, 0.3, 1.0, 1e4):
        expected = whole[: max(1, round(seconds * SAMPLE_RATE))]
        np.testing.assert_array_equal(load_audio(path, seconds=seconds), expected)


def test_nothing_behind_the_first_seconds_is_decoded() -> None:
    """Of ten minutes, a file object gives out less than a tenth for one second."""

    class Counted(io.BytesIO):
        given = 0

        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer)
            self.given += count
            return count

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            self.given += len(found)
            return found

    file = Counted()
    noise = np.random.RandomState(0).uniform(-0.5, 0.5, 600 * SAMPLE_RATE)
    soundfile.write(file, noise, SAMPLE_RATE, format="WAV")
    file.seek(0)
    assert len(load_audio(file, seconds=1.0)) == SAMPLE_RATE
    assert 2 * SAMPLE_RATE < file.given < len(file.getvalue()) / 10


def test_file_objects_are_read_from_their_beginning_and_stay_open(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.5), SAMPLE_RATE)
    expected = load_audio(path)
    memory = io.BytesIO(path.read_bytes())
    assert probe(memory).duration == 0.5
    np.testing.assert_array_equal(load_audio(memory), expected)
    np.testing.assert_array_equal(load_audio(memory), expected)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), expected)
        assert not file.closed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipes(tmp_path: Path) -> None:
    path, fifo = tmp_path / "a.flac", tmp_path / "pipe"
    soundfile.write(path, tone(0.5), SAMPLE_RATE)
    read, write = os.pipe()
    os.write(write, path.read_bytes())
    os.close(write)
    with os.fdopen(read, "rb") as stream:  # what sys.stdin.buffer is in a pipeline
        assert not stream.seekable()
        np.testing.assert_array_equal(load_audio(stream), load_audio(path))
    os.mkfifo(fifo)
    feeder = threading.Thread(target=fifo.write_bytes, args=(path.read_bytes(),))
    feeder.start()
    np.testing.assert_array_equal(load_audio(fifo), load_audio(path))
    feeder.join()


def test_file_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    try:
        Path(path).touch()
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    soundfile.write(os.fsencode(path), tone(0.1), SAMPLE_RATE, format="WAV")
    assert len(load_audio(path)) == 1_600
    Path(path).write_bytes(b"")
    assert "caf\\udce9.wav" in refusal(path)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.int16, -32_768, 32_767), (np.int32, -(2**31), 2**31 - 1), (np.int8, -128, 127), (np.uint8, 0, 255)],
)
def test_integers_are_scaled_by_their_range(dtype: type, low: int, high: int) -> None:
    found = load_audio(np.array([low, high], dtype))
    np.testing.assert_allclose(found, [-1.0, 1.0], atol=1 / 120)
    assert found[0] == -1.0


def test_int16_equals_the_file_with_the_same_samples(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_767, 1_000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE)
    np.testing.assert_array_equal(load_audio(samples), load_audio(tmp_path / "a.wav"))


def test_array_orientations() -> None:
    stereo = np.stack([tone(0.1), -0.5 * tone(0.1)])
    expected = stereo.mean(0)
    np.testing.assert_allclose(load_audio(stereo), expected, atol=1e-6)
    np.testing.assert_allclose(load_audio(stereo.T), expected, atol=1e-6)
    np.testing.assert_allclose(load_audio(stereo[:1].astype(np.float64)), stereo[0], atol=1e-6)
    assert probe(stereo, sample_rate=8_000).duration == 0.2


def test_loading_does_not_alias_the_array() -> None:
    samples = tone(0.1)
    load_audio(samples)[:] = 0
    assert samples.any()


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    samples = torch.from_numpy(tone(0.1))
    np.testing.assert_array_equal(load_audio(samples.requires_grad_()), tone(0.1))
    np.testing.assert_allclose(load_audio(samples.to(torch.bfloat16)), tone(0.1), atol=3e-3)
    np.testing.assert_array_equal(
        load_audio((samples * 32_768).short()[None]), (tone(0.1) * 32_768).astype("i2") / 2**15
    )


# ---- windows


def test_windows_are_the_whole_file_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal((44_100 * 7 + 17, 2)), 44_100)
    whole, windows = load_audio(path), list(iter_windows(path, window=2.0))
    assert [(w.start, w.end) for w in windows[:-1]] == [(0, 2), (2, 4), (4, 6)]
    assert windows[-1].end == len(whole) / SAMPLE_RATE
    np.testing.assert_allclose(np.concatenate([w.samples for w in windows]), whole, atol=1e-4)
    resampled = soxr.resample(soundfile.read(path, dtype="float32")[0].mean(1), 44_100, SAMPLE_RATE, quality="HQ")
    np.testing.assert_allclose(whole, resampled, atol=1e-4)


@given(
    total=st.integers(1, 80_000),
    window=st.integers(1_600, 40_000),
    hop=st.integers(100, 60_000),
    beyond=st.sampled_from([0, 240, 1_600]),
)
@settings(max_examples=150, deadline=None)
def test_window_geometry(total: int, window: int, hop: int, beyond: int) -> None:
    samples = np.arange(total, dtype=np.float32) / total * (-1) ** np.arange(total)  # no offset, no two alike
    windows = list(iter_windows(samples, window=window / SAMPLE_RATE, hop=hop / SAMPLE_RATE, beyond=beyond))
    for position, found in enumerate(windows):
        first, last = position * hop, round(found.end * SAMPLE_RATE)
        assert (found.start, found.end) == (first / SAMPLE_RATE, last / SAMPLE_RATE)
        np.testing.assert_array_equal(found.samples, samples[first : last + beyond])
        assert last - first == window or found is windows[-1]
    assert (windows[-1].end - windows[-1].start) * SAMPLE_RATE < window + 1_600
    if hop <= window:
        assert windows[-1].end == total / SAMPLE_RATE
    if len(windows) > 1:  # the last brings at least 0.1 s of new sound
        heard_before = (len(windows) - 2) * hop + window
        assert windows[-1].end * SAMPLE_RATE - max(heard_before, windows[-1].start * SAMPLE_RATE) > 1_599


def test_a_short_rest_joins_the_window_before() -> None:
    assert [w.end for w in iter_windows(np.zeros(32_000 + 1_599), window=1.0)] == [1.0, 33_599 / SAMPLE_RATE]
    assert [w.end for w in iter_windows(np.zeros(32_000 + 1_600), window=1.0)] == [1.0, 2.0, 2.1]


@pytest.mark.parametrize("beyond", [-1, 1_601])
def test_more_than_a_tenth_of_a_second_behind_a_window_is_refused(beyond: int) -> None:
    with pytest.raises(ValueError, match="beyond must be from 0 to 1600 samples"):
        iter_windows(tone(1), window=1.0, beyond=beyond)


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8_000, 0, "NONE", ""))
            for _ in range(minutes):
                file.writeframes((tone(60, 8_000) * 32_767).astype("<i2").tobytes())
        tracemalloc.start()
        windows = sum(1 for _ in iter_windows(path, window=10.0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert windows == 6 * minutes
    assert peaks[1] < 2 * peaks[0]  # a thread decodes ahead, more or less of it by chance
    assert peaks[1] < 10 * 160_000 * 4  # the ten minutes alone would be 38 MB


@pytest.mark.parametrize("window", [0, -1, 0.01, float("nan"), float("inf")])
def test_bad_windows_are_refused_at_once(window: float) -> None:
    with pytest.raises(ValueError, match="window must be"):
        iter_windows(tone(1), window=window)


@pytest.mark.parametrize("hop", [0, -1, 1e308, float("nan"), float("inf")])
def test_bad_hops_are_refused_at_once(hop: float) -> None:
    with pytest.raises(ValueError, match="hop must be"):
        iter_windows(tone(1), window=1.0, hop=hop)


# ---- what is refused, or used as far as it goes


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.wav") == f"{tmp_path}/missing.wav: no such file; check the path"
    assert "is a directory; give the recordings in it" in refusal(tmp_path)
    assert refusal("a\0b.wav").startswith("a\\x00b.wav: no such file")
    assert "two\\nlines.wav: no such file" in refusal(tmp_path / "two\nlines.wav")
    with pytest.raises(AudioError, match="no such file"):
        probe(tmp_path / "missing.wav")


@pytest.mark.parametrize(
    "content", [b"not audio at all " * 50, bytes(5_000), b"\x89PNG\r\n\x1a\n" + bytes(99), b"RIFF"]
)
@pytest.mark.parametrize("suffix", ["wav", "flac", "raw"])
def test_bytes_that_are_not_audio(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    assert f"a.{suffix}: not a recording" in refusal(path)
    assert "ffmpeg" in refusal(path)
    assert "<stream>: not a recording" in refusal(io.BytesIO(content))


def test_empty_files(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert "a.wav: the file is empty" in refusal(tmp_path / "a.wav")
    assert "the file is empty" in refusal(io.BytesIO())
    soundfile.write(tmp_path / "b.wav", np.zeros(0), SAMPLE_RATE)
    assert "b.wav: holds no audio" in refusal(tmp_path / "b.wav")
    with pytest.raises(AudioError, match=r"b\.wav: holds no audio"):
        probe(tmp_path / "b.wav")
    assert "holds no audio" in refusal(np.zeros(0))
    assert "holds no audio" in refusal(np.zeros((0, 100)))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_files(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(8.0, 22_050) + 0.1 * np.random.default_rng(0).standard_normal(176_400), 22_050)
    whole, content = load_audio(path), path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    try:
        samples = load_audio(path)
    except AudioError as error:
        assert len(str(error).splitlines()) == 1
        assert share < 0.5 and suffix != "wav"
        return
    assert 0 < len(samples) < len(whole)
    if suffix == "wav":
        assert len(samples) == pytest.approx(share * len(whole), rel=0.01)
    assert probe(path).duration == pytest.approx(len(samples) / SAMPLE_RATE, abs=1e-4)
    certain = slice(0, max(0, len(samples) - 2_000))
    np.testing.assert_allclose(samples[certain], whole[certain], atol=1e-3)


@pytest.mark.parametrize("name", ["car_passing.mp3", "footsteps_on_ice.mp3"])
def test_a_whole_mp3_is_read_and_measured_in_silence(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """libmpg123 writes to standard error when it is sent to a frame whose beginning lies in frames it skipped."""
    path = Path(__file__).parent.parent / "examples" / name
    assert probe(path).duration == pytest.approx(len(load_audio(path)) / SAMPLE_RATE, abs=1e-4)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_ends_early_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 400_000), SAMPLE_RATE)
    path.write_bytes(path.read_bytes()[:500_000])
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        load_audio(path)
    assert "a.flac: decodes for" in caplog.text


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers(tmp_path: Path, bad: float) -> None:
    samples = tone(20)
    samples[16_000 * 18] = bad
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    warned = load_audio(tmp_path / "a.wav")
    assert len(warned) == 320_000
    assert load_audio(samples)[288_000] == 0
    assert "repair it" in refusal(np.full(100, bad))


def test_integers_passed_as_floats_are_noticed() -> None:
    assert "divide by 32768" in refusal(tone(0.1) * 32_768)
    assert load_audio(tone(0.1) * 20).max() > 5  # merely loud


@pytest.mark.parametrize("rate", [1, 999, 0, -16_000])
def test_rates_too_low_to_hear(tmp_path: Path, rate: int) -> None:
    assert f"{rate} Hz is too low" in refusal(tone(0.1), sample_rate=rate)
    if rate > 0:
        soundfile.write(tmp_path / "a.wav", tone(0.1), rate)
        assert "a.wav: a sample rate of" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (np.zeros((2, 3, 4)), "shape"),
        (np.zeros(()), "shape"),
        (np.zeros(10, np.int64), "type int64"),
        (np.zeros(10, np.complex64), "type complex64"),
        (np.array(["a"]), "type <U1"),
        ([0.0, 0.1], "<list>: cannot be read"),
        (None, "<NoneType>: cannot be read"),
        (io.StringIO("text"), "open as text"),
    ],
)
def test_things_that_are_not_recordings(source: Any, reason: str) -> None:
    assert reason in refusal(source)


def test_one_sample_and_silence() -> None:
    np.testing.assert_array_equal(load_audio(np.array([0.5])), [0.5])
    (only,) = iter_windows(np.array([0.5]), window=1.0)
    assert (only.start, only.end) == (0.0, 1 / SAMPLE_RATE)
    assert not load_audio(np.zeros(500)).any()


@pytest.mark.parametrize(
    ("samples", "silent"),
    [
        (np.zeros(100), True),
        (np.zeros(0), True),
        (np.full(100, 0.7), True),
        (tone(0.1) * 4e-4, True),
        (tone(0.1) * 4e-3, False),
        (np.eye(1, 100)[0], False),
    ],
)
def test_silence(samples: NDArray[np.floating], silent: bool) -> None:
    assert is_silent(samples) is silent
