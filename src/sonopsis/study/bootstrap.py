"""Intervals of differences between variants on the same clips, from drawing whole groups of clips anew."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000
LEVEL = (2.5, 97.5)  # percentiles


def draws(groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int16]:
    """How often each clip is in each resample (R, C): whole groups are drawn with replacement, as many as there are."""
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    count = int(number.max()) + 1
    generator = np.random.RandomState(seed)  # the one NumPy generator whose stream is promised never to change
    times = np.stack([np.bincount(generator.randint(0, count, count), minlength=count) for _ in range(resamples)])
    return times[:, number].astype(np.int16)


def interval(samples: Floats) -> list[float] | None:
    """The central 95 % of samples (R,), NaN left out; None when all are NaN."""
    known = samples[~np.isnan(samples)]
    return [float(bound) for bound in np.percentile(known, LEVEL)] if len(known) else None


def means(values: NDArray[np.generic], weights: NDArray[np.int16]) -> Floats:
    """The mean of values (C,) in each resample (R, C) -> (R,); NaN where a resample has no clip."""
    total = weights.sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        found: Floats = weights.astype(np.float64) @ values.astype(np.float64) / total
    return found


def mean_average_precisions(
    targets: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.int16]
) -> Floats:
    """`metrics.tagging.mean_average_precision` of targets and scores (C, L) in each resample (R, C) -> (R,).

    Over the classes with a positive clip in the resample; NaN where there is none.
    """
    total, classes = np.zeros(len(weights)), np.zeros(len(weights))
    for truth, score in zip(targets.T, scores.T, strict=True):
        order = np.argsort(-score, kind="stable")
        last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])  # of each run of equal scores
        drawn = weights[:, order].astype(np.float64)  # (R, C)
        found = (drawn * truth[order]).cumsum(axis=1)[:, last]
        seen = drawn.cumsum(axis=1)[:, last]
        gained = np.diff(found, axis=1, prepend=0.0)
        with np.errstate(invalid="ignore"):
            precision = np.where(seen > 0, found / seen, 0.0)
            value = (gained * precision).sum(axis=1) / found[:, -1]
        there = found[:, -1] > 0
        total[there] += value[there]
        classes += there
    with np.errstate(invalid="ignore"):
        mean: Floats = total / np.where(classes > 0, classes, np.nan)
    return mean
