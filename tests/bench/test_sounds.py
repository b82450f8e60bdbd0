"""Clips to measure with."""

from pathlib import Path

import numpy as np

from sonopsis.audio import is_silent, load_audio, probe
from sonopsis.bench.sounds import FORMATS, sound, write_clips


def test_clips_are_of_every_format_and_can_be_read(tmp_path: Path) -> None:
    paths = write_clips(tmp_path, 10)
    assert {path.suffix for path in paths} == {f".{suffix}" for suffix, _, _ in FORMATS}
    for path in paths:
        samples = load_audio(path)
        assert 0.9 <= len(samples) / 16_000 <= 10.1 and not is_silent(samples) and np.abs(samples).max() < 1
    assert {(probe(path).sample_rate, probe(path).channels) for path in paths[:2]} == {(16_000, 1), (44_100, 2)}


def test_the_same_seed_gives_the_same_sound() -> None:
    one, same, other = (sound(np.random.default_rng(seed), 1.5, 16_000) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.allclose(one, other)
    assert one.shape == (24_000,) and one.dtype == np.float32
