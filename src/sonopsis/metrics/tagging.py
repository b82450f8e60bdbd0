"""Figures for tagging: average precision, accuracy and balanced accuracy."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def average_precision(targets: ArrayLike, scores: ArrayLike) -> float:
    """Precision averaged over the steps of recall, for one class: targets (C,) of 0 and 1, scores (C,), C clips.

    Clips of equal score enter together, so their order does not matter. ValueError when no target is positive.
    """
    truth, score = _class(targets, scores)
    if not truth.any():
        raise ValueError("average precision needs at least one positive clip; leave the class out of the mean")
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    last = np.flatnonzero(np.r_[np.diff(score) != 0, True])  # the last clip of each run of equal scores
    found = np.cumsum(truth)[last]
    precision, recall = found / (last + 1), found / found[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def mean_average_precision(targets: ArrayLike, scores: ArrayLike) -> float:
    """Mean average precision over the classes that have positives: targets (C, labels) of 0 and 1, scores alike."""
    truth, score = _matrix(targets, scores)
    positives = np.flatnonzero(truth.any(axis=0))
    if not len(positives):
        raise ValueError("no class has a positive clip; check that targets and labels belong together")
    return float(np.mean([average_precision(truth[:, i], score[:, i]) for i in positives]))


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of clips whose class is right: two arrays (C,) of class numbers or names."""
    wanted, given = _classes(truth, predicted)
    return float(np.mean(wanted == given))


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean over the classes present in `truth` (C,) of the share of their clips that is right."""
    wanted, given = _classes(truth, predicted)
    return float(np.mean([np.mean(given[wanted == name] == name) for name in np.unique(wanted)]))


def _class(targets: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, score = np.asarray(targets).astype(bool), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise ValueError(f"targets and scores must be two arrays (clips,); got {truth.shape} and {score.shape}")
    if np.isnan(score).any():
        raise ValueError("scores hold NaN; check the model's output")
    return truth, score


def _matrix(targets: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, score = np.asarray(targets).astype(bool), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != score.shape:
        raise ValueError(f"targets and scores must be two arrays (clips, labels); got {truth.shape} and {score.shape}")
    return truth, score


def _classes(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    wanted, given = np.asarray(truth), np.asarray(predicted)
    if wanted.ndim != 1 or wanted.shape != given.shape or not len(wanted):
        raise ValueError(f"accuracy needs two arrays (clips,) that are not empty; got {wanted.shape} and {given.shape}")
    return wanted, given
