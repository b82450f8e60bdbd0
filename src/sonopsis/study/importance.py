"""Importance: what the patches are that pruning drops, and whether the model needs them."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonopsis.audio import AudioError
from sonopsis.encoder.trace import Trace
from sonopsis.model import Model
from sonopsis.pruning.config import Pruning, default_blocks, uniform
from sonopsis.study import plots
from sonopsis.study.bootstrap import draws, interval, mean_average_precisions, means
from sonopsis.study.clips import Clip, Clips, groups_of
from sonopsis.study.kendall import Pairs, count_pairs
from sonopsis.study.passes import Mel, Passes, Progress, about, each_clip, heading
from sonopsis.study.patches import (
    CLUSTERS,
    LOW,
    STATISTICS,
    Clusters,
    Values,
    lowest_first,
    observe,
    pooled,
    statistics,
)
from sonopsis.study.predictions import Lines, Table, packed
from sonopsis.study.variants import UNPRUNED

KEEP_RATE = 0.5  # at each pruning block, as in the paper's analysis
SAMPLE = 100_000  # patches that the clusters are made from, at most
OVERLAYS = 3  # clips that are drawn
WIDEST = 1000  # columns of a picture
RANKINGS = {"attention": None, "intensity": "mean", "variation": "std", "random": "random"}
# What is compared with what: each ablation with none, and those that drop equally many with each other.
COMPARED = (
    *((name, UNPRUNED) for name in ("drop low mean", "drop high mean", "drop low std", "drop high std")),
    *((f"rank by {name}", UNPRUNED) for name in RANKINGS),
    ("drop low mean", "drop high mean"),
    ("drop low std", "drop high std"),
    *((f"rank by {name}", "rank by attention") for name in ("intensity", "variation", "random")),
)
Overlay = dict[str, Any]  # "clip", and "pictures": addresses of images, the input first


def study(
    model: Model,
    clips: Clips,
    predictions: Path,
    *,
    keep_rate: float = KEEP_RATE,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """The figures of `sonopsis study importance` as JSON values; docs/study.md says what they mean.

    `predictions` is the file that a rerun continues. Raises ValueError when it belongs to another study.
    """
    passes = Passes(model)
    identity = {
        "study": "importance",
        "model": passes.fingerprint(),
        "clips": clips.digest,
        "keep_rate": keep_rate,
    }
    lines = Lines(predictions, identity, lambda: {"clusters": asdict(Clusters.of(sample_patches(passes, clips)))})
    clusters = Clusters(**lines.header["clusters"])
    present = clips.present

    def make(clip: Clip, mels: list[Mel]) -> dict[str, Any]:
        said = {}
        for name, choose in ablations(passes, clusters, keep_rate, zlib.crc32(clip.name.encode())).items():
            logits = np.stack([passes.run(mel, choose(mel))[0] for mel in mels])
            scores = model.probabilities(logits).mean(axis=0, dtype=np.float64)
            said[name] = {"top": int(scores.argmax()), "scores": packed(scores[present])}
        seen = [look(passes, clusters, mel, keep_rate) for mel in mels]
        sums = {key: pooled(window[key] for window in seen).tolist() for key in seen[0]}
        return {**about(clip), "windows": len(mels), "variants": said, "seen": sums}

    each_clip(model, clips, lines, make, progress)
    table = Table(lines, [UNPRUNED, *dict.fromkeys(name for name, _ in COMPARED)], present)
    _, groups = groups_of(table.clips)
    return {
        **heading("importance", model, clips, table),
        "notes": clips.notes,
        "keep_rate": keep_rate,
        "blocks": list(default_blocks(passes.config.depth)),
        "clusters": asdict(clusters),
        **_totals(lines),
        "unpruned": {"accuracy": float(table.right(UNPRUNED).mean())},
        "ablations": compare(table, groups),
    }


def sample_patches(passes: Passes, clips: Clips) -> Values:
    """Statistics of patches of all clips, at most SAMPLE of them, as many of each clip."""
    generator = np.random.RandomState(0)
    quota = max(1, SAMPLE // len(clips.clips))
    parts: dict[str, list[Any]] = {name: [] for name in STATISTICS}
    for clip in clips.clips:
        try:
            found = [statistics(mel, passes.config) for mel in clips.mels(passes.model, clip)]
        except AudioError:
            continue
        whole = {name: np.concatenate([part[name] for part in found]) for name in STATISTICS}
        chosen = generator.permutation(len(whole["mean"]))[:quota]
        for name in STATISTICS:
            parts[name].append(whole[name][chosen])
    if not parts["mean"]:
        raise ValueError("no clip could be read; check the paths of the manifest")
    return {name: np.concatenate(parts[name]) for name in STATISTICS}


def ablations(
    passes: Passes, clusters: Clusters, keep_rate: float, seed: int
) -> dict[str, Callable[[Mel], Pruning | None]]:
    """What each ablation does to a window.

    "drop low mean" drops the patches of the two lowest clusters of intensity at the first pruning block, and "drop high
    mean" as many of the highest; at least one patch is left, and no clip is skipped. "rank by" keeps the same share at
    the default blocks by another score.
    """
    depth, config = passes.config.depth, passes.config
    block = default_blocks(depth)[0]

    def dropping(statistic: str, *, low: bool) -> Callable[[Mel], Pruning | None]:
        def choose(mel: Mel) -> Pruning | None:
            numbers = clusters.numbers(statistic, statistics(mel, config)[statistic])
            lowest = int((numbers < LOW).sum())
            if not lowest:
                return None
            rate = max(len(numbers) - lowest, 1) / len(numbers)
            return Pruning({block: rate}, statistic if low else lowest_first(statistic, config))  # type: ignore[arg-type]

        return choose

    def ranking(score: Any) -> Callable[[Mel], Pruning | None]:
        pruning = uniform(depth, keep_rate, score)
        return lambda mel: None if pruning is None else replace(pruning, seed=seed)

    found: dict[str, Callable[[Mel], Pruning | None]] = {UNPRUNED: lambda mel: None}
    for statistic in STATISTICS:
        found[f"drop low {statistic}"] = dropping(statistic, low=True)
        found[f"drop high {statistic}"] = dropping(statistic, low=False)
    return found | {f"rank by {name}": ranking(score) for name, score in RANKINGS.items()}


def look(passes: Passes, clusters: Clusters, mel: Mel, keep_rate: float) -> dict[str, Any]:
    """What one window (1, T, M) adds to the sums of the study, in the order of statistics, blocks and stages."""
    encoder, config = passes.tagger.encoder, passes.config
    pruning = uniform(config.depth, keep_rate)
    values = statistics(mel, config)
    numbers = {name: clusters.numbers(name, values[name]) for name in STATISTICS}
    pruned, whole = observe(encoder, mel, pruning), observe(encoder, mel, None)
    every = np.arange(len(values["mean"]))
    stages = [every, *pruned.stages]
    kept = np.isin(every, stages[-1])
    # How many times the uniform share of attention a patch received, in a model that drops nothing.
    attention = [[s[kept].sum() * len(s) / s.sum(), s[~kept].sum() * len(s) / s.sum()] for s in whole.scores]
    return {
        "pairs": [
            [count_pairs(s, numbers[name][c]).counts for s, c in zip(pruned.scores, pruned.cells, strict=True)]
            for name in STATISTICS
        ],
        "retained": [
            [np.bincount(numbers[name][stage], minlength=CLUSTERS).tolist() for stage in stages] for name in STATISTICS
        ],
        "attention": [[round(float(part), 6) for part in block] for block in attention],
        "patches": [int(kept.sum()), int((~kept).sum())],
        "maps": [clusters.histogram(values, stage) for stage in (stages[0], stages[-1])],
    }


def compare(table: Table, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Paired differences of accuracy and mAP for the pairs of COMPARED, with 95 % intervals over groups."""
    weights, once = draws(groups), np.ones((1, len(groups)), dtype=np.int16)
    hits: dict[str, Any] = {}
    precisions: dict[str, Any] = {}
    whole: dict[str, tuple[float, float]] = {}
    for name in table.top:
        right, scores = table.right(name), table.scores(name)
        hits[name] = means(right, weights)
        precisions[name] = mean_average_precisions(table.targets, scores, weights)
        whole[name] = (float(right.mean()), float(mean_average_precisions(table.targets, scores, once)[0]))
    return [
        {
            "ablation": name,
            "against": other,
            "accuracy": whole[name][0],
            "accuracy_difference": whole[name][0] - whole[other][0],
            "accuracy_interval": interval(hits[name] - hits[other]),
            "map": whole[name][1],
            "map_difference": whole[name][1] - whole[other][1],
            "map_interval": interval(precisions[name] - precisions[other]),
        }
        for name, other in COMPARED
    ]


