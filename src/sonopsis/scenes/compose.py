"""Seeded scenes composed of real clips, whose captions are facts: what sounds, in which order, together or not.

`compose` decides everything and writes it down as a scene (a JSON row); `render` turns a scene into samples.  All
draws come from `random.Random.random` seeded with text, so that the same clips give the same scenes on every machine.
"""

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeVar

from sonopsis.scenes.files import Scene, freeze, read_scenes, write_scenes
from sonopsis.scenes.phrasing import captions, facts_of, pick
from sonopsis.scenes.render import render, with_activity
from sonopsis.scenes.vocabulary import BEDS, LEAVES

__all__ = ["BENCHMARK_VERSION", "Clips", "Scene", "compose", "freeze", "held_out_pair"]
__all__ += ["read_scenes", "render", "with_activity", "write_scenes"]

BENCHMARK_VERSION = 1
SHARES = {"single": 0.15, "sequence": 0.35, "overlap": 0.2, "repeat": 0.15, "bed": 0.15}
SHORTEST_SCENE, LONGEST_SCENE = 4.0, 10.0  # seconds
SHORTEST_EXCERPT, LONGEST_EXCERPT = 0.5, 4.0
SHORTEST_CLIP = 0.01  # shorter ones are not used
LONGEST_PAUSE = 1.0  # a longer one parts a clip into several events, of which one is used
SHORTEST_BED = 1.0  # shorter clips make no bed
CLIP_REACH = 30.0  # seconds; of a longer clip only the beginning is used
GAIN_DB = 10.0  # events lie within +-GAIN_DB of the common level ...
LOUDEST_GAP_DB = 10.0  # ... and within this of each other where they sound together, so that both can be heard
BED_DB = (-15.0, -5.0)
EVENT_OVER_BED_DB = 3.0
FLOOR_DBFS = (-70.0, -45.0)

Row = Mapping[str, Any]
T = TypeVar("T")

_DRUMS = {name for name, label in LEAVES.items() if label.broad == "drums"}
# Recordings of the first hold sounds of the second as well, so that "together" or "in the background" says nothing.
_HOLDS = {
    "music": _DRUMS | {"guitar", "keyboard instrument", "bass", "orchestral instrument"},
    "drum loop": _DRUMS - {"drum loop"},
}


class Clips:
    """The clips of one split by leaf, package and family; a clip is used when it has exactly one leaf label."""

    def __init__(self, rows: Iterable[Row], split: str) -> None:
        self.by_leaf: dict[str, dict[str, dict[str, list[Row]]]] = {}
        for row in sorted(rows, key=lambda row: (row["sha256"], row["start"])):
            if row["split"] != split or len(row["labels"]) != 1 or row["labels"][0] not in LEAVES:
                continue
            if _length(row) < SHORTEST_CLIP:
                continue
            sources = self.by_leaf.setdefault(row["labels"][0], {})
            sources.setdefault(row["source"], {}).setdefault(row["family"], []).append(row)
        self.leaves = sorted(self.by_leaf)
        self.beds = [leaf for leaf in BEDS if any(_length(row) >= SHORTEST_BED for row in self._rows(leaf))]

    def draw(self, rng: random.Random, leaf: str, shortest: float = 0.0) -> Row:
        """A clip of a leaf: the package first, then the family, then the clip, so that no session dominates."""
        for _ in range(20):
            families = pick(rng, list(self.by_leaf[leaf].values()))
            row = pick(rng, pick(rng, list(families.values())))
            if _length(row) >= shortest:
                return row
        return pick(rng, [row for row in self._rows(leaf) if _length(row) >= shortest])

    def _rows(self, leaf: str) -> list[Row]:
        families = [family for source in self.by_leaf.get(leaf, {}).values() for family in source.values()]
        return [row for family in families for row in family]


