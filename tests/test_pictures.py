"""The picture of pruning: what it dims, and where it puts frequencies."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import draw_pruning

from sonopsis.encoder.trace import Trace
from sonopsis.mel import log_mel


def test_dropped_patches_are_dimmed_and_counted() -> None:
    held = np.array([[True, False], [True, True], [False, False], [False, False]])  # 4 x 2 patches
    mel = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
    figure = draw_pruning.picture(mel, Trace((4, 2), [held] * 3), seconds=0.5, start=0.0)  # 50 of 64 frames
    first, second, *_ = figure.axes
    assert first.get_title(loc="left") == "8 patches"
    assert second.get_title(loc="left") == "3 patches left (38%)"
    opacity = second.images[0].get_alpha()  # (M, frames)
    assert opacity.shape == (128, 50)
    assert (opacity[:64, :16] == 1).all() and (opacity[64:, :16] == draw_pruning.DIMMED).all()


@pytest.mark.parametrize("hertz", [500.0, 1_000.0, 4_000.0])
def test_a_tone_is_where_the_axis_says(hertz: float) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000).astype(np.float32)
    loudest = int(log_mel(tone).mean(axis=0).argmax())
    assert (loudest + 1) / 129 == pytest.approx(draw_pruning.mel_of(hertz), abs=0.01)
