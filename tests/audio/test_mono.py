"""What is mended before a recording is heard: numbers that are none, an offset, channels in opposite phase."""

import logging

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sonopsis.audio import AudioError, iter_windows, load_audio
from sonopsis.audio.mono import BLOCK, Mixer

RATE = 16_000


def noise(frames: int, channels: int = 1, level: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    return (level * np.random.default_rng(seed).standard_normal((frames, channels))).astype(np.float32)


def mixed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples (n, channels) as a decoder would hand them over."""
    mixer = Mixer("a.wav", RATE, samples.shape[1], 0.0)
    return np.concatenate([mixer(samples[first : first + BLOCK]) for first in range(0, len(samples), BLOCK)])


@given(st.integers(1, 6), st.integers(1, 3 * BLOCK), st.floats(-0.009, 0.009))
@example(5, 2, 0.0)  # two samples of noise that cancel by chance
def test_a_recording_without_faults_is_the_plain_mean_bit_by_bit(channels: int, frames: int, offset: float) -> None:
    samples = noise(frames, channels) + np.float32(offset)
    np.testing.assert_array_equal(mixed(samples), samples.mean(axis=1) if channels > 1 else samples[:, 0])


def test_equal_channels_and_one_silent_channel_are_the_plain_mean() -> None:
    one = noise(BLOCK)
    for samples in (np.hstack([one, one]), np.hstack([one, 0 * one]), np.hstack([one, *[0 * one] * 7])):
        np.testing.assert_array_equal(mixed(samples), samples.mean(axis=1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_few_invalid_numbers_are_silenced_and_their_times_are_said(
    bad: float, caplog: pytest.LogCaptureFixture
) -> None:
    samples = noise(320_000)[:, 0]
    samples[[0, 288_000]] = bad
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        heard = load_audio(samples)
    assert "2 sample(s) that are no numbers, silenced (at 0.000, 18.000 s)" in caplog.text
    np.testing.assert_array_equal(heard, np.where(np.isfinite(samples), samples, 0))


@pytest.mark.parametrize(("frames", "invalid"), [(100, 100), (5, 5), (1, 1), (20, 11), (320_000, 656)])
def test_many_invalid_numbers_are_an_error(frames: int, invalid: int) -> None:
    samples = noise(frames)[:, 0]
    samples[:invalid] = np.nan
    with pytest.raises(
        AudioError, match=rf"{invalid} of \d+ samples are not numbers one can hear, the first is nan at"
    ):
        load_audio(samples)
    samples[invalid - 1] = 0
    if invalid in (11, 656):
        assert np.isfinite(load_audio(samples)).all()


def test_an_offset_is_removed_and_no_step_is_left(caplog: pytest.LogCaptureFixture) -> None:
    sound = noise(5 * BLOCK, level=0.01)[:, 0]
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        heard = load_audio(sound + np.float32(0.9))
    np.testing.assert_allclose(heard, sound, atol=5e-4)
    assert "a constant offset was removed" in caplog.text


def test_an_offset_that_drifts_is_followed_without_steps() -> None:
    drift = np.linspace(0.5, 0.8, 6 * BLOCK, dtype=np.float32)
    heard = load_audio(noise(len(drift), level=0.01)[:, 0] + drift)
    assert np.abs(heard).max() < 0.13  # the first block holds the start of the drift
    assert np.abs(heard[BLOCK:].reshape(-1, 1 << 12).mean(axis=1)).max() < 0.06


def test_an_invalid_number_on_an_offset_is_silence_too() -> None:
    samples = noise(BLOCK, level=0.01)[:, 0] + np.float32(0.9)
    samples[1_000] = np.nan
    assert load_audio(samples)[1_000] == 0


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_in_opposite_phase_are_heard(channels: int, caplog: pytest.LogCaptureFixture) -> None:
    one = noise(3 * BLOCK)
    samples = np.hstack([0.5 * one, -0.5 * one, *[0 * one] * (channels - 2)])
    samples[:, 1] *= 1.01
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        heard = load_audio(samples)
    np.testing.assert_array_equal(heard, samples[:, 1])
    assert "cancel each other (opposite phase); for 12.29 s" in caplog.text


def test_a_change_of_phase_is_faded() -> None:
    low = 0.5 * np.sin(2 * np.pi * np.arange(4 * BLOCK) / 256).astype(np.float32)[:, None]  # 0 where the sign changes
    sign = np.repeat([1, -1, 1], [BLOCK // 2, 2 * BLOCK, 3 * BLOCK // 2])[:, None]
    heard = mixed(np.hstack([low, low * sign]))
    assert np.abs(np.diff(heard)).max() < 0.02  # as smooth as the sound itself
    assert heard[BLOCK + RATE : 2 * BLOCK].std() > 0.34


@given(st.integers(1_600, 100_000))
def test_windows_of_any_length_hold_the_same_samples(window: int) -> None:
    one = noise(2 * BLOCK + 12_345)
    samples = np.hstack([one, np.where(np.arange(len(one))[:, None] < BLOCK, -one, one)]) + np.float32(0.5)
    samples[70_000] = np.nan
    whole = load_audio(samples)
    windows = iter_windows(samples, window=window / RATE)
    np.testing.assert_array_equal(np.concatenate([found.samples for found in windows]), whole)
