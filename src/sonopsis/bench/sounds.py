"""Sounds to measure with: tones, noise bursts and sweeps of 1 to 10 s, in the formats recordings come in."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHORTEST, LONGEST = 1.0, 10.0  # seconds
# Suffix, sample rate, channels: taken in turn.
FORMATS = (("wav", 16_000, 1), ("wav", 44_100, 2), ("flac", 44_100, 1), ("ogg", 44_100, 2), ("mp3", 44_100, 2))


def sound(generator: np.random.Generator, seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """One clip (S,): a tone with overtones, a sweep and bursts of noise, over a quiet floor of noise."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate  # (S,)
    pitch = generator.uniform(100, 1500)
    tone = sum(np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 5))
    low, high = np.sort(generator.uniform(50, 7000, 2))
    sweep = np.sin(2 * np.pi * (low * time + (high - low) * time**2 / (2 * seconds)))
    noise = generator.standard_normal(len(time))
    bursts = noise * (np.sin(2 * np.pi * generator.uniform(0.5, 4) * time) > 0.6)
    weights = generator.uniform(0.02, 0.15, 3)
    mixed = weights[0] * tone + weights[1] * sweep + weights[2] * bursts + 1e-3 * noise
    return mixed.astype(np.float32)


def write_clips(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write `count` clips of mixed length and format, the same ones for the same seed; returns their paths."""
    import soundfile

    generator = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        suffix, sample_rate, channels = FORMATS[number % len(FORMATS)]
        samples = sound(generator, generator.uniform(SHORTEST, LONGEST), sample_rate)
        path = folder / f"clip{number:04d}.{suffix}"
        soundfile.write(path, np.stack([samples] * channels, axis=1), sample_rate)
        paths.append(path)
    return paths
