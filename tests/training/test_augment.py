"""Augmentation: what it changes, what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest

from sonopsis.training.augment import augment_clip, augment_mel, change_speed, reverberate
from sonopsis.training.config import DataConfig

NONE = DataConfig(speed=0, reverb=0, equaliser_db=0, band_limit=0, time_masks=0, frequency_masks=0)


def tone(pitch: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * pitch * np.arange(int(seconds * 16_000)) / 16_000).astype(np.float32)


def test_speed_moves_pitch_and_length_together() -> None:
    fast = change_speed(tone(500), 1.25)
    assert len(fast) == 12_800
    assert np.abs(np.fft.rfft(fast)).argmax() * 16_000 / len(fast) == pytest.approx(625, abs=2)


def test_a_room_adds_a_tail_behind_the_direct_sound() -> None:
    click = np.zeros(1000, np.float32)
    click[10] = 1
    wet = reverberate(click, np.random.default_rng(0))
    assert wet[10] == pytest.approx(1, abs=1e-4) and np.abs(wet[:10]).max() < 1e-4
    assert len(wet) > 1000 and 0 < np.abs(wet[11:]).max() < 0.5


def test_everything_off_is_the_identity() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(augment_clip(tone(400), NONE, rng), tone(400))
    mel = rng.standard_normal((50, 128)).astype(np.float32)
    before = mel.copy()
    augment_mel(mel, NONE, 4.0, rng)
    np.testing.assert_array_equal(mel, before)


def test_masks_write_the_floor_and_the_equaliser_is_bounded() -> None:
    rng = np.random.default_rng(1)
    mel = rng.uniform(-1, 1, (100, 128)).astype(np.float32)
    masked, equalised = mel.copy(), mel.copy()
    augment_mel(masked, replace(NONE, time_masks=2, frequency_masks=2), 4.0, rng)
    changed = masked != mel
    assert changed.any() and set(masked[changed]) == {mel.min()}
    augment_mel(equalised, replace(NONE, equaliser_db=6.0), 4.0, rng)
    shift = (equalised - mel) * 8 * 10 / np.log(10)  # dB
    assert 0.5 < np.abs(shift).max() <= 6.01 and np.ptp(shift, axis=0).max() < 1e-3
