"""Seeded scenes composed of real clips, whose captions are facts: what sounds, in which order, together or not.

`compose` decides everything and writes it down as a scene; `scenes.render` turns a scene into samples.  All draws
come from `random.Random.random` seeded with text, so that the same clips give the same scenes on every machine.
"""

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

from sonopsis.data.clips import CLIP_REACH, Clip
from sonopsis.data.splits import Split
from sonopsis.scenes.phrasing import captions, pick
from sonopsis.scenes.scene import Event, Facts, Scene, SceneType, labels_of
from sonopsis.scenes.vocabulary import BEDS, LEAVES

SHARES: dict[SceneType, float] = {"single": 0.15, "sequence": 0.35, "overlap": 0.2, "repeat": 0.15, "bed": 0.15}
SHORTEST_SCENE, LONGEST_SCENE = 4.0, 10.0  # seconds
SHORTEST_EXCERPT, LONGEST_EXCERPT = 0.5, 4.0
SHORTEST_CLIP = 0.01  # shorter ones are not used
LONGEST_PAUSE = 1.0  # a longer one parts a clip into several events, of which one is used
SHORTEST_BED = 1.0  # shorter clips make no bed
GAIN_DB = 10.0  # events lie within +-GAIN_DB of the common level ...
LOUDEST_GAP_DB = 10.0  # ... and within this of each other where they sound together, so that both can be heard
BED_DB = (-15.0, -5.0)
EVENT_OVER_BED_DB = 3.0
FLOOR_DBFS = (-70.0, -45.0)

HeldOut = Callable[[str, str], bool]  # whether two labels are kept from meeting
T = TypeVar("T")

_DRUMS = {name for name, label in LEAVES.items() if label.broad == "drums"}
# Recordings of the first hold sounds of the second as well, so that "together" or "in the background" says nothing.
_HOLDS = {
    "music": _DRUMS | {"guitar", "keyboard instrument", "bass", "orchestral instrument"},
    "drum loop": _DRUMS - {"drum loop"},
}


class _Pool:
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
        self.leaves = sorted(self.by_leaf)
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


