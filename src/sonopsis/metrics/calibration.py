"""Scores as probabilities: how often labels of a score are right, and thresholds at which F1 is best."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHRINKAGE = 30.0  # positive clips of the average label that join those of each label
GRID = np.round(np.arange(0.01, 1.0, 0.01), 2)  # thresholds that are tried


def reliability(right: ArrayLike, scores: ArrayLike, bins: int = 10) -> dict[str, Any]:
    """The reliability curve of scores in [0, 1] (n,), given which of them are right (n,), and its expected error.

    `{"ece", "count", "bins": [{"low", "high", "count", "score", "right"}]}`: `score` is the mean score of a bin and
    `right` the share that is right; empty bins are left out. `ece` is the expected calibration error of Naeini et al.
    (2015): the mean of |score - right|, weighted by count. ValueError for arrays that are empty or differ in shape.
    """
    truth, score = _pair(right, scores)
    number = np.minimum((score * bins).astype(np.int64), bins - 1)
    rows = []
    for i in np.unique(number):
        chosen = number == i
        row = {"low": float(i / bins), "high": float((i + 1) / bins), "count": int(chosen.sum())}
        rows.append(row | {"score": float(score[chosen].mean()), "right": float(truth[chosen].mean())})
    error = sum(row["count"] * abs(row["score"] - row["right"]) for row in rows) / len(score)
    return {"ece": float(error), "count": len(score), "bins": rows}


def best_thresholds(targets: ArrayLike, scores: ArrayLike) -> list[float]:
    """The threshold in `GRID` with the best F1 for each label: targets (C, labels) of 0 and 1, scores alike, C clips.

    The clips of each label are joined by `SHRINKAGE` positive clips of the average label, with as many wrong ones as
    that label has. So a label with few positive clips has about the threshold that is best for all. ValueError when no
    clip has a label.
    """
    truth, score = np.asarray(targets).astype(bool), np.asarray(scores, dtype=np.float64)
    positives = truth.sum(axis=0)  # (labels,)
    if not positives.any():
        raise ValueError("thresholds need clips that have a label; check the manifest and its split")
    weight = SHRINKAGE / positives.sum()
    wanted = positives + SHRINKAGE
    f1 = np.zeros((len(GRID), truth.shape[1]))
    for row, threshold in enumerate(GRID):
        shown = score >= threshold  # (C, labels)
        hits, count = (shown & truth).sum(axis=0), shown.sum(axis=0)
        f1[row] = 2 * (hits + weight * hits.sum()) / (count + weight * count.sum() + wanted)
    return [float(GRID[row]) for row in f1.argmax(axis=0)]


def f1_at(targets: ArrayLike, scores: ArrayLike, thresholds: ArrayLike) -> dict[str, float]:
    """`{"macro", "micro"}` F1 of the labels that reach their thresholds (labels,): targets and scores (C, labels).

    macro is the mean over the labels that have positive clips.
    """
    truth = np.asarray(targets).astype(bool)
    shown = np.asarray(scores, dtype=np.float64) >= np.asarray(thresholds, dtype=np.float64)
    hits, named, true = (truth & shown).sum(axis=0), shown.sum(axis=0), truth.sum(axis=0)
    present = true > 0
    each = 2 * hits[present] / (named + true)[present]
    return {"macro": float(each.mean()), "micro": float(2 * hits.sum() / max(1, named.sum() + true.sum()))}


def _pair(right: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, score = np.asarray(right).astype(bool), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape or not len(score):
        raise ValueError(f"give two arrays (n,) that are not empty; got {truth.shape} and {score.shape}")
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("scores must lie between 0 and 1; check the model's output")
    return truth, score


def platt(truth: ArrayLike, logits: ArrayLike) -> tuple[float, float]:
    """Slope and offset of the logistic function of `logits` (N,) that give `truth` (N,) the least log-loss, by Newton's
    method with a weak pull towards slope 1 and offset 0; the slope is at least 0.01."""
    right, x = np.asarray(truth, np.float64), np.asarray(logits, np.float64)
    inputs = np.stack([x, np.ones_like(x)], axis=1)  # (N, 2)
    start = np.array([1.0, 0.0])
    weights = start.copy()
    for _ in range(50):
        said = 0.5 * (1 + np.tanh(0.5 * inputs @ weights))
        gradient = inputs.T @ (said - right) + (weights - start)
        curvature = (inputs * (said * (1 - said))[:, None]).T @ inputs + np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step / max(1.0, float(np.abs(step).max()))
    return max(0.01, float(weights[0])), float(weights[1])
