"""Windows into events: what one window after the other calls by the same label becomes one row with onset and offset.

windows   |-------|             each window answers for its own stretch: up to the middle of an overlap
              |-------|
                  |-------|
stretches |-----|---|-----|
Dog          x    x             one event over the first two stretches, with the higher score
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sonopsis.results import FileResult, LabelScore, Part, WindowResult

TOUCH = 1e-6  # seconds that two windows may be apart and still touch


def join_windows(windows: Iterable[WindowResult]) -> Iterator[WindowResult]:
    """The events of one recording's windows, by onset: each has one label, its highest score, onset and offset in s.

    An event comes when it has ended, and all that began before it. Silence is no event, and what is unclear is none.
    """
    joiner = Joiner()
    for window in windows:
        yield from joiner.take(window)
    yield from joiner.end()


def join_parts(parts: Iterable[Part]) -> Iterator[Part]:
    """`join_windows` of each recording of a run."""
    joiner, head = Joiner(), None
    try:
        for part in parts:
            if part.window is not None:
                head = part.result
                yield from (Part(head, event) for event in joiner.take(part.window))
                continue
            if part.result.error is None:
                yield from (Part(head or part.result, event) for event in joiner.end())
            yield part
            joiner, head = Joiner(), None
    except KeyboardInterrupt:
        yield from _rest(joiner, head)
        raise


def _rest(joiner: "Joiner", head: FileResult | None) -> Iterator[Part]:
    """The events that had not ended when the run was stopped."""
    if head is not None:
        yield from (Part(head, event) for event in joiner.end())


@dataclass
class _Event:
    start: float
    end: float
    best: LabelScore


@dataclass
class Joiner:
    """Takes windows in the order of time; one waits for the next, which says where its stretch ends."""

    waiting: WindowResult | None = None
    start: float = 0.0  # of the stretch of the window that waits
    sounding: dict[str, _Event] = field(default_factory=dict)  # by label, until it is missing from a window
    ended: list[tuple[float, float, str, LabelScore]] = field(default_factory=list)  # a heap, by onset

    def take(self, window: WindowResult) -> Iterator[WindowResult]:
        """The events that are certain now that there is this window."""
        before, self.waiting = self.waiting, window
        if before is None:
            self.start = window.start
            return
        gap = window.start > before.end + TOUCH
        middle = window.start if gap else (before.end + window.start) / 2
        self._hear(before, before.end if gap else middle)
        if gap:
            self._stop(list(self.sounding))
        self.start = middle
        yield from self._certain()

    def end(self) -> Iterator[WindowResult]:
        """The events that the end of the recording ends."""
        if self.waiting is not None:
            self._hear(self.waiting, self.waiting.end)
            self.waiting = None
        self._stop(list(self.sounding))
        yield from self._certain()

    def _hear(self, window: WindowResult, end: float) -> None:
        """Extend, begin and end events by what a window says of its stretch from `start` to `end`."""
        heard = {} if window.status == "silence" else {pair.label: pair for pair in window.labels or []}
        self._stop([label for label in self.sounding if label not in heard])
        for label, pair in heard.items():
            event = self.sounding.setdefault(label, _Event(self.start, end, pair))
            event.end = end
            event.best = max(event.best, pair, key=lambda found: found.score)

    def _stop(self, labels: list[str]) -> None:
        for label in labels:
            event = self.sounding.pop(label)
            heapq.heappush(self.ended, (event.start, event.end, label, event.best))

    def _certain(self) -> Iterator[WindowResult]:
        """Ended events that no event can come before any more."""
        first = min((event.start for event in self.sounding.values()), default=self.start)
        while self.ended and (self.waiting is None or self.ended[0][0] <= first):
            start, end, _, best = heapq.heappop(self.ended)
            yield WindowResult(start, end, [best])