def held_out_pair(a: str, b: str) -> bool:
    """Whether two labels are kept from meeting in training and validation scenes: a tenth of all pairs, by hash."""
    digest = hashlib.sha256("|".join(sorted((a, b))).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10 == 0


def compose(
    clips: Sequence[Clip],
    *,
    seed: int,
    count: int,
    split: Split,
    shares: Mapping[SceneType, float] = SHARES,
    held_out_pairs: HeldOut = held_out_pair,
) -> Iterator[Scene]:
    """Yield `count` scenes of the clips of a split; ValueError when they hold too few labels to compose from.

    Excerpts begin where their clips sound.  Only test scenes hold pairs for which `held_out_pairs` is true; those are
    flagged `novel_pair`.
    """
    if set(shares) - set(SHARES) or not sum(shares.values()) > 0 or min(shares.values()) < 0:
        raise ValueError(f"shares must be non-negative weights of {', '.join(SHARES)}; got {dict(shares)}")
    pool = _Pool(clips, split)
    if len(pool.leaves) < 5:
        raise ValueError(
            f"the {split!r} split has single-label clips of {len(pool.leaves)} labels; scenes need at least 5: "
            "fetch more packages, or check the manifest's split column"
        )
    if not pool.beds:
        shares = {name: share for name, share in shares.items() if name != "bed"}
    offset = random.Random(f"{seed}/{split}/types").random()
    for index in range(count):
        # Multiples of the golden ratio spread evenly: any run of scenes holds the types in their shares.
        kind = _type_at(shares, (offset + index * 0.6180339887498949) % 1.0)
        rng = random.Random(f"{seed}/{split}/{index}")
        layout = _LAYOUTS[kind](pool, rng, split, held_out_pairs)
        noise_db = round(_uniform(rng, *FLOOR_DBFS), 1)
        sentences = captions(Facts(kind, layout.labels, len(layout.events)), rng, split)
        yield Scene(
            id=f"{split}-{seed}-{index:06d}",
            split=split,
            type=kind,
            duration=layout.duration,
            events=layout.events,
            bed=layout.bed,
            noise_db=noise_db,
            novel_pair=any(held_out_pairs(a, b) for a, b in combinations(layout.labels, 2)),
            captions=tuple(sentence.text for sentence in sentences),
            families=tuple(sentence.family for sentence in sentences),
        )


def _type_at(shares: Mapping[SceneType, float], at: float) -> SceneType:
    types = [name for name, share in shares.items() if share > 0]
    reached = 0.0
    for name in types:
        reached += shares[name] / sum(shares.values())
        if at < reached:
            return name
    return types[-1]


@dataclass(frozen=True)
class _Layout:
    """What sounds in a scene, and when."""

    duration: float
    events: tuple[Event, ...]
    bed: Event | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return labels_of(self.events, self.bed)


# Each of the following lays out a scene of one type.


def _single(pool: _Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    event = _event(pool, rng, pick(rng, pool.leaves), LONGEST_EXCERPT)
    return _laid_out(rng, [event])


def _sequence(pool: _Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    count = pick(rng, (2,) * 15 + (3,) * 4 + (4,))
    labels = _labels(pool, rng, [pool.leaves] * count, split, held_out)
    return _laid_out(rng, _in_turn(rng, [_event(pool, rng, label, _budget(count)) for label in labels]))


def _repeat(pool: _Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    count = pick(rng, (2, 3, 3, 4))
    first = _event(pool, rng, pick(rng, pool.leaves), _budget(count))
    same = rng.random() < 0.5
    events = [first]
    for _ in range(count - 1):
        other = first if same else _event(pool, rng, first.label, _budget(count))
        gain_db = min(max(first.gain_db + _uniform(rng, -2, 2), -GAIN_DB), GAIN_DB)
        events.append(replace(other, gain_db=round(gain_db, 1)))
    return _laid_out(rng, _in_turn(rng, events))


def _overlap(pool: _Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    labels = _labels(pool, rng, [pool.leaves] * 2, split, held_out, together=True)
    first, second = (_event(pool, rng, label, LONGEST_EXCERPT) for label in labels)
    low, high = max(-GAIN_DB, first.gain_db - LOUDEST_GAP_DB), min(GAIN_DB, first.gain_db + LOUDEST_GAP_DB)
    gain_db = round(_uniform(rng, low, high), 1)
    # Together for at least half of the shorter: the second begins before the first has less than that left.
    latest = first.span - 0.5 * min(first.span, second.span)
    onset = _milliseconds(rng.random() * latest, math.floor)
    return _laid_out(rng, [first, replace(second, onset=onset, gain_db=gain_db)])


def _bed(pool: _Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    count = pick(rng, (1, 1, 2))
    *labels, bed_label = _labels(pool, rng, [*[pool.leaves] * count, pool.beds], split, held_out, together=True)
    events = _in_turn(rng, [_event(pool, rng, label, _budget(count)) for label in labels])
    clip = pool.draw(rng, bed_label, SHORTEST_BED)
    bed = _placed(clip, _excerpt(clip, rng, LONGEST_SCENE, SHORTEST_BED), _uniform(rng, *BED_DB))
    lowest = max(-GAIN_DB, bed.gain_db + EVENT_OVER_BED_DB)
    events = [replace(event, gain_db=round(_uniform(rng, lowest, GAIN_DB), 1)) for event in events]
    return replace(_laid_out(rng, events), bed=bed)


_LAYOUTS: dict[SceneType, Callable[[_Pool, random.Random, Split, HeldOut], _Layout]] = {
    "single": _single,
    "sequence": _sequence,
    "overlap": _overlap,
    "repeat": _repeat,
    "bed": _bed,
}


def _labels(
    pool: _Pool,
    rng: random.Random,
    choices: Sequence[Sequence[str]],
    split: Split,
    held_out: HeldOut,
    together: bool = False,
) -> list[str]:
    """Different labels, one of each of `choices`, that may meet in this split."""
    for _ in range(1000):
        labels = [pick(rng, leaves) for leaves in choices]
        pairs = list(combinations(labels, 2))
        if len(set(labels)) < len(labels) or (split != "test" and any(held_out(a, b) for a, b in pairs)):
            continue
        if not (together and any(b in _HOLDS.get(a, ()) or a in _HOLDS.get(b, ()) for a, b in pairs)):
            return labels
    raise ValueError(
        f"found no {len(choices)} labels of the {split!r} split that may occur in one scene; fetch more packages"
    )


def _event(pool: _Pool, rng: random.Random, label: str, longest: float) -> Event:
    clip = pool.draw(rng, label)
    longest = _uniform(rng, SHORTEST_EXCERPT, longest)
    return _placed(clip, _excerpt(clip, rng, longest), _uniform(rng, -GAIN_DB, GAIN_DB))


def _placed(clip: Clip, excerpt: tuple[float, float], gain_db: float) -> Event:
    start, end = excerpt
    return Event(clip.sha256, clip.path, start, end, clip.labels[0], onset=0.0, gain_db=round(gain_db, 1))


def _excerpt(clip: Clip, rng: random.Random, longest: float, shortest: float = SHORTEST_CLIP) -> tuple[float, float]:
    """Start and end in the clip, in s: an unbroken passage, or a part of it that begins with sound."""
    passages = [passage for passage in _passages(clip) if passage[-1][1] - passage[0][0] >= shortest]
    stretches = _drawn_by_length(rng, [(passage[0][0], passage[-1][1], passage) for passage in passages])[2]
    start, last = stretches[0][0], stretches[-1][1]
    if last - start > longest:
        latest = last - longest
        a, b, _ = _drawn_by_length(rng, [(a, min(b, latest), None) for a, b in stretches if a <= latest])
        start = _uniform(rng, a, b)
        last = start + longest
    return _milliseconds(start, math.floor), _milliseconds(last, math.floor)


def _drawn_by_length(rng: random.Random, spans: Sequence[tuple[float, float, T]]) -> tuple[float, float, T]:
    at = rng.random() * sum(end - start for start, end, _ in spans)
    for span in spans:
        at -= span[1] - span[0]
        if at < 0:
            return span
    return spans[-1]


def _passages(clip: Clip) -> list[list[tuple[float, float]]]:
    """The stretches of a clip that sound, those that no long pause parts together: one event, not two."""
    reach = clip.start + CLIP_REACH
    passages: list[list[tuple[float, float]]] = []
    for start, end in clip.active:
        if start >= reach:
            break
        if not passages or start - passages[-1][-1][1] > LONGEST_PAUSE:
            passages.append([])
        passages[-1].append((start, min(end, reach)))
    return passages


def _in_turn(rng: random.Random, events: Iterable[Event]) -> list[Event]:
    """The events one after another, with gaps of 0.1-0.6 s."""
    onset = 0.0
    placed = []
    for event in events:
        placed.append(replace(event, onset=_milliseconds(onset)))
        onset += event.span + _uniform(rng, 0.1, 0.6)
    return placed


def _laid_out(rng: random.Random, events: Sequence[Event]) -> _Layout:
    """A scene of 4-10 s with the events, as they stand to one another, at a random place in it."""
    used = max(event.onset + event.span for event in events)
    shortest = max(SHORTEST_SCENE, used + 0.1)
    duration = _milliseconds(_uniform(rng, shortest, min(LONGEST_SCENE, shortest + 3.0)))
    shift = _milliseconds(rng.random() * (duration - used), math.floor)
    return _Layout(duration, tuple(replace(event, onset=_milliseconds(event.onset + shift)) for event in events))


def _budget(count: int) -> float:
    """Longest excerpt when `count` of them follow one another in one scene."""
    return min(LONGEST_EXCERPT, (LONGEST_SCENE - 0.2 - 0.6 * (count - 1)) / count)


def _length(clip: Clip) -> float:
    return max((passage[-1][1] - passage[0][0] for passage in _passages(clip)), default=0.0)


def _uniform(rng: random.Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _milliseconds(seconds: float, rounding: Callable[[float], int] = round) -> float:
    return rounding(seconds * 1000) / 1000