def held_out_pair(a: str, b: str) -> bool:
    """Whether two labels are kept from meeting in training and validation scenes: a tenth of all pairs, by hash."""
    digest = hashlib.sha256("|".join(sorted((a, b))).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10 == 0


def compose(
    clips: Sequence[Row],
    *,
    seed: int,
    count: int,
    split: str,
    shares: Mapping[str, float] = SHARES,
    held_out_pairs: Callable[[str, str], bool] = held_out_pair,
) -> Iterator[Scene]:
    """Yield `count` scenes of the manifest rows of a split; ValueError when they hold too few labels to compose from.

    Rows may carry "active" (`with_activity`); excerpts then begin where there is sound. Only test scenes hold pairs
    for which `held_out_pairs` is true, and are flagged `novel_pair`.
    """
    if set(shares) - set(SHARES) or not sum(shares.values()) > 0 or min(shares.values()) < 0:
        raise ValueError(f"shares must be non-negative weights of {', '.join(SHARES)}; got {dict(shares)}")
    pool = Clips(clips, split)
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
        scene: Scene = {"id": f"{split}-{seed}-{index:06d}", "split": split, "type": kind}
        scene |= _LAYOUTS[kind](pool, rng, split, held_out_pairs)
        scene["noise_db"] = round(_uniform(rng, *FLOOR_DBFS), 1)
        scene["novel_pair"] = any(held_out_pairs(a, b) for a, b in combinations(scene["labels"], 2))
        sentences = captions(facts_of(scene), rng, split)
        scene["captions"] = [sentence.text for sentence in sentences]
        scene["families"] = [sentence.family for sentence in sentences]
        yield scene


def _type_at(shares: Mapping[str, float], at: float) -> str:
    types = [name for name, share in shares.items() if share > 0]
    reached = 0.0
    for name in types:
        reached += shares[name] / sum(shares.values())
        if at < reached:
            return name
    return types[-1]


# Layouts: each returns duration, events, bed and labels of one scene type.


def _single(pool: Clips, rng: random.Random, split: str, held_out: Callable[[str, str], bool]) -> Scene:
    event = _event(pool, rng, pick(rng, pool.leaves), LONGEST_EXCERPT)
    return _laid_out(rng, [event])


def _sequence(pool: Clips, rng: random.Random, split: str, held_out: Callable[[str, str], bool]) -> Scene:
    count = pick(rng, (2,) * 15 + (3,) * 4 + (4,))
    labels = _labels(pool, rng, [pool.leaves] * count, split, held_out)
    return _laid_out(rng, _in_turn(rng, [_event(pool, rng, label, _budget(count)) for label in labels]))


def _repeat(pool: Clips, rng: random.Random, split: str, held_out: Callable[[str, str], bool]) -> Scene:
    count = pick(rng, (2, 3, 3, 4))
    first = _event(pool, rng, pick(rng, pool.leaves), _budget(count))
    same = rng.random() < 0.5
    events = [first]
    for _ in range(count - 1):
        other = dict(first) if same else _event(pool, rng, first["label"], _budget(count))
        gain_db = min(max(first["gain_db"] + _uniform(rng, -2, 2), -GAIN_DB), GAIN_DB)
        events.append(other | {"gain_db": round(gain_db, 1)})
    return _laid_out(rng, _in_turn(rng, events)) | {"labels": [first["label"]]}


def _overlap(pool: Clips, rng: random.Random, split: str, held_out: Callable[[str, str], bool]) -> Scene:
    labels = _labels(pool, rng, [pool.leaves] * 2, split, held_out, together=True)
    first, second = (_event(pool, rng, label, LONGEST_EXCERPT) for label in labels)
    low, high = max(-GAIN_DB, first["gain_db"] - LOUDEST_GAP_DB), min(GAIN_DB, first["gain_db"] + LOUDEST_GAP_DB)
    second["gain_db"] = round(_uniform(rng, low, high), 1)
    # Together for at least half of the shorter: the second begins before the first has less than that left.
    latest = _span(first) - 0.5 * min(_span(first), _span(second))
    second["onset"] = _milliseconds(rng.random() * latest, math.floor)
    return _laid_out(rng, [first, second])


def _bed(pool: Clips, rng: random.Random, split: str, held_out: Callable[[str, str], bool]) -> Scene:
    count = pick(rng, (1, 1, 2))
    *labels, bed_label = _labels(pool, rng, [*[pool.leaves] * count, pool.beds], split, held_out, together=True)
    events = _in_turn(rng, [_event(pool, rng, label, _budget(count)) for label in labels])
    row = pool.draw(rng, bed_label, SHORTEST_BED)
    bed = _placed(row, _excerpt(row, rng, LONGEST_SCENE, SHORTEST_BED), _uniform(rng, *BED_DB))
    for event in events:
        event["gain_db"] = round(_uniform(rng, max(-GAIN_DB, bed["gain_db"] + EVENT_OVER_BED_DB), GAIN_DB), 1)
    return _laid_out(rng, events) | {"bed": bed, "labels": [*labels, bed_label]}


_LAYOUTS = {"single": _single, "sequence": _sequence, "overlap": _overlap, "repeat": _repeat, "bed": _bed}


def _labels(
    pool: Clips,
    rng: random.Random,
    choices: Sequence[Sequence[str]],
    split: str,
    held_out: Callable[[str, str], bool],
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
    raise ValueError(f"found no {len(choices)} labels of the {split!r} split that may meet; fetch more packages")


def _event(pool: Clips, rng: random.Random, label: str, longest: float) -> dict[str, Any]:
    row = pool.draw(rng, label)
    longest = _uniform(rng, SHORTEST_EXCERPT, longest)
    return _placed(row, _excerpt(row, rng, longest), _uniform(rng, -GAIN_DB, GAIN_DB))


def _placed(row: Row, excerpt: tuple[float, float], gain_db: float) -> dict[str, Any]:
    start, end = excerpt
    place = {"sha256": row["sha256"], "path": row["path"], "start": start, "end": end, "label": row["labels"][0]}
    return place | {"onset": 0.0, "gain_db": round(gain_db, 1)}


def _excerpt(row: Row, rng: random.Random, longest: float, shortest: float = SHORTEST_CLIP) -> tuple[float, float]:
    """Start and end in the clip, in s: an unbroken passage, or a part of it that begins with sound."""
    passages = [passage for passage in _passages(row) if passage[-1][1] - passage[0][0] >= shortest]
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


def _passages(row: Row) -> list[list[tuple[float, float]]]:
    """The stretches of a clip that sound, those that no long pause parts together: one event, not two."""
    reach = row["start"] + CLIP_REACH
    passages: list[list[tuple[float, float]]] = []
    for start, end in row.get("active", [[row["start"], row["end"]]]):
        if start >= reach:
            break
        if not passages or start - passages[-1][-1][1] > LONGEST_PAUSE:
            passages.append([])
        passages[-1].append((start, min(end, reach)))
    return passages


def _in_turn(rng: random.Random, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events one after another, with gaps of 0.1-0.6 s."""
    onset = 0.0
    for event in events:
        event["onset"] = _milliseconds(onset)
        onset += _span(event) + _uniform(rng, 0.1, 0.6)
    return events


def _laid_out(rng: random.Random, events: list[dict[str, Any]]) -> Scene:
    """A scene of 4-10 s with the events, as they stand to one another, at a random place in it."""
    used = max(event["onset"] + _span(event) for event in events)
    shortest = max(SHORTEST_SCENE, used + 0.1)
    duration = _milliseconds(_uniform(rng, shortest, min(LONGEST_SCENE, shortest + 3.0)))
    shift = _milliseconds(rng.random() * (duration - used), math.floor)
    for event in events:
        event["onset"] = _milliseconds(event["onset"] + shift)
    return {"duration": duration, "events": events, "bed": None, "labels": [event["label"] for event in events]}


def _budget(count: int) -> float:
    """Longest excerpt when `count` of them follow one another in one scene."""
    return min(LONGEST_EXCERPT, (LONGEST_SCENE - 0.2 - 0.6 * (count - 1)) / count)


def _span(event: Row) -> float:
    return float(event["end"] - event["start"])


def _length(row: Row) -> float:
    return max((passage[-1][1] - passage[0][0] for passage in _passages(row)), default=0.0)


def _uniform(rng: random.Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _milliseconds(seconds: float, rounding: Callable[[float], int] = round) -> float:
    return rounding(seconds * 1000) / 1000
