"""Captions against the facts of composed scenes: are the events named, in their order, and nothing else?

What a caption names is read from its words by the published table (`sonopsis.scenes.words`), so that no model judges.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.metrics.captioning import bleu, cider_d, rouge_l
from sonopsis.scenes.scene import Scene
from sonopsis.scenes.vocabulary import broad_of
from sonopsis.scenes.words import WORDS_VERSION, parse

RESAMPLES = 1000


def event_f1(scenes: Sequence[Scene], captions: Sequence[str], *, broad: bool = False) -> float:
    """Micro F1 of the events named, 0-1, over multisets of leaf labels (or of their broad classes)."""
    return float(event_f1_of(event_counts(scenes, captions, broad).sum(axis=0)))


def order_accuracy(scenes: Sequence[Scene], captions: Sequence[str]) -> float | None:
    """Share of the two-event sequences whose caption names both events, in their order; None without such scenes."""
    return _mean(_order(scenes, captions))


def hallucination_rate(scenes: Sequence[Scene], captions: Sequence[str]) -> float:
    """Share of the captions that name a leaf label that does not sound in their scene."""
    return float(np.mean(_hallucinated(scenes, captions)))


def score_captions(
    scenes: Sequence[Scene], captions: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """All figures of captions of scenes, overall, in "by_type" for each scene type, and in "novel_pair".

    event_f1_leaf, event_f1_broad, order_accuracy, order_named (the same share of those captions that name both events),
    nothing_named (share of captions without a label), hallucination_rate, bleu_1 ... bleu_4 and rouge_l are 0-1,
    cider_d is 0-10; "intervals" holds 95 % bootstrap intervals [low, high] over scenes. A figure without scenes to
    compute it on is None. CIDEr-D takes the rarity of words from all scenes, also in the parts. ValueError when
    captions are missing.
    """
    if len(scenes) != len(captions) or not scenes:
        raise ValueError(
            f"give one caption for each scene, and at least one; got {len(captions)} for {len(scenes)} scenes"
        )
    references = [scene.captions for scene in scenes]
    per_scene = {
        "leaf": event_counts(scenes, captions, broad=False),
        "broad": event_counts(scenes, captions, broad=True),
        "order": _order(scenes, captions),
        "order_named": _order_named(scenes, captions),
        "nothing": np.array([not parse(caption) for caption in captions], dtype=np.float64),
        "hallucinated": _hallucinated(scenes, captions),
        "cider_d": np.array(cider_d(captions, references)),
        "rouge_l": np.array(rouge_l(captions, references)),
    }

    def part(chosen: Iterable[int]) -> dict[str, Any]:
        rows = np.fromiter(chosen, dtype=np.int64)
        figures = _figures({name: values[rows] for name, values in per_scene.items()}, resamples, seed)
        scores = bleu([captions[i] for i in rows], [references[i] for i in rows])
        return figures | {f"bleu_{n}": score for n, score in enumerate(scores, 1)}

    types = dict.fromkeys(scene.type for scene in scenes)
    novel = [i for i, scene in enumerate(scenes) if scene.novel_pair]
    return part(range(len(scenes))) | {
        "words_version": WORDS_VERSION,
        "by_type": {name: part(i for i, scene in enumerate(scenes) if scene.type == name) for name in types},
        "novel_pair": part(novel) if novel else None,
    }


def _figures(values: Mapping[str, NDArray[np.float64]], resamples: int, seed: int) -> dict[str, Any]:
    count = len(values["leaf"])
    # RandomState: the one NumPy generator whose stream is promised never to change.
    draws = np.random.RandomState(seed).randint(0, count, size=(resamples, count))  # (resamples, scenes)
    leaf, broad = (event_f1_of(values[name][draws].sum(axis=1)) for name in ("leaf", "broad"))
    means = {"order_accuracy": "order", "order_named": "order_named", "hallucination_rate": "hallucinated"}
    means |= {"nothing_named": "nothing", "cider_d": "cider_d"}
    intervals: dict[str, list[float] | None] = {"event_f1_leaf": _interval(leaf), "event_f1_broad": _interval(broad)}
    for figure, name in means.items():
        known = values[name][~np.isnan(values[name])]
        drawn = np.random.RandomState(seed).randint(0, max(len(known), 1), size=(resamples, len(known)))
        intervals[figure] = _interval(known[drawn].mean(axis=1)) if len(known) else None
    return {
        "scenes": count,
        "event_f1_leaf": float(event_f1_of(values["leaf"].sum(axis=0))),
        "event_f1_broad": float(event_f1_of(values["broad"].sum(axis=0))),
        **{figure: _mean(values[name]) for figure, name in means.items()},
        "rouge_l": _mean(values["rouge_l"]),
        "intervals": intervals,
    }


def event_counts(scenes: Sequence[Scene], captions: Sequence[str], broad: bool = False) -> NDArray[np.float64]:
    """Of each scene (scenes, 3): events named rightly, events named, events that sound."""
    counts = np.zeros((len(scenes), 3))
    for i, (scene, caption) in enumerate(zip(scenes, captions, strict=True)):
        named, true = parse(caption), list(scene.labels)
        if broad:
            named, true = [broad_of(name) for name in named], [broad_of(name) for name in true]
        counts[i] = (Counter(named) & Counter(true)).total(), len(named), len(true)
    return counts


def event_f1_of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of counts (..., 3); 0 where nothing was named and nothing sounds."""
    right, named, true = np.moveaxis(counts, -1, 0)
    return np.asarray(2 * right / np.maximum(named + true, 1))


def _order(scenes: Sequence[Scene], captions: Sequence[str]) -> NDArray[np.float64]:
    """(scenes,): 1 for a two-event sequence told in order, 0 for one that is not, NaN for other scenes."""
    right = np.full(len(scenes), np.nan)
    for i, (scene, caption) in enumerate(zip(scenes, captions, strict=True)):
        if scene.type == "sequence" and len(scene.labels) == 2:
            first, second = scene.labels
            named = parse(caption)
            right[i] = first in named and second in named and named.index(first) < named.index(second)
    return right


def _order_named(scenes: Sequence[Scene], captions: Sequence[str]) -> NDArray[np.float64]:
    """`_order` where the caption names both events, NaN elsewhere."""
    both = [set(scene.labels) <= set(parse(caption)) for scene, caption in zip(scenes, captions, strict=True)]
    return np.where(both, _order(scenes, captions), np.nan)


def _hallucinated(scenes: Sequence[Scene], captions: Sequence[str]) -> NDArray[np.float64]:
    pairs = zip(scenes, captions, strict=True)
    return np.array([bool(set(parse(caption)) - set(scene.labels)) for scene, caption in pairs], dtype=np.float64)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _interval(drawn: NDArray[np.float64]) -> list[float]:
    return [float(bound) for bound in np.percentile(drawn, [2.5, 97.5])]
