"""When sounds begin and end within a window, from the encoder's time axis.

A captioner whose connector scores every label at every time step (`Prompt.steps`; 0.16 s in the bundled model) knows
more than that a label is somewhere in a window of ten seconds:

    tags of the window      dog 0.9
    dog in time             .0 .1 .7 .9 .8 .1 .0 .0 .6 .7 .1 .0
    steps of at least 0.3 of the highest one:  |--dog--|       |dog|

Labels and their scores are those of the whole window; a step says only when. `RELATIVE` and `BRIDGED` were chosen on
composed validation scenes (`benchmarks/event_times.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import Window, is_silent
from sonopsis.engines.base import Prompt
from sonopsis.many import Recording
from sonopsis.mel import FRAME_RATE, mel_input
from sonopsis.model import Model, Request
from sonopsis.pruning.config import uniform
from sonopsis.results import SILENCE, LabelScore, Part, WindowResult

RELATIVE = 0.3  # of its highest score in a window, with which a label sounds in a step
BRIDGED = 1  # steps below that between two that sound, which do not end an event


def tells_times(model: Model) -> bool:
    """Whether a model scores its labels at every time step."""
    connector = model.folder.config.connector
    return model.engine.captions and connector is not None and connector.labels > 0 and connector.layout == "concat"


@dataclass(frozen=True)
class Timed(WindowResult):
    """A window, and where in it which of its labels sound."""

    stretches: Sequence[WindowResult] = ()  # the whole window in the order of time, each with the labels that sound


def follow_moments(model: Model, source: Recording, request: Request, *, declared: bool = False) -> Iterator[Part]:
    """One recording in stretches of time, each with the labels that sound in it, and its end; as `Model.follow`.

    `sonopsis.events.join_parts` makes events of them. The model must tell times. Raises AudioError and ModelError.
    """
    return model.follow(source, request, declared=declared, describe=partial(moments, model))


def moments(model: Model, pieces: Iterable[Window], request: Request) -> Iterator[WindowResult]:
    """The stretches of windows in the order of time; where two windows overlap, each answers up to the middle.

    A recording that is stopped by Ctrl-C ends with the last window that was heard.
    """

    def work(piece: Window) -> Timed:
        return Timed(piece.start, piece.end, stretches=stretches(model, piece, request))

    along = Along()
    try:
        for window in model.map_windows(work, pieces):
            yield from along.take(window)
    except KeyboardInterrupt:
        yield from along.end()
        raise
    yield from along.end()


def timed(model: Model, pieces: Iterable[Window], request: Request) -> Iterator[Timed]:
    """Windows as the model describes them, with their stretches; each is heard once. `Along` puts these together."""
    for piece in pieces:
        prompt = None if is_silent(piece.samples) else _heard(model, piece, request)
        window = model.describe_samples(piece.samples, request, prompt)
        place = {"start": piece.start, "end": piece.end}
        yield Timed(**vars(window) | place, stretches=stretches(model, piece, request, prompt))


@dataclass
class Along:
    """Takes windows in the order of time; one waits for the next, which says up to where it answers."""

    waiting: Timed | None = None
    begin: float = 0.0  # of what the window that waits answers for

    def take(self, window: Timed) -> Iterator[WindowResult]:
        """The stretches that are certain now that there is this window."""
        before, first, self.waiting = self.waiting, self.begin, window
        if before is None:
            self.begin = window.start
            return
        overlaps = window.start < before.end
        end = (before.end + window.start) / 2 if overlaps else before.end
        self.begin = end if overlaps else window.start
        yield from _between(before.stretches, first, end)

    def end(self) -> Iterator[WindowResult]:
        """Those of the last window."""
        if self.waiting is not None:
            yield from _between(self.waiting.stretches, self.begin, self.waiting.end)
            self.waiting = None


def stretches(model: Model, piece: Window, request: Request, prompt: Prompt | None = None) -> list[WindowResult]:
    """A window divided wherever one of its labels begins or ends; `prompt` is what the model heard, if it did."""
    if is_silent(piece.samples):
        return [WindowResult(piece.start, piece.end, [LabelScore(SILENCE, 1.0)], status="silence")]
    connector = model.folder.config.connector
    prompt = _heard(model, piece, request) if prompt is None else prompt
    if prompt.steps is None or connector is None:
        raise ValueError(f"{model.name} does not score its labels in time")
    pairs = model.shown(model.probabilities(prompt.logits[0]), request)
    places = [model.labels.index(pair.label) for pair in pairs]
    step = model.engine.config.stride[0] * connector.pool / FRAME_RATE  # s
    count = max(1, min(len(prompt.steps[0]), round((piece.end - piece.start) / step)))
    sounding = np.array([sounds(prompt.steps[0, :count, i]) for i in places], bool).reshape(len(places), count)
    changes = [0, *(np.flatnonzero((sounding[:, 1:] != sounding[:, :-1]).any(axis=0)) + 1).tolist(), count]
    found = []
    for first, last in pairwise(changes):
        labels = [pair for pair, sound in zip(pairs, sounding[:, first], strict=True) if sound]
        end = piece.end if last == count else piece.start + last * step
        found.append(WindowResult(piece.start + first * step, end, labels, status="heard" if labels else "unclear"))
    return found


def _heard(model: Model, piece: Window, request: Request) -> Prompt:
    """What the model hears in a window that is not silent."""
    rate = model.keep_rate if request.keep_rate is None else request.keep_rate
    return model.engine.prompt(mel_input(piece.samples, model.folder.mel), uniform(model.engine.config.depth, rate))


def sounds(track: NDArray[np.float32]) -> NDArray[np.bool_]:
    """In which time steps a label sounds, by its scores (t,): those near its highest one, short pauses bridged."""
    found = np.asarray(track >= RELATIVE * track.max())
    places = np.flatnonzero(found)
    for first, last in pairwise(places):
        if last - first <= BRIDGED + 1:
            found[first:last] = True
    return found


def _between(found: Iterable[WindowResult], begin: float, end: float) -> Iterator[WindowResult]:
    """What lies between two times, cut there."""
    for window in found:
        first, last = max(window.start, begin), min(window.end, end)
        if first < last:
            yield WindowResult(first, last, window.labels, status=window.status)
