"""Whisper's log-Mel against transformers' feature extractor, and its own promises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from sonopsis.mel import MelConfig, mel_input, whisper_front_end


def noise(samples: int) -> np.ndarray:
    """Noise that grows louder, so that the floor matters."""
    rng = np.random.default_rng(samples)
    return (rng.standard_normal(samples) * np.linspace(0, 0.3, samples)).astype(np.float32)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [1, 5_000, 48_077, 480_000, 500_000])
def test_a_clip_has_the_values_that_transformers_gives_its_own_frames(samples: int, mels: int) -> None:
    extractor = WhisperFeatureExtractor(feature_size=mels)
    wanted = extractor(noise(samples), sampling_rate=16_000, return_tensors="np").input_features[0].T
    found = mel_input(noise(samples), whisper_front_end(mels=mels))[0]
    assert found.shape == (min(3000, -(-samples // 320) * 2), mels)
    np.testing.assert_allclose(found, wanted[: len(found)], atol=2e-5)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [3_000, 15_950, 20_000])
def test_a_clip_that_fills_its_input_ends_as_there(samples: int, mels: int) -> None:
    """Transformers reflects the end of the input, which may be shorter than 30 s."""
    extractor = WhisperFeatureExtractor(feature_size=mels, chunk_length=1)
    wanted = extractor(noise(samples), sampling_rate=16_000, return_tensors="np").input_features[0].T
    found = mel_input(noise(samples), whisper_front_end(100, mels))[0]
    np.testing.assert_allclose(found, wanted[: len(found)], atol=2e-5)


@pytest.mark.parametrize(("signal", "mels"), [("chirp", 80), ("pulses", 128)])
def test_golden(signal: str, mels: int) -> None:
    folder = Path(__file__).parent / "golden"
    expected = np.load(folder / "whisper.npz")[f"{signal}_{mels}"]  # (T, M)
    samples = np.load(folder / "kaldi.npz")[f"{signal}_samples"] / 32_768
    found = mel_input(samples, replace(whisper_front_end(50, mels), multiple=None))[0]
    assert found.shape == expected.shape == (50, mels) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    assert expected.min() == expected[-1].min() and expected.max() - expected.min() == pytest.approx(2)  # 80 dB


def test_a_short_window_ends_where_the_front_end_says() -> None:
    config = whisper_front_end(frames=500)
    assert mel_input(noise(400_000), config).shape == (1, 500, 80)


def test_the_number_of_frames_is_known_before_they_are_computed() -> None:
    for config in (whisper_front_end(), MelConfig(1024, multiple=16), MelConfig()):
        for samples in (1, 399, 400, 16_000, 100_001):
            assert mel_input(noise(samples), config).shape[1] == config.length(samples)


@pytest.mark.parametrize(("fields", "names"), [({"kind": "speech"}, "kind"), ({"mels": 80}, "mels")])
def test_a_front_end_that_does_not_exist_is_refused(fields: dict, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        MelConfig(**fields)
