"""Recordings with many channels: those of real recorders are read, and memory is that of what a file holds."""

import io
import tracemalloc

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from sonopsis.audio import AudioError, LiveAudio, iter_windows, load_audio, probe
from sonopsis.audio.mono import BLOCK
from sonopsis.audio.parts import MOST_CHANNELS, open_parts


def noise(frames: int, channels: int) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).standard_normal((frames, channels))).astype(np.float32)


def wav(samples: NDArray[np.float32]) -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype="FLOAT")
    return file


def test_a_short_recording_of_many_channels_takes_little_memory() -> None:
    samples = noise(400, MOST_CHANNELS)
    file = wav(samples)
    tracemalloc.start()
    try:
        heard = load_audio(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(heard, samples.mean(axis=1), atol=1e-6)
    assert peak < 20 * samples.nbytes < BLOCK * MOST_CHANNELS * 4


@pytest.mark.parametrize("frames", [1, BLOCK, 2 * BLOCK, 2 * BLOCK + 5])
def test_blocks_are_all_of_one_length_but_the_last(frames: int) -> None:
    samples = noise(frames, 2)
    for part in open_parts(wav(samples), "a.wav", None):
        blocks = list(part.blocks)
        assert {len(block) for block in blocks[:-1]} <= {BLOCK} and 0 < len(blocks[-1]) <= BLOCK
        np.testing.assert_array_equal(np.concatenate(blocks), samples)


def test_more_channels_than_any_recorder_has_are_refused() -> None:
    message = f"{MOST_CHANNELS + 1} channels .* give a recording with at most {MOST_CHANNELS}"
    for read in (load_audio, probe):
        with pytest.raises(AudioError, match=message):
            read(wav(noise(10, MOST_CHANNELS + 1)))
    live = LiveAudio("-", "standard input", 16_000, MOST_CHANNELS + 1, 0, iter(()))
    with pytest.raises(AudioError, match=f"standard input: .*{message}"):
        next(iter_windows(live, window=1.0))
