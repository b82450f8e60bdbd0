"""Devices, coders and levels: what they change, what they leave alone."""

from dataclasses import replace

import numpy as np
import pytest

from sonopsis.training.channel import (
    TAPS,
    change_recording,
    fewer_frequencies,
    in_eight_bits,
    low_quality,
    minimum_phase,
    response_db,
    through_device,
)
from sonopsis.training.config import DataConfig

SAMPLES = (np.random.default_rng(0).standard_normal(20_000) * 0.1).astype(np.float32)


def power_between(samples: np.ndarray, low: float, high: float) -> float:
    hertz = np.fft.rfftfreq(len(samples), 1 / 16_000)
    return float((np.abs(np.fft.rfft(samples)) ** 2)[(hertz >= low) & (hertz < high)].sum())


def test_all_off_are_the_samples_themselves() -> None:
    np.testing.assert_array_equal(change_recording(SAMPLES, DataConfig(), np.random.default_rng(0)), SAMPLES)


def test_changes_repeat_with_the_generator_and_keep_the_length() -> None:
    config = DataConfig(device=1, codec=1, quieter_db=30)
    for seed in range(12):
        found, same = (change_recording(SAMPLES, config, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(found, same)
        assert found.shape == SAMPLES.shape and found.dtype == np.float32 and np.isfinite(found).all()


def test_examples_become_quieter_by_at_most_the_decibels_given() -> None:
    rng = np.random.default_rng(0)
    config = replace(DataConfig(), quieter_db=30.0)
    falls = [-20 * np.log10(np.abs(change_recording(SAMPLES, config, rng)).max() / np.abs(SAMPLES).max())
             for _ in range(200)]  # fmt: skip
    assert -0.01 <= min(falls) < 2 and 28 < max(falls) <= 30.01


def test_a_filter_has_the_response_it_was_made_of() -> None:
    smooth = -20.0 * np.linspace(0, 1, TAPS + 1) ** 2
    taps = minimum_phase(smooth)
    found = 20 * np.log10(np.abs(np.fft.rfft(taps, 2 * TAPS)))
    np.testing.assert_allclose(found, smooth, atol=0.1)
    assert np.argmax(np.abs(taps)) == 0  # nothing sounds before the event


def test_responses_cut_low_and_high_and_amplify_nothing() -> None:
    responses = np.stack([response_db(np.random.default_rng(seed)) for seed in range(20)])
    assert responses.shape == (20, TAPS + 1) and responses.min() >= -60
    np.testing.assert_allclose(responses.max(axis=1), 0, atol=1e-9)
    assert responses[:, 0].mean() < -15 and responses[:, -1].mean() < -10  # at 0 Hz and at 8 kHz


def test_a_device_removes_what_lies_under_its_low_cut() -> None:
    heard = through_device(SAMPLES, np.random.default_rng(3))
    assert heard.shape == SAMPLES.shape
    ratio = power_between(heard, 0, 20) / power_between(SAMPLES, 0, 20)
    assert ratio < 0.1 * power_between(heard, 800, 2000) / power_between(SAMPLES, 800, 2000)


def test_eight_bits_are_at_most_255_values_and_mu_law_is_finer_where_it_is_quiet() -> None:
    tone = np.sin(np.arange(16_000) * 0.05).astype(np.float32) * np.linspace(0.001, 1, 16_000, dtype=np.float32)
    linear, mu_law = in_eight_bits(tone), in_eight_bits(tone, mu_law=True)
    assert max(len(np.unique(linear)), len(np.unique(mu_law))) <= 255
    assert np.abs(linear - tone).max() <= np.abs(tone).max() / 254 + 1e-6
    quiet = slice(0, 800)
    assert np.abs(mu_law - tone)[quiet].mean() < 0.3 * np.abs(linear - tone)[quiet].mean()
    silence = np.zeros(100, np.float32)
    np.testing.assert_array_equal(in_eight_bits(silence), silence)


def test_a_transform_coder_that_drops_nothing_gives_the_samples_back() -> None:
    np.testing.assert_allclose(fewer_frequencies(SAMPLES, 0.0), SAMPLES, atol=1e-6)
    tone = np.sin(np.arange(16_000) * 0.2).astype(np.float32)
    kept = fewer_frequencies(tone + 0.01 * SAMPLES[:16_000], 0.9)
    assert np.abs(kept - tone)[512:-512].max() < np.abs(0.01 * SAMPLES).max()


@pytest.mark.parametrize("length", [1, 100, 20_000])
def test_low_quality_takes_samples_of_any_length(length: int) -> None:
    for seed in range(16):
        found = low_quality(SAMPLES[:length], np.random.default_rng(seed))
        assert found.shape == (length,) and found.dtype == np.float32 and np.isfinite(found).all()
