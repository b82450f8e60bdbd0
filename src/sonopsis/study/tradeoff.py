"""The trade-off: what each way to prune saves and what it costs in accuracy, with no training at all."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.bench.timing import Variant as Timed
from sonopsis.bench.timing import measure
from sonopsis.model import Model
from sonopsis.study.bootstrap import draws, interval, mean_average_precisions, means
from sonopsis.study.clips import Clips, groups_of
from sonopsis.study.passes import Mel, Passes, Progress, each_clip, heading, sample_windows
from sonopsis.study.predictions import Lines, Table
from sonopsis.study.variants import ARMS, NO_PRUNING, RATES, UNPRUNED, Variant, plan

SAMPLE = 12  # windows on which rates of equal cost are found
ROUNDS = 5  # of the timing
POINT = 0.01  # what the summary allows to lose


def study(
    model: Model,
    clips: Clips,
    predictions: Path,
    *,
    rates: Sequence[float] = RATES,
    rounds: int = ROUNDS,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """The figures of `sonopsis study pruning` as JSON values; docs/study.md says what they mean.

    `predictions` is the file that a rerun continues. Raises ValueError when it belongs to another study.
    """
    passes = Passes(model)
    identity = {"study": "pruning", "model": passes.fingerprint(), "clips": clips.digest, "rates": list(rates)}

    def settings() -> dict[str, Any]:
        windows = sample_windows(model, clips, SAMPLE)

        def survivors(variant: Variant) -> list[list[int]]:
            pruning = variant.pruning(passes.config.depth, 0)
            return [passes.run(mel, pruning)[1] for mel in windows]

        variants, notes = plan(passes.costs, [mel.shape[1] for mel in windows], survivors, rates)
        return {"variants": [variant.to_dict() for variant in variants], "notes": notes}

    lines = Lines(predictions, identity, settings)
    variants = [Variant(**fields) for fields in lines.header["variants"]]
    present = clips.present
    each_clip(model, clips, lines, lambda clip, mels: passes.clip(clip, mels, variants, present), progress)
    table = Table(lines, [variant.name for variant in variants], present)
    _, groups = groups_of(table.clips)
    return {
        **heading("pruning", model, clips, table),
        "notes": [*clips.notes, *lines.header["notes"]],
        "arms": {arm.name: arm.text for arm in ARMS},
        "rows": rows(table, variants, groups),
        "speed": speed(passes, variants, _longest(sample_windows(model, clips, SAMPLE)), rounds),
    }


def rows(table: Table, variants: Sequence[Variant], groups: Sequence[str]) -> list[dict[str, Any]]:
    """Figures of every variant: cost, accuracy, mAP, and their differences to no pruning and to TopK at equal cost.

    Intervals hold 95 %; the same resamples of the same clips serve all variants, so differences are paired.
    """
    weights = draws(groups)
    hits: dict[str, NDArray[np.float64]] = {}
    precisions: dict[str, NDArray[np.float64]] = {}
    figures: dict[str, tuple[float, float]] = {}
    once = np.ones((1, len(groups)), dtype=np.int16)
    for variant in variants:
        right, scores = table.right(variant.name), table.scores(variant.name)
        hits[variant.name] = means(right, weights)
        precisions[variant.name] = mean_average_precisions(table.targets, scores, weights)
        whole = mean_average_precisions(table.targets, scores, once)
        figures[variant.name] = (float(right.mean()), float(whole[0]))
    found = []
    base = NO_PRUNING.name
    for variant in variants:
        name, topk = variant.name, f"topk@{variant.keep_rate:g}"
        row = {
            "arm": variant.arm,
            "keep_rate": variant.keep_rate,
            "rate": variant.rate,
            "reference_gmacs": float(table.reference[name].mean()),
            "executed_gmacs": float(table.executed[name].mean()),
            "executed_share": float(table.executed[name].sum() / table.executed[base].sum()),
            "accuracy": figures[name][0],
            "accuracy_interval": interval(hits[name]),
            "map": figures[name][1],
            "map_interval": interval(precisions[name]),
        }
        for against, other in (("unpruned", base), ("topk", topk)):
            if other in hits and other != name:
                row[f"accuracy_minus_{against}"] = figures[name][0] - figures[other][0]
                row[f"accuracy_minus_{against}_interval"] = interval(hits[name] - hits[other])
                row[f"map_minus_{against}"] = figures[name][1] - figures[other][1]
                row[f"map_minus_{against}_interval"] = interval(precisions[name] - precisions[other])
        found.append(row)
    return found


def cheapest(rows: Sequence[dict[str, Any]], arm: str, figure: str = "accuracy") -> dict[str, Any] | None:
    """The cheapest row of an arm that loses at most one point of a figure, None if every one loses more."""
    fits = [row for row in rows if row["arm"] == arm and row[f"{figure}_minus_unpruned"] >= -POINT - 1e-12]
    return min(fits, key=lambda row: float(row["executed_share"]), default=None)


def speed(passes: Passes, variants: Sequence[Variant], mel: Mel, rounds: int) -> dict[str, Any]:
    """Wall-clock times of all variants on one window (1, T, M), interleaved, after one round that does not count."""
    timed = [
        Timed(variant.name, "torch", "float32", variant.rate, partial(_work, passes, variant, mel))
        for variant in variants
    ]
    found = {done.variant.name: done.quantile(0.5) for done in measure(timed, rounds=rounds, isolated=False)}
    base = found[UNPRUNED]
    return {
        "frames": mel.shape[1],
        "rounds": rounds,
        "median_ms": found,
        "ratio": {name: base / value for name, value in found.items()},
    }


def _work(passes: Passes, variant: Variant, mel: Mel) -> Any:
    pruning = variant.pruning(passes.config.depth, 0)
    return lambda: passes.run(mel, pruning)


def _longest(mels: Sequence[Mel]) -> Mel:
    return max(mels, key=lambda mel: mel.shape[1])
