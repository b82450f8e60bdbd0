"""Where clips sound, on signals whose stretches are known."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.data.activity import active_frames, active_stretches, frame_powers

RATE = 16_000


def test_stretches_are_found_and_short_pauses_do_not_end_them() -> None:
    clip = np.zeros(20 * RATE, np.float32)
    clip[3 * RATE : 4 * RATE] = 0.5
    clip[int(4.1 * RATE) : 5 * RATE] = 0.3
    clip[18 * RATE : int(18.4 * RATE)] = 0.1
    assert active_stretches(clip) == [(3.0, 5.0), (18.0, 18.4)]


def test_silence_and_no_samples_have_no_stretches() -> None:
    assert active_stretches(np.zeros(RATE, np.float32)) == []
    assert active_stretches(np.zeros(0, np.float32)) == []
    assert active_stretches(np.full(RATE, 1e-4, np.float32)) == []  # -80 dBFS


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 159))
def test_stretches_are_the_seconds_that_sound(loud: list[bool], rest: int) -> None:
    """Each second is loud or silent; the clip ends with part of a frame."""
    clip = np.concatenate([np.full(RATE, 0.25 * value, np.float32) for value in loud] + [np.zeros(rest, np.float32)])
    found = active_stretches(clip)
    covered = [any(start <= second < end for start, end in found) for second in range(len(loud))]
    assert covered == loud
    assert all(start == int(start) and end == int(end) for start, end in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))


@given(st.integers(0, 1000))
def test_powers_are_mean_squares_of_frames_and_of_the_rest(length: int) -> None:
    samples = np.linspace(-0.5, 1, length, dtype=np.float32)
    powers = frame_powers(samples)
    expected = [np.mean(samples[first : first + 160].astype(np.float64) ** 2) for first in range(0, length, 160)]
    np.testing.assert_allclose(powers, expected)
    assert active_frames(powers).shape == powers.shape
