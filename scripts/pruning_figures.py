"""Figures with intervals from the predictions in results/pruning/, for the tables of docs/results-pruning.md."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.study.bootstrap import draws, interval, means

RESULTS = Path(__file__).parent.parent / "results" / "pruning"
MODELS = {"default": "the bundled model", "whisper": "Whisper tiny.en"}
TASKS = {"general": "general sounds", "words": "spoken phrases"}
POINT = -1.0  # points that may be lost
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Weights = NDArray[np.int16]  # (R, C), how often each clip is in each resample


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
    def share(cls, values: Bools, weights: Weights) -> "Points":
        """The share of right clips."""
        return cls(float(values.mean()), means(values, weights))

    @classmethod
    def difference(cls, own: Bools, other: Bools, weights: Weights) -> "Points":
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


def log_mel(found: dict[str, Any], said: dict[str, str]) -> tuple[Points, Points, int]:
    """Accuracy of log-Mel statistics with a logistic regression, what the unpruned model has more, and on how many
    clips."""
    kept = [i for i, (path, _, _) in enumerate(found["clips"]) if path in said]
    weights = draws([groups(found)[i] for i in kept])
    own = right(found, found["variants"][0]["top"])[kept]
    clips = [found["clips"][i] for i in kept]
    theirs = np.array([said[path] in {found["labels"][label] for label in labels} for path, _, labels in clips])
    return Points.share(theirs, weights), Points.difference(own, theirs, weights), len(kept)
