"""Changes to clips and spectrograms that leave the label true: speed, room, equaliser, band limit, SpecAugment.

The sources of the training data each have a sound of their own (sampling rate, dryness, mastering); without these
changes a model learns the source instead of the event. NumPy only: this runs in data workers.
"""

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE
from sonopsis.training.config import DataConfig
from sonopsis.training.spectra import filter_bands

Samples = NDArray[np.float32]


def augment_clip(samples: Samples, config: DataConfig, rng: np.random.Generator, speed: float | None = None) -> Samples:
    """A clip (S,) at another speed (None: a random one) and perhaps in a room; the length changes with the speed."""
    if config.speed:
        samples = change_speed(samples, 1.0 + rng.uniform(-config.speed, config.speed) if speed is None else speed)
    if rng.random() < config.reverb:
        samples = reverberate(samples, rng)
    return samples


def change_speed(samples: Samples, factor: float) -> Samples:
    """Resample (S,) by linear interpolation, so that it lasts 1/factor as long and sounds that much higher."""
    length = max(1, round(len(samples) / factor))
    return np.interp(np.arange(length) * factor, np.arange(len(samples)), samples).astype(np.float32)


def reverberate(samples: Samples, rng: np.random.Generator) -> Samples:
    """Convolve (S,) with exponentially decaying noise (decay time 0.1-0.6 s) behind the direct sound."""
    decay = rng.uniform(0.1, 0.6)
    tail = int(decay * SAMPLE_RATE)
    room = rng.standard_normal(tail) * np.exp(-6.9 * np.arange(tail) / tail)
    room *= rng.uniform(0.1, 0.5) / np.sqrt(np.sum(room**2) + 1e-12)
    room[0] = 1.0
    size = 1 << (len(samples) + tail - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(room.astype(np.float32), size), size)
    return wet[: len(samples) + tail // 2].astype(np.float32)


def augment_mel(mel: NDArray[np.float32], config: DataConfig, std: float, rng: np.random.Generator) -> None:
    """Change a normalised log-Mel (T, M) in place; `std` is the normalisation's, to convert dB to its units."""
    colour_mel(mel, config, std, rng)
    mask_mel(mel, config, rng)


def colour_mel(mel: NDArray[np.float32], config: DataConfig, std: float, rng: np.random.Generator) -> None:
    """Change how strong frequencies are in a normalised log-Mel (T, M), in place, the same at all times."""
    bins = mel.shape[1]
    floor = float(mel.min())
    per_db = np.log(10) / 10 / (2 * std)
    if config.equaliser_db:
        knots = rng.uniform(-config.equaliser_db, config.equaliser_db, size=5)
        curve_db = np.interp(np.linspace(0, 4, bins), np.arange(5), knots)
        mel += (curve_db * per_db).astype(np.float32)
    if config.filter_db:
        filter_bands(mel, config.filter_db * per_db, rng)
    if rng.random() < config.band_limit:
        mel[:, int(rng.uniform(0.55, 1.0) * bins) :] = floor


def mask_mel(mel: NDArray[np.float32], config: DataConfig, rng: np.random.Generator) -> None:
    """SpecAugment (arXiv 1904.08779) of a log-Mel (T, M), in place: masks hold its least value."""
    frames, bins = mel.shape
    floor = float(mel.min())
    for _ in range(config.time_masks):
        width = int(rng.integers(0, min(config.time_mask_frames, frames // 4) + 1))
        start = int(rng.integers(0, frames - width + 1))
        mel[start : start + width] = floor
    for _ in range(config.frequency_masks):
        width = int(rng.integers(0, config.frequency_mask_bins + 1))
        start = int(rng.integers(0, bins - width + 1))
        mel[:, start : start + width] = floor
