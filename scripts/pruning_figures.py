"""Figures with intervals from the predictions in results/pruning/, for the tables of docs/results-pruning.md."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.study.bootstrap import draws, interval, means

RESULTS = Path(__file__).parent.parent / "results" / "pruning"
MODELS = {
    "default": "the bundled model",
    "whisper": "Whisper tiny.en",
    "base": "Whisper base",
    "scratch": "the encoder from scratch",
    "masked": "the encoder pretrained with masks",
}
NAMES = {  # of ways to prune, in the order of the tables
    "topk": "TopK",
    "fuse": "fuse",
    "merge": "merge",
    "value": "value-weighted",
    "segment": "per segment",
    "adaptive": "adaptive",
    "random": "random",
    "random columns": "random columns",
}
TRAINED_HERE = ("scratch", "masked")  # with a window of about 5 s and a pooling of their own: CLS, and the mean
TASKS = {"general": "general sounds", "words": "spoken phrases", "instruments": "instruments"}
POINT = -1.0  # points that may be lost
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Weights = NDArray[np.int16]  # (R, C), how often each clip is in each resample
Table = dict[tuple[str, float], Bools | Floats]  # arm and keep rate -> whether each clip is right, or how often


def read(name: str) -> dict[str, Any] | None:
    """A file of results by its name without suffix; None when it was not made."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def right(found: dict[str, Any], top: Sequence[int]) -> Bools:
    """Whether the best label of each clip (C,) is one of its own."""
    return np.array([best in labels for best, (_, _, labels) in zip(top, found["clips"], strict=True)])


def groups(found: dict[str, Any]) -> list[str]:
    """The source of each clip: whole sources are drawn anew for an interval."""
    return [source for _, source, _ in found["clips"]]


def weights_of(found: dict[str, Any], task: str) -> Weights:
    """The resamples of the clips of a file; those of two tasks have nothing to do with each other."""
    return draws(groups(found), seed=list(TASKS).index(task))


def counts(found: dict[str, Any]) -> str:
    """One line: how many clips of how many sources and labels."""
    labels = {label for _, _, own in found["clips"] for label in own}
    drawn = "all" if len(found["clips"]) == found["of"] else f"drawn from {found['of']}"
    sources = len(set(groups(found)))
    return f"{len(found['clips'])} test clips ({drawn}), {sources} sources, {len(labels)} labels."


class Points:
    """A mean over clips or a difference of two, in points, with the interval of its resamples."""

    def __init__(self, value: float, samples: Floats) -> None:
        self.value, self.samples = 100 * value, 100 * samples
        low, high = interval(self.samples) or (float("nan"),) * 2
        self.low, self.high = low, high

    @classmethod
    def share(cls, values: Bools | Floats, weights: Weights) -> "Points":
        """The share of right clips."""
        return cls(float(values.mean()), means(values, weights))

    @classmethod
    def difference(cls, own: Bools | Floats, other: Bools | Floats, weights: Weights) -> "Points":
        """The paired difference of two shares on the same clips."""
        both = own.astype(float) - other
        return cls(float(both.mean()), means(both, weights))

    def less(self, other: "Points") -> "Points":
        """The difference to a figure of another task, whose resamples were drawn apart from these."""
        return Points((self.value - other.value) / 100, (self.samples - other.samples) / 100)

    def plain(self) -> str:
        """As a share: 65.3 (44.7 to 75.0)."""
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"

    def signed(self) -> str:
        """As a difference: +2.1 (-4.0 to +4.8)."""
        return f"{self.value:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def lost(change: Points) -> str:
    """What a change tells of the claim that accuracy is lost: "held", "did not hold" or "cannot be told"."""
    if change.high < 0:
        return "held"
    return "did not hold" if change.low >= POINT else "cannot be told"


class Results:
    """One model on one task: what is right, what it costs, and how long it took where that was measured.

    Where random patches were `redrawn`, a clip counts as right in the share of the draws in which it was.
    """

    def __init__(
        self,
        found: dict[str, Any],
        task: str,
        times: dict[str, Any] | None = None,
        redrawn: dict[str, Any] | None = None,
    ) -> None:
        self.found, self.task, self.times, self.redrawn = found, task, times, redrawn
        self.weights: Weights = weights_of(found, task)
        self.hits: Table = {(v["arm"], v["keep_rate"]): right(found, v["top"]) for v in found["variants"]}
        for again in redrawn["variants"] if redrawn else ():
            more = [right(found, top) for top in zip(*again["top"], strict=True)]
            key = again["arm"], again["keep_rate"]
            self.hits[key] = np.mean([self.hits[key], *more], axis=0)
        whole = found["variants"][0]["macs"]
        self.macs = {
            (v["arm"], v["keep_rate"]): [mine / all_ for mine, all_ in zip(v["macs"], whole, strict=True)]
            for v in found["variants"]
        }
        self.rates = [rate for arm, rate in self.hits if arm == "topk"]

    def against(self, own: tuple[str, float], other: tuple[str, float] = ("unpruned", 1.0)) -> Points | None:
        """The difference of two ways to prune in points; None when one was not measured."""
        if own not in self.hits or other not in self.hits:
            return None
        return Points.difference(self.hits[own], self.hits[other], self.weights)

    def faster(self, key: tuple[str, float]) -> str:
        """How many times as fast this way to prune was as no pruning, as 1.23; empty when it was not measured."""
        taken = {(v["arm"], v["keep_rate"]): v["ms"] for v in self.times["variants"]} if self.times else {}
        return f"{taken['unpruned', 1.0] / taken[key]:.2f}" if key in taken else ""

    def saving(self, share: float) -> float | None:
        """The highest rate of TopK that saves this share of the executed MACs."""
        return max((rate for rate in self.rates if 1 - self.macs["topk", rate][1] >= share), default=None)


def log_mel(results: Results, said: dict[str, str]) -> tuple[Points, Points, int]:
    """Accuracy of log-Mel statistics with a logistic regression, what the unpruned model has more, and on how many
    clips."""
    found = results.found
    kept = [i for i, (path, _, _) in enumerate(found["clips"]) if path in said]
    weights = draws([groups(found)[i] for i in kept])
    own = results.hits["unpruned", 1.0][kept]
    clips = [found["clips"][i] for i in kept]
    theirs = np.array([said[path] in {found["labels"][label] for label in labels} for path, _, labels in clips])
    return Points.share(theirs, weights), Points.difference(own, theirs, weights), len(kept)