def _totals(lines: Lines) -> dict[str, Any]:
    """The sums over clips as figures."""
    sums: dict[str, Any] = {}
    for line in lines:
        for key, value in line.get("seen", {}).items():
            sums[key] = np.asarray(value) + sums.get(key, 0)
    kept, dropped = (max(int(count), 1) for count in sums["patches"])
    pairs = {
        name: [Pairs(*map(int, counts)) for counts in blocks]
        for name, blocks in zip(STATISTICS, sums["pairs"], strict=True)
    }
    return {
        "kendall": {
            name: [
                {name: _known(getattr(p, name)) for name in ("paper", "tied_share", "tau_a", "tau_b", "total")}
                for p in blocks
            ]
            for name, blocks in pairs.items()
        },
        "retained": {
            name: (counts / np.maximum(counts[:1], 1)).tolist()
            for name, counts in zip(STATISTICS, sums["retained"], strict=True)
        },
        "attention": [{"kept": float(k) / kept, "dropped": float(d) / dropped} for k, d in sums["attention"]],
        "maps": {name: values.tolist() for name, values in zip(("input", "survivors"), sums["maps"], strict=True)},
    }


def _known(figure: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(figure) else figure


@torch.inference_mode()
def overlays(model: Model, clips: Clips, keep_rate: float = KEEP_RATE, count: int = OVERLAYS) -> list[Overlay]:
    """Spectrograms of a few clips spread over the study: the input, and what each pruning block left of it."""
    encoder = Passes(model).tagger.encoder
    found: list[Overlay] = []
    for place in np.unique(np.linspace(0, len(clips.clips) - 1, count).astype(int)):
        clip = clips.clips[place]
        try:
            mel = clips.mels(model, clip)[0]
        except AudioError:
            continue
        tensor = torch.as_tensor(mel).to(next(encoder.parameters()))
        trace = Trace.of(encoder(tensor, uniform(encoder.config.depth, keep_rate)))
        whole = Trace(trace.grid, [np.ones(trace.grid, dtype=bool), *trace.stages])
        step = -(-mel.shape[1] // WIDEST)
        pictures = [plots.png(whole.drawn(mel[0], stage)[:, ::step]) for stage in range(len(whole.stages))]
        labels = ", ".join(model.labels[label] for label in clip.labels)
        found.append({"clip": clip.name, "labels": labels, "pictures": pictures, "counts": whole.counts})
    return found
