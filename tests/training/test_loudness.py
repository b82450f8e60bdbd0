"""Levels as they are heard, and mixtures at a ratio of them."""

import numpy as np
import pytest

from sonopsis.training.loudness import SILENT_DB, heard_level_db, quieter_gain


def tone(hertz: float, amplitude: float = 0.5, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * 16_000)) / 16_000
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.mark.parametrize(("hertz", "weight"), [(100, -19.1), (200, -10.9), (2000, 1.2), (4000, 1.0)])
def test_levels_follow_the_table_of_the_a_curve(hertz: float, weight: float) -> None:
    assert heard_level_db(tone(hertz)) - heard_level_db(tone(1000)) == pytest.approx(weight, abs=0.2)


def test_the_level_is_that_of_the_loudest_stretch_and_moves_with_the_gain() -> None:
    alone = tone(1000, seconds=0.2)
    with_pause = np.concatenate([np.zeros(30_400, np.float32), alone])
    assert heard_level_db(with_pause) == pytest.approx(heard_level_db(alone), abs=0.1)
    assert heard_level_db(alone / 10) == pytest.approx(heard_level_db(alone) - 20, abs=1e-3)
    assert heard_level_db(np.zeros(1, np.float32)) == SILENT_DB


def test_the_quieter_sound_has_the_share_it_should_and_its_loudness_as_target() -> None:
    louder, clip = tone(500, 0.4), tone(3000, 0.05)
    for share in (0.1, 0.25, 0.5):
        gain, target = quieter_gain(heard_level_db(louder), heard_level_db(clip), share)
        difference = heard_level_db(clip * np.float32(gain)) - heard_level_db(louder)
        assert 10 ** (difference / 20) == pytest.approx(share / (1 - share), rel=1e-3)
        assert target == pytest.approx((share / (1 - share)) ** 0.6)
    assert target == 1  # equally loud sounds are both there
