"""Near-duplicates: the same recording under another name, format, sampling rate or level.

A clip becomes a small picture of its sound (32 bands up to 5 kHz x 32 instants of the part that is not silent, in dB,
floored, centred, of unit length); the product of two pictures is a correlation in [-1, 1].  The picture does not change
with gain, leading or trailing silence, lossy coding, or resampling down to 11 kHz.  It does not find excerpts: only
clips whose sounding parts last equally long are compared.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE

BANDS = 32
INSTANTS = 32
THRESHOLD = 0.97  # of the correlation
DURATION_TOLERANCE = 0.04  # of the longer sounding part
DURATION_SLACK = 0.016  # s, what the ends of lossy files may move
MAX_SECONDS = 30.0  # longer recordings are compared by their beginning

_WINDOW = 512
_HOP = 64
_TAILS = 0.001  # of the energy: what comes before and after is not part of the sound
_FLOOR_DB = -50.0  # below the loudest cell: noise of the coder

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fingerprint:
    """The picture of one clip, (BANDS * INSTANTS,) float32 of length 1, and how long its sound lasts in s."""

    vector: Floats
    duration: float


def _band_matrix() -> Floats:
    """(257, BANDS) sums of power spectrum bins into bands equally wide on the Mel scale, 60 Hz to 5 kHz."""
    lowest, highest = (2595.0 * math.log10(1 + hertz / 700.0) for hertz in (60.0, 5000.0))
    edges = 700.0 * (10.0 ** (np.linspace(lowest, highest, BANDS + 1) / 2595.0) - 1)
    frequencies = np.fft.rfftfreq(_WINDOW, 1.0 / SAMPLE_RATE)
    lower, upper = edges[:-1, None], edges[1:, None]
    width = frequencies[1]
    overlap = np.minimum(frequencies + width / 2, upper) - np.maximum(frequencies - width / 2, lower)
    return (np.clip(overlap, 0.0, None) / width).T.astype(np.float32)


_BANDS = _band_matrix()
_TAPER = np.hanning(_WINDOW).astype(np.float32)


def _powers(samples: Floats) -> Floats:
    """Samples (S,) -> band powers (frames, BANDS) every _HOP samples."""
    padded = np.concatenate([np.zeros(_WINDOW // 2, np.float32), samples, np.zeros(_WINDOW, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    parts = [np.abs(np.fft.rfft(frames[i : i + 4096] * _TAPER)) ** 2 @ _BANDS for i in range(0, len(frames), 4096)]
    return np.concatenate(parts).astype(np.float32)


def fingerprint(samples: Floats) -> Fingerprint | None:
    """Samples (S,) at 16 kHz -> their picture; None for silence and for sound that is the same everywhere."""
    powers = _powers(np.asarray(samples, dtype=np.float32)[: int(MAX_SECONDS * SAMPLE_RATE)])
    loudness = powers.sum(axis=1)  # (frames,)
    if float(loudness.max(initial=0.0)) <= 1e-10:
        return None
    energy = np.cumsum(loudness, dtype=np.float64) / loudness.sum(dtype=np.float64)  # (frames,)
    first, last = int(np.searchsorted(energy, _TAILS)), int(np.searchsorted(energy, 1.0 - _TAILS)) + 1
    cumulative = np.concatenate([np.zeros((1, BANDS)), np.cumsum(powers[first:last], axis=0, dtype=np.float64)])
    edges = np.linspace(0, last - first, INSTANTS + 1)
    index = np.minimum(edges.astype(int), last - first - 1)
    up_to = cumulative[index] + (edges - index)[:, None] * (cumulative[index + 1] - cumulative[index])
    means = np.diff(up_to, axis=0)  # (INSTANTS, BANDS)
    decibels = 10.0 * np.log10(np.maximum(means, means.max() * 10.0 ** (_FLOOR_DB / 10)))
    centred = decibels - decibels.mean()
    length = float(np.linalg.norm(centred))
    if length < 1e-3:
        return None
    return Fingerprint((centred / length).astype(np.float32).ravel(), (last - first) * _HOP / SAMPLE_RATE)


def similar_pairs(
    prints: Iterable[Fingerprint | None], threshold: float = THRESHOLD
) -> Iterator[tuple[int, int, float]]:
    """Pairs (i, j, correlation), i < j, of prints that are of the same recording, in no special order."""
    known = [(i, p) for i, p in enumerate(prints) if p is not None]
    known.sort(key=lambda item: item[1].duration)
    if not known:
        return
    order = np.array([i for i, _ in known])
    durations = np.array([p.duration for _, p in known])
    vectors = np.stack([p.vector for _, p in known])  # (n, BANDS * INSTANTS)
    limits = np.searchsorted(durations, durations / (1 - DURATION_TOLERANCE) + DURATION_SLACK, side="right")
    for row in range(len(known)):
        others = slice(row + 1, int(limits[row]))
        scores = vectors[others] @ vectors[row]
        for hit in np.flatnonzero(scores >= threshold):
            pair = sorted((int(order[row]), int(order[row + 1 + hit])))
            yield pair[0], pair[1], float(scores[hit])
