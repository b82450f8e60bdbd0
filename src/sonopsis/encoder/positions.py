"""Fixed position codes: for a time-frequency grid, and for time alone."""

import numpy as np
from numpy.typing import NDArray


def sincos_table(grid: tuple[int, int], width: int) -> NDArray[np.float32]:
    """Sin-cos codes (N, D) float32 of a (time, frequency) grid in time-major order, N = time * frequency.

    The first half of the channels encodes the frequency row, the second half the time row, each as [sin | cos] with
    angular frequencies 10000^(-i / (D / 4)), the layout of MAE and EAT. Time is the outer index, so the table of a
    shorter input is a prefix of the table of a longer one. `width` must be a multiple of 4.
    """
    time, frequency = grid
    omega = 10000.0 ** (-np.arange(width // 4) / (width // 4))  # (D/4,)
    row_t = np.arange(time).repeat(frequency)  # (N,)
    row_f = np.tile(np.arange(frequency), time)  # (N,)
    angles_f, angles_t = row_f[:, None] * omega, row_t[:, None] * omega  # (N, D/4)
    parts = [np.sin(angles_f), np.cos(angles_f), np.sin(angles_t), np.cos(angles_t)]
    return np.concatenate(parts, axis=1).astype(np.float32)  # (N, D)


def sinusoid_table(length: int, width: int) -> NDArray[np.float32]:
    """Whisper's sinusoids (N, D) float32 of `length` time steps: [sin | cos] of angular frequencies that fall from 1 to
    1/10000. The table of a shorter input is a prefix of the table of a longer one. `width` must be even."""
    angles = np.arange(length, dtype=np.float32)[:, None] * sinusoid_frequencies(width)  # (N, D/2)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)  # (N, D)


def sinusoid_frequencies(width: int) -> NDArray[np.float32]:
    """The angular frequencies (D/2,) float32 of `sinusoid_table`, rounded as Whisper rounds them."""
    half = width // 2
    step = np.log(10000.0) / max(half - 1, 1)
    return np.exp(-step * np.arange(half, dtype=np.float32)).astype(np.float32)
