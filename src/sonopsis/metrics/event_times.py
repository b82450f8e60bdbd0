"""When events begin and end, against the facts of composed scenes: event-based F1 with a collar.

The convention is that of sed_eval and of the DCASE challenges (Mesaros et al., "Metrics for polyphonic sound event
detection", 2016, section 4): an event that was found is right if one with its label begins within the collar of its
onset, and ends within the collar, or within a share of its length if that is longer, of its offset. Each event is used
once, and the pairs are chosen so that as many as possible are right. Counts are added up over all scenes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonopsis.scenes.scene import Scene

OFFSET_SHARE = 0.2  # of the length of an event, by which its offset may be wrong
ROUNDING = 1e-9  # seconds; a difference that is exactly the collar is right
RESAMPLES = 1000


class Timed(NamedTuple):
    """An event: its label, onset and offset in seconds."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class TimeScores:
    """Figures from 0 to 1 at one collar (s): F1, precision and recall of onsets with offsets, F1 of onsets alone; and
    the 95 % bootstrap interval of F1 over scenes."""

    collar: float
    f1: float
    precision: float
    recall: float
    onset_f1: float
    interval: tuple[float, float]


def events_of(scene: Scene) -> list[Timed]:
    """The events of a scene, and its bed as an event from its beginning to its end."""
    found = [Timed(e.label, e.onset, min(e.onset + e.span, scene.duration)) for e in scene.events]
    return found if scene.bed is None else [*found, Timed(scene.bed.label, 0.0, scene.duration)]


def score_times(references: Sequence[Sequence[Timed]], founds: Sequence[Sequence[Timed]], collar: float) -> TimeScores:
    """The figures of what was found in recordings, beside what is there; ValueError when there is not one for each."""
    if len(references) != len(founds) or not references:
        raise ValueError(f"give what was found in each of {len(references)} recordings, not in {len(founds)}")
    counts = np.array(
        [
            (matched(true, found, collar), matched(true, found, collar, offsets=False), len(found), len(true))
            for true, found in zip(references, founds, strict=True)
        ],
        np.float64,
    )  # (scenes, 4)
    # RandomState: the one NumPy generator whose stream is promised never to change.
    draws = np.random.RandomState(0).randint(0, len(counts), size=(RESAMPLES, len(counts)))
    low, high = np.percentile(_f1(counts[draws].sum(axis=1))[0], [2.5, 97.5])
    right, _, found, true = total = counts.sum(axis=0)
    f1, onset_f1 = _f1(total)
    return TimeScores(
        collar,
        float(f1),
        float(right / max(found, 1)),
        float(right / max(true, 1)),
        float(onset_f1),
        (float(low), float(high)),
    )


def matched(reference: Iterable[Timed], found: Iterable[Timed], collar: float, *, offsets: bool = True) -> int:
    """How many events of one recording are found, each of both sides used once, as many as possible.

    Without `offsets`, onsets alone count.
    """
    total = 0
    by_label: dict[str, tuple[list[Timed], list[Timed]]] = {}
    for side, events in enumerate((reference, found)):
        for event in events:
            by_label.setdefault(event.label, ([], []))[side].append(event)
    for true, heard in by_label.values():
        fits = [[place for place, event in enumerate(heard) if _fits(one, event, collar, offsets)] for one in true]
        total += _most_pairs(fits)
    return total


def _fits(true: Timed, found: Timed, collar: float, offsets: bool) -> bool:
    slack = max(collar, OFFSET_SHARE * (true.end - true.start))
    ends = not offsets or abs(true.end - found.end) <= slack + ROUNDING
    return ends and abs(true.start - found.start) <= collar + ROUNDING


def _most_pairs(fits: Sequence[Sequence[int]]) -> int:
    """The size of a maximum matching, by augmenting paths (Kuhn, 1955); `fits` has the partners of each."""
    partner: dict[int, int] = {}

    def place(one: int, seen: set[int]) -> bool:
        for other in fits[one]:
            if other not in seen:
                seen.add(other)
                if other not in partner or place(partner[other], seen):
                    partner[other] = one
                    return True
        return False

    return sum(place(one, set()) for one in range(len(fits)))


def _f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 (2, ...) of onsets with offsets and of onsets alone, of counts (..., 4)."""
    right, onsets, found, true = np.moveaxis(counts, -1, 0)
    return 2 * np.stack([right, onsets]) / np.maximum(found + true, 1)
