"""The log-Mel of windows in the midst of a recording, against transformers' AST feature extractor."""

import numpy as np
import pytest

from sonopsis.audio import SAMPLE_RATE, iter_windows
from sonopsis.mel import MelConfig, mel_input

transformers = pytest.importorskip("transformers")

SHIFT = SAMPLE_RATE // 100  # samples from one frame to the next


def recording(seconds: float) -> np.ndarray:
    """Noise whose level changes, over a tone, a slow drift and an offset."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    level = 10 ** (-2 + 1.5 * np.sin(2 * np.pi * 0.7 * time))
    drift = 0.05 + 0.05 * np.sin(2 * np.pi * 0.1 * time)
    found = level * rng.uniform(-1, 1, len(time)) + 0.1 * np.sin(2 * np.pi * 700 * time) + drift
    return np.asarray(found, np.float32)


@pytest.mark.filterwarnings("ignore:At least one mel filter")  # the narrowest have no FFT bin
@pytest.mark.parametrize("frames", [128, 512, 1024])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_a_window_has_the_values_of_its_stretch(frames: int, overlap: float) -> None:
    """Transformers cuts the spectrogram at `max_length` frames, whose last ones reach beyond the window's end."""
    config = MelConfig(frames)
    extractor = transformers.ASTFeatureExtractor(max_length=frames)
    assert (config.mean, config.std) == (extractor.mean, extractor.std)
    length = frames * SHIFT / SAMPLE_RATE  # seconds
    samples = recording(2.7 * length)
    hop = length * (1 - overlap)
    windows = list(iter_windows(samples, window=length, hop=hop, sample_rate=SAMPLE_RATE, beyond=config.beyond))
    assert len(windows) == (3 if overlap == 0 else 5)
    for place, window in enumerate(windows):
        rest = samples[place * round(hop * SAMPLE_RATE) :]
        expected = extractor(rest, sampling_rate=SAMPLE_RATE, return_tensors="np")["input_values"]
        np.testing.assert_allclose(mel_input(window.samples, config), expected, atol=1e-3)
