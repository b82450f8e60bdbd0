"""Scenes of a recording: stretches of time in which the tags stay the same, each with one caption.

windows   |--rain--|--rain--|--rain, car--|--car--|--silence--|
scenes    |--------------- rain ----------|--car--|--silence--|

Every window is tagged. A window belongs to the scene before it if the two share at least half of their labels; the
labels of a scene are those of at least half of its windows. What is silent belongs to what is silent, and what is
unclear to what is unclear. When a scene has ended, the language model hears its clearest window, the one whose labels
have the highest scores: one sentence for each scene, and not one for each window.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import Window
from sonopsis.events import TOUCH
from sonopsis.many import Recording
from sonopsis.model import Model, Request
from sonopsis.results import LabelScore, Part, Share, Status, Summary, WindowResult

SHARED = 0.5  # of the labels of a window and a scene together, which they must share


def follow_scenes(model: Model, source: Recording, request: Request, *, declared: bool = False) -> Iterator[Part]:
    """The scenes of one recording as they end, and its end, whose result has the summary; as `Model.follow`.

    `request` asks for captions. Raises AudioError and ModelError.
    """
    summary = _Summed()
    for part in model.follow(source, request, declared=declared, describe=partial(scenes, model)):
        if part.window is not None:
            summary.take(part.window)
            yield part
        else:
            yield Part(replace(part.result, summary=summary.summary()), None)


def scenes(model: Model, pieces: Iterator[Window], request: Request) -> Iterator[WindowResult]:
    """The scenes of a recording's windows as they end; one that is stopped by Ctrl-C ends there."""
    asked = replace(request, captions=False, embeddings=False)

    def work(piece: Window) -> tuple[WindowResult, NDArray[np.float32]]:
        found = model.describe_samples(piece.samples, asked)
        return replace(found, start=piece.start, end=piece.end), piece.samples

    scene: _Scene | None = None
    try:
        for found, samples in model.map_windows(work, pieces):
            if scene is not None and not scene.goes_on(found):
                touches = found.start <= scene.end + TOUCH
                middle = (scene.end + found.start) / 2 if touches else found.start
                yield scene.result(model, request, middle if touches else scene.end)
                scene = _Scene(middle)
            scene = _Scene(found.start) if scene is None else scene
            scene.take(found, samples)
        if scene is not None:
            yield scene.result(model, request, scene.end)
    except KeyboardInterrupt:
        if scene is not None and scene.windows:
            yield scene.result(model, request, scene.end)
        raise


@dataclass
class _Scene:
    """What is known of a scene that has not ended."""

    start: float
    end: float = 0.0
    windows: int = 0
    status: Status = "heard"
    heard: Counter[str] = field(default_factory=Counter)  # windows with each label
    best: dict[str, LabelScore] = field(default_factory=dict)  # the highest score of each label
    guess: LabelScore | None = None
    clearest: tuple[float, NDArray[np.float32]] = (-1.0, np.zeros(0, np.float32))  # its scores, and its samples (S,)

    def goes_on(self, window: WindowResult) -> bool:
        """Whether a window belongs to this scene, which has one or more."""
        if window.status != self.status or window.start > self.end + TOUCH:
            return False
        own = {label for label, count in self.heard.items() if 2 * count >= self.windows}
        new = {pair.label for pair in window.labels or []}
        return len(own & new) >= SHARED * len(own | new)

    def take(self, window: WindowResult, samples: NDArray[np.float32]) -> None:
        """Add a window, and its samples."""
        self.end, self.status = window.end, window.status
        self.windows += 1
        pairs = window.labels or []
        for pair in pairs:
            self.heard[pair.label] += 1
            self.best[pair.label] = max(self.best.get(pair.label, pair), pair, key=lambda found: found.score)
        if window.guess is not None:
            self.guess = max(self.guess or window.guess, window.guess, key=lambda found: found.score)
        clear = sum(pair.score for pair in pairs)
        if clear > self.clearest[0]:
            self.clearest = clear, samples

    def result(self, model: Model, request: Request, end: float) -> WindowResult:
        """The scene with its labels, those of most windows first, and the caption of its clearest window."""
        told = model.describe_samples(self.clearest[1], request)
        order = sorted(self.best, key=lambda label: (-self.heard[label], -self.best[label].score))
        labels = [self.best[label] for label in order[: request.top_k]]
        return replace(told, start=self.start, end=end, labels=labels, status=self.status, guess=self.guess)


class _Summed:
    """Adds up scenes."""

    def __init__(self) -> None:
        self.labels: dict[str, tuple[float, int]] = {}
        self.quiet = {"silence": 0.0, "unclear": 0.0}

    def take(self, scene: WindowResult) -> None:
        """The next scene."""
        length = scene.end - scene.start
        if scene.status in self.quiet:
            self.quiet[scene.status] += length
            return
        for pair in scene.labels or []:
            seconds, times = self.labels.get(pair.label, (0.0, 0))
            self.labels[pair.label] = seconds + length, times + 1

    def summary(self) -> Summary:
        """What there was, the longest first."""
        order = sorted(self.labels, key=lambda label: -self.labels[label][0])
        return Summary(
            [Share(label, *self.labels[label]) for label in order], self.quiet["silence"], self.quiet["unclear"]
        )
