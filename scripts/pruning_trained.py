"""The part of docs/results-pruning.md about encoders that were trained for pruning, from the files
results/pruning/finetuned-*.json. scripts/pruning_training.py makes these."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pruning_figures import MODELS, TASKS, Points, Results, read

from sonopsis.study.variants import Variant

WAYS = {"topk": "TopK", "random": "random", "merge": "merge", "fuse": "fuse"}
TRAINED = (("whisper", "words"),)  # encoders and tasks
SEEDS = range(3)
UNTRAINED = " untrained"  # behind the name of a way to prune: tried on the parent as it is
PARENT = "parent", 1.0


class Trained(Results):
    """One encoder on one task: how often each clip is right over the seeds, and what that costs.

    "unpruned" is the parent after as many steps more as the arms have, and "parent" the parent itself.
    """

    def __init__(self, seeds: Sequence[dict[str, Any]], task: str) -> None:
        parts = [Results(joined(found), task) for found in seeds]
        super().__init__(parts[0].found, task)
        self.seeds = len(parts)
        self.hits = {
            key: np.mean([part.hits[key] for part in parts], axis=0)
            for key in self.hits
            if all(key in part.hits for part in parts)
        }
        self.rates = [rate for arm, rate in self.hits if arm == "topk"]


def joined(found: dict[str, Any]) -> dict[str, Any]:
    """A file of results as one table of all folds, of what was measured in each: the arms, and behind them what the
    parent said. MACs are means over all clips."""
    folds = found["folds"]
    sizes = [len(fold["clips"]) for fold in folds]
    rows = []
    for run in folds[0]["runs"]:
        if not all(run in fold["runs"] for fold in folds):
            continue
        for name in folds[0]["runs"][run]:
            each = [fold["runs"][run][name] for fold in folds]
            arm, _, rate = name.partition("@")
            if run == PARENT[0]:
                arm = f"{arm}{UNTRAINED}" if rate else run
            macs = np.average([one["macs"] for one in each], axis=0, weights=sizes).tolist()
            top = [best for one in each for best in one["top"]]
            rows.append({"arm": arm, "keep_rate": float(rate or 1), "macs": macs, "top": top})
    rows.sort(key=lambda row: (row["arm"] != "unpruned", -row["keep_rate"]))
    clips = [clip for fold in folds for clip in fold["clips"]]
    return {"labels": found["labels"], "of": len(clips), "clips": clips, "variants": rows}


def measured() -> dict[str, Results]:
    """What was measured, by encoder and task as the page names them: the mean of the seeds that are done, or the first
    seed as far as it is."""
    found: dict[str, Results] = {}
    for encoder, task in TRAINED:
        seeds = [one for seed in SEEDS if (one := read(f"finetuned-{encoder}-{task}-{seed}")) is not None]
        begun = [one for one in seeds if all("unpruned" in fold["runs"] for fold in one["folds"])]
        if begun:
            used = [one for one in seeds if done(one)] or begun[:1]
            found[f"{MODELS[encoder]} trained for pruning, {TASKS[task]}"] = Trained(used, task)
    return found


def done(found: dict[str, Any]) -> bool:
    """Whether a file of results has every arm in every fold."""
    return all(
        fold["variants"] and all(Variant(**one).name in fold["runs"] for one in fold["variants"])
        for fold in found["folds"]
    )


def missing() -> list[str]:
    """The commands for seeds that are not there or not done."""
    return [
        f"pruning_study.py finetune {encoder} {task} WORK {seed}"
        for encoder, task in TRAINED
        for seed in SEEDS
        if (found := read(f"finetuned-{encoder}-{task}-{seed}")) is None or not done(found)
    ]


def part(results: Results) -> str:
    """The tables of one encoder and task, after a sentence on seeds."""
    assert isinstance(results, Trained)
    seeds = "One seed" if results.seeds == 1 else f"Means over {results.seeds} seeds"
    parent = Points.share(results.hits[PARENT], results.weights)
    return f"{seeds}; the parent has an accuracy of {parent.plain()}.\n\n{by_rate(results)}\n\n{at_equal_cost(results)}"


def by_rate(results: Trained) -> str:
    """The table of TopK at every rate that was trained; differences are in points, and paired."""
    lines = [
        "| keep rate of TopK | executed MACs | reference MACs | accuracy, trained so (95 %) | change, points (95 %) "
        "| change of the parent as it is, points (95 %) | gained by the training, points (95 %) |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    whole = results.hits["unpruned", 1.0].astype(float)
    parent = results.hits[PARENT].astype(float)
    for key in [("unpruned", 1.0), *(("topk", rate) for rate in results.rates)]:
        reference, executed = (f"{100 * share:.0f} %" for share in results.macs[key])
        cells = [f"{key[1]:g}", executed, reference, Points.share(results.hits[key], results.weights).plain()]
        if key[0] == "unpruned":
            cells += ["", ""]
            gained = Points.difference(whole, parent, results.weights)
        else:
            untrained = results.hits[f"topk{UNTRAINED}", key[1]].astype(float)
            cells += [
                Points.difference(results.hits[key], whole, results.weights).signed(),
                Points.difference(untrained, parent, results.weights).signed(),
            ]
            gained = Points.difference(results.hits[key], untrained, results.weights)
        lines.append(f"| {' | '.join([*cells, gained.signed()])} |")
    return "\n".join(lines)


def at_equal_cost(results: Trained) -> str:
    """The table of all ways to prune at the rate at which several were trained."""
    rates = [rate for arm, rate in results.hits if arm == "random"]
    lines = []
    for rate in rates:
        lines += [
            f"| at the cost of TopK at {rate:g} | executed MACs | accuracy (95 %) | change, points (95 %) "
            f"| against TopK, points (95 %) | the parent as it is: change, points (95 %) |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for way, name in WAYS.items():
            if (way, rate) not in results.hits:
                continue
            own, other = results.against((way, rate)), results.against((way, rate), ("topk", rate))
            untrained = results.against((f"{way}{UNTRAINED}", rate), PARENT)
            cells = [name, f"{100 * results.macs[way, rate][1]:.0f} %"]
            cells.append(Points.share(results.hits[way, rate], results.weights).plain())
            cells += ["" if one is None else one.signed() for one in (own, None if way == "topk" else other, untrained)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
