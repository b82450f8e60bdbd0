"""Where a recording sounds: its active stretches, so that excerpts begin with sound and levels leave out pauses."""

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE
from sonopsis.mel import FRAME_RATE

FRAME = SAMPLE_RATE // FRAME_RATE  # samples
ACTIVE_DB = 35.0  # a frame is active when it lies less than this below the clip's loudest
SILENT_DBFS = -75.0  # a clip whose loudest frame is below this holds no sound
BRIDGE = 20  # frames; shorter pauses do not interrupt a stretch

Samples = NDArray[np.float32]


def active_stretches(samples: Samples) -> list[tuple[float, float]]:
    """Where a clip (S,) at 16 kHz sounds: (start, end) in s, to 10 ms, pauses under 0.2 s bridged."""
    active = np.flatnonzero(active_frames(frame_powers(samples)))
    if not len(active):
        return []
    breaks = np.flatnonzero(np.diff(active) > BRIDGE)
    starts, ends = active[np.r_[0, breaks + 1]], active[np.r_[breaks, len(active) - 1]] + 1
    length = len(samples) / SAMPLE_RATE
    return [(float(a) / FRAME_RATE, min(float(b) / FRAME_RATE, length)) for a, b in zip(starts, ends, strict=True)]


def frame_powers(samples: Samples) -> NDArray[np.float64]:
    """Mean square of each frame of 10 ms of samples (S,): (frames,); the last frame may be short."""
    squares = np.square(samples, dtype=np.float64)
    starts = np.arange(0, len(squares), FRAME)
    if not len(starts):
        return np.zeros(0)
    return np.add.reduceat(squares, starts) / np.minimum(FRAME, len(squares) - starts)


def active_frames(powers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which frames sound, given their powers (frames,): those near the loudest, unless that one is silent too."""
    loudest = powers.max(initial=0.0)
    return (powers > loudest * 10 ** (-ACTIVE_DB / 10)) & (loudest > 10 ** (SILENT_DBFS / 10))
