"""The clips that scenes are composed of: drawn evenly, and cut to excerpts that begin with sound."""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sonopsis.data.clips import CLIP_REACH, Clip
from sonopsis.data.splits import Split
from sonopsis.ontology import former
from sonopsis.scenes.phrasing import pick
from sonopsis.scenes.vocabulary import BEDS, LEAVES

SHORTEST_CLIP = 0.01  # seconds; shorter clips are not used
LONGEST_PAUSE = 1.0  # seconds; a longer pause divides a clip into several events, and one of them is used
SHORTEST_BED = 1.0  # seconds; shorter clips cannot be a bed

T = TypeVar("T")


class Pool:
    """The clips of one split by leaf, package and family; a clip is used when it has exactly one leaf label."""

    def __init__(self, clips: Iterable[Clip], split: Split) -> None:
        self.by_leaf: dict[str, dict[str, dict[str, list[Clip]]]] = {}
        for clip in sorted(clips, key=lambda clip: (clip.sha256, clip.start)):
            if clip.split != split or len(clip.labels) != 1 or clip.labels[0] not in LEAVES:
                continue
            if _length(clip) < SHORTEST_CLIP:
                continue
            sources = self.by_leaf.setdefault(clip.labels[0], {})
            sources.setdefault(clip.source, {}).setdefault(clip.family, []).append(clip)
        self.leaves = sorted(self.by_leaf, key=former)  # the order of version 1, so that draws stay what they were
        self.beds = [leaf for leaf in BEDS if any(_length(clip) >= SHORTEST_BED for clip in self._of(leaf))]

    def draw(self, rng: random.Random, leaf: str, shortest: float = 0.0) -> Clip:
        """A clip of a leaf: the package first, then the family, then the clip, so that no session dominates."""
        for _ in range(20):
            families = pick(rng, list(self.by_leaf[leaf].values()))
            clip = pick(rng, pick(rng, list(families.values())))
            if _length(clip) >= shortest:
                return clip
        return pick(rng, [clip for clip in self._of(leaf) if _length(clip) >= shortest])

    def _of(self, leaf: str) -> list[Clip]:
        families = [family for source in self.by_leaf.get(leaf, {}).values() for family in source.values()]
        return [clip for family in families for clip in family]


def excerpt(clip: Clip, rng: random.Random, longest: float, shortest: float = SHORTEST_CLIP) -> tuple[float, float]:
    """Start and end in the clip, in s: an unbroken passage, or a part of it that begins with sound.

    The excerpt lasts at most `longest` s, and is of a passage of at least `shortest` s, which the clip must have.
    """
    passages = [passage for passage in _passages(clip) if passage[-1][1] - passage[0][0] >= shortest]
    stretches = _drawn_by_length(rng, [(passage[0][0], passage[-1][1], passage) for passage in passages])[2]
    start, last = stretches[0][0], stretches[-1][1]
    if last - start > longest:
        latest = last - longest
        a, b, _ = _drawn_by_length(rng, [(a, min(b, latest), None) for a, b in stretches if a <= latest])
        start = uniform(rng, a, b)
        last = start + longest
    return milliseconds(start, math.floor), milliseconds(last, math.floor)


def _drawn_by_length(rng: random.Random, spans: Sequence[tuple[float, float, T]]) -> tuple[float, float, T]:
    at = rng.random() * sum(end - start for start, end, _ in spans)
    for span in spans:
        at -= span[1] - span[0]
        if at < 0:
            return span
    return spans[-1]


def _passages(clip: Clip) -> list[list[tuple[float, float]]]:
    """The stretches of a clip that sound, in groups that a long pause divides: each group is one event."""
    reach = clip.start + CLIP_REACH
    passages: list[list[tuple[float, float]]] = []
    for start, end in clip.active:
        if start >= reach:
            break
        if not passages or start - passages[-1][-1][1] > LONGEST_PAUSE:
            passages.append([])
        passages[-1].append((start, min(end, reach)))
    return passages


def _length(clip: Clip) -> float:
    return max((passage[-1][1] - passage[0][0] for passage in _passages(clip)), default=0.0)


def uniform(rng: random.Random, low: float, high: float) -> float:
    """A number between low and high; drawn from `rng.random()` alone, as `pick` does."""
    return low + (high - low) * rng.random()


def milliseconds(seconds: float, rounding: Callable[[float], int] = round) -> float:
    """Seconds rounded to whole milliseconds."""
    return rounding(seconds * 1000) / 1000
