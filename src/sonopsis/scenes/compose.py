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

from sonopsis.data.clips import Clip
from sonopsis.data.splits import Split
from sonopsis.ontology import former
from sonopsis.scenes.phrasing import captions, pick
from sonopsis.scenes.pool import SHORTEST_BED, Pool, excerpt, milliseconds, uniform
from sonopsis.scenes.scene import Event, Facts, Scene, SceneType, labels_of
from sonopsis.scenes.vocabulary import LEAVES

SHARES: dict[SceneType, float] = {"single": 0.15, "sequence": 0.35, "overlap": 0.2, "repeat": 0.15, "bed": 0.15}
SHORTEST_SCENE, LONGEST_SCENE = 4.0, 10.0  # seconds
SHORTEST_EXCERPT, LONGEST_EXCERPT = 0.5, 4.0
GAIN_DB = 10.0  # events lie within +-GAIN_DB of the common level ...
LOUDEST_GAP_DB = 10.0  # ... and within this of each other where they sound together, so that both can be heard
BED_DB = (-15.0, -5.0)
EVENT_OVER_BED_DB = 3.0
FLOOR_DBFS = (-70.0, -45.0)

HeldOut = Callable[[str, str], bool]  # whether two labels are kept from meeting

_DRUMS = {name for name, label in LEAVES.items() if label.broad == "drums"}
# Recordings of the first hold sounds of the second as well, so that "together" or "in the background" says nothing.
HOLDS = {
    "Music": _DRUMS | {"Guitar", "Keyboard (musical)", "Bass (instrument role)", "Orchestral instrument"},
    "Drum kit": _DRUMS - {"Drum kit"},
    "Crowd": {"Speech", "Shout", "Laughter", "Applause"},
}


def held_out_pair(a: str, b: str) -> bool:
    """Whether two labels are kept from meeting in training and validation scenes: a tenth of all pairs.

    The hash of their older names decides, so that a pair that was held out stays so.
    """
    digest = hashlib.sha256("|".join(sorted(map(former, (a, b)))).encode()).digest()
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
    pool = Pool(clips, split)
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
        noise_db = round(uniform(rng, *FLOOR_DBFS), 1)
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


def _single(pool: Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    event = _event(pool, rng, pick(rng, pool.leaves), LONGEST_EXCERPT)
    return _laid_out(rng, [event])


def _sequence(pool: Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    count = pick(rng, (2,) * 15 + (3,) * 4 + (4,))
    labels = _labels(pool, rng, [pool.leaves] * count, split, held_out)
    return _laid_out(rng, _in_turn(rng, [_event(pool, rng, label, _budget(count)) for label in labels]))


def _repeat(pool: Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    count = pick(rng, (2, 3, 3, 4))
    first = _event(pool, rng, pick(rng, pool.leaves), _budget(count))
    same = rng.random() < 0.5
    events = [first]
    for _ in range(count - 1):
        other = first if same else _event(pool, rng, first.label, _budget(count))
        gain_db = min(max(first.gain_db + uniform(rng, -2, 2), -GAIN_DB), GAIN_DB)
        events.append(replace(other, gain_db=round(gain_db, 1)))
    return _laid_out(rng, _in_turn(rng, events))


def _overlap(pool: Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    labels = _labels(pool, rng, [pool.leaves] * 2, split, held_out, together=True)
    first, second = (_event(pool, rng, label, LONGEST_EXCERPT) for label in labels)
    low, high = max(-GAIN_DB, first.gain_db - LOUDEST_GAP_DB), min(GAIN_DB, first.gain_db + LOUDEST_GAP_DB)
    gain_db = round(uniform(rng, low, high), 1)
    # Together for at least half of the shorter: the second begins before the first has less than that left.
    latest = first.span - 0.5 * min(first.span, second.span)
    onset = milliseconds(rng.random() * latest, math.floor)
    return _laid_out(rng, [first, replace(second, onset=onset, gain_db=gain_db)])


def _bed(pool: Pool, rng: random.Random, split: Split, held_out: HeldOut) -> _Layout:
    count = pick(rng, (1, 1, 2))
    *labels, bed_label = _labels(pool, rng, [*[pool.leaves] * count, pool.beds], split, held_out, together=True)
    events = _in_turn(rng, [_event(pool, rng, label, _budget(count)) for label in labels])
    clip = pool.draw(rng, bed_label, SHORTEST_BED)
    bed = _placed(clip, excerpt(clip, rng, LONGEST_SCENE, SHORTEST_BED), uniform(rng, *BED_DB))
    lowest = max(-GAIN_DB, bed.gain_db + EVENT_OVER_BED_DB)
    events = [replace(event, gain_db=round(uniform(rng, lowest, GAIN_DB), 1)) for event in events]
    return replace(_laid_out(rng, events), bed=bed)


_LAYOUTS: dict[SceneType, Callable[[Pool, random.Random, Split, HeldOut], _Layout]] = {
    "single": _single,
    "sequence": _sequence,
    "overlap": _overlap,
    "repeat": _repeat,
    "bed": _bed,
}


def _labels(
    pool: Pool,
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
        if not (together and any(b in HOLDS.get(a, ()) or a in HOLDS.get(b, ()) for a, b in pairs)):
            return labels
    raise ValueError(
        f"found no {len(choices)} labels of the {split!r} split that may occur in one scene; fetch more packages"
    )


def _event(pool: Pool, rng: random.Random, label: str, longest: float) -> Event:
    clip = pool.draw(rng, label)
    longest = uniform(rng, SHORTEST_EXCERPT, longest)
    return _placed(clip, excerpt(clip, rng, longest), uniform(rng, -GAIN_DB, GAIN_DB))


def _placed(clip: Clip, place: tuple[float, float], gain_db: float) -> Event:
    start, end = place
    return Event(clip.sha256, clip.path, start, end, clip.labels[0], onset=0.0, gain_db=round(gain_db, 1))


def _in_turn(rng: random.Random, events: Iterable[Event]) -> list[Event]:
    """The events one after another, with gaps of 0.1-0.6 s."""
    onset = 0.0
    placed = []
    for event in events:
        placed.append(replace(event, onset=milliseconds(onset)))
        onset += event.span + uniform(rng, 0.1, 0.6)
    return placed


def _laid_out(rng: random.Random, events: Sequence[Event]) -> _Layout:
    """A scene of 4-10 s with the events, as they stand to one another, at a random place in it."""
    used = max(event.onset + event.span for event in events)
    shortest = max(SHORTEST_SCENE, used + 0.1)
    duration = milliseconds(uniform(rng, shortest, min(LONGEST_SCENE, shortest + 3.0)))
    shift = milliseconds(rng.random() * (duration - used), math.floor)
    return _Layout(duration, tuple(replace(event, onset=milliseconds(event.onset + shift)) for event in events))


def _budget(count: int) -> float:
    """Longest excerpt when `count` of them follow one another in one scene."""
    return min(LONGEST_EXCERPT, (LONGEST_SCENE - 0.2 - 0.6 * (count - 1)) / count)
