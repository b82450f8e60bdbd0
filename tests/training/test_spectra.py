"""Filters by band, and styles exchanged in a batch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.training.spectra import NARROWEST, filter_bands, mix_styles


@given(st.integers(0, 10_000), st.sampled_from([80, 128]), st.floats(0.1, 3.0))
def test_a_filter_is_the_same_at_all_times_and_within_its_gain(seed: int, bins: int, gain: float) -> None:
    mel = np.random.default_rng(seed).standard_normal((12, bins)).astype(np.float32)
    before = mel.copy()
    filter_bands(mel, gain, np.random.default_rng(seed))
    change = mel - before
    assert np.ptp(change, axis=0).max() < 1e-5
    assert 0 < np.abs(change).max() <= gain + 1e-5


def test_filters_are_steps_of_bands_or_joined_lines() -> None:
    kinds = set()
    for seed in range(20):
        mel = np.zeros((1, 128), np.float32)
        filter_bands(mel, 1.0, np.random.default_rng(seed))
        edges = np.flatnonzero(np.diff(mel[0])) + 1
        steps = len(edges) <= 4
        kinds.add(steps)
        if steps:
            assert np.diff([0, *edges, 128]).min() >= NARROWEST
    assert kinds == {True, False}


def test_mixed_examples_lie_between_their_own_style_and_that_of_another() -> None:
    rng = np.random.default_rng(0)
    mels = rng.standard_normal((3, 200, 8)) * np.array([1, 2, 4]).reshape(3, 1, 1) + np.arange(3).reshape(3, 1, 1)
    mels = mels.astype(np.float32)
    mixed = mels.copy()
    mix_styles(mixed, 1.0, np.random.default_rng(4))
    means, deviations = mels.mean(1), mels.std(1)
    for i in range(3):
        inside = (mixed[i].mean(0) >= means.min(0) - 0.01) & (mixed[i].mean(0) <= means.max(0) + 0.01)
        assert inside.all()
        assert (mixed[i].std(0) <= deviations.max(0) * 1.01).all()
        shape = (mixed[i] - mixed[i].mean(0)) / mixed[i].std(0)
        np.testing.assert_allclose(shape, (mels[i] - means[i]) / deviations[i], atol=5e-3)  # what happens when, stays
    assert not np.allclose(mixed, mels)


def test_a_share_of_nought_leaves_the_batch_and_a_constant_frequency_is_no_trouble() -> None:
    mels = np.zeros((4, 10, 6), np.float32)
    mels[1:] = np.random.default_rng(0).standard_normal((3, 10, 6))
    before = mels.copy()
    mix_styles(mels, 0.0, np.random.default_rng(1))
    np.testing.assert_array_equal(mels, before)
    mix_styles(mels, 1.0, np.random.default_rng(1))
    assert np.isfinite(mels).all() and np.abs(mels[0]).max() < 2
