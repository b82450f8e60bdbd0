"""The part of docs/results-pruning.md about encoders that were trained for pruning, from the files
results/pruning/finetuned-*.json. scripts/pruning_training.py makes these."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pruning_figures import MODELS, NAMES, TASKS, Floats, Points, Results, read

from sonopsis.study.variants import Variant

TRAINED = (("whisper", "words"), ("whisper", "general"), ("scratch", "general"), ("masked", "general"))
SEEDS = range(5)
Key = tuple[str, float]  # a way to prune, and its keep rate
PARENT = "parent"  # the run of each fold that the others start from


class Averaged(Results):
    """One encoder on one task: how often each clip is right over the seeds that have a way to prune, and its cost."""

    def __init__(self, tables: Sequence[dict[str, Any]], task: str) -> None:
        self.parts = [Results(table, task) for table in tables]
        super().__init__(self.parts[0].found, task)
        keys = list(dict.fromkeys(key for part in self.parts for key in part.hits))
        self.hits = {key: mean_of(key, self.having(key)) for key in keys}
        self.macs = {key: self.having(key)[0].macs[key] for key in keys}
        self.rates = sorted((rate for arm, rate in keys if arm == "topk"), reverse=True)

    def having(self, *keys: Key) -> list[Results]:
        """The seeds that have all of these ways to prune."""
        return [part for part in self.parts if all(key in part.hits for key in keys)]

    def against(self, own: Key, other: Key = ("unpruned", 1.0)) -> Points | None:
        """The difference of two ways to prune in points, over the seeds that have both; None when none has."""
        parts = self.having(own, other)
        return Points.difference(mean_of(own, parts), mean_of(other, parts), self.weights) if parts else None


def mean_of(key: Key, parts: Sequence[Results]) -> Floats:
    """In which share of some seeds each clip is right under a way to prune."""
    mean: Floats = np.mean([part.hits[key] for part in parts], axis=0)
    return mean


def joined(found: dict[str, Any], *, parent: bool) -> dict[str, Any]:
    """A file of results as one table of all folds: what the parent says under each way to prune, or what the arms that
    every fold has say, of which "unpruned" is the parent after as many steps more. MACs are means over all clips."""
    folds = found["folds"]
    sizes = [len(fold["clips"]) for fold in folds]
    rows = []
    for run in folds[0]["runs"]:
        if parent != (run == PARENT) or not all(run in fold["runs"] for fold in folds):
            continue
        for name in folds[0]["runs"][run]:
            each = [fold["runs"][run][name] for fold in folds]
            arm, _, rate = name.partition("@")
            macs = np.average([one["macs"] for one in each], axis=0, weights=sizes).tolist()
            top = [best for one in each for best in one["top"]]
            rows.append({"arm": arm, "keep_rate": float(rate or 1), "macs": macs, "top": top})
    rows.sort(key=lambda row: (row["arm"] != "unpruned", -row["keep_rate"]))
    clips = [clip for fold in folds for clip in fold["clips"]]
    return {"labels": found["labels"], "of": len(clips), "clips": clips, "variants": rows}


@dataclass(frozen=True)
class Study:
    """One encoder on one task, as the page names them: after training for each way to prune, and its parent."""

    encoder: str
    task: str
    trained: Averaged
    parent: Averaged

    @property
    def name(self) -> str:
        """What the page calls the arms."""
        return f"{self.encoder} trained for pruning, {self.task}"

    @property
    def parent_name(self) -> str:
        """What the page calls the parent, which is pruned as it is."""
        return f"{self.encoder} fine-tuned without pruning, {self.task}"


def measured() -> list[Study]:
    """What was measured: the means of all seeds, as far as they are."""
    found = []
    for encoder, task in TRAINED:
        seeds = [one for seed in SEEDS if (one := read(f"finetuned-{encoder}-{task}-{seed}")) is not None]
        if begun := [one for one in seeds if all("unpruned" in fold["runs"] for fold in one["folds"])]:
            trained, parent = (Averaged([joined(one, parent=which) for one in begun], task) for which in (False, True))
            found.append(Study(MODELS[encoder], TASKS[task], trained, parent))
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


def part(study: Study) -> str:
    """The tables of one study, after a sentence on its parent."""
    parent = Points.share(study.parent.hits["unpruned", 1.0], study.parent.weights).plain()
    many = len(study.parent.parts)
    seeds = "one seed" if many == 1 else f"{many} seeds"
    return f"The parent of {seeds} has an accuracy of {parent}.\n\n{by_rate(study)}\n\n{at_equal_cost(study)}"


def gained(study: Study, key: Key) -> Points:
    """What training with a way to prune adds to the parent that is pruned so as it is."""
    pairs = zip(study.trained.parts, study.parent.parts, strict=True)
    trained, parent = zip(*[pair for pair in pairs if all(key in seed.hits for seed in pair)], strict=True)
    return Points.difference(mean_of(key, trained), mean_of(key, parent), study.trained.weights)


def by_rate(study: Study) -> str:
    """The table of TopK at every rate that was trained; differences are in points, and paired."""
    lines = [
        "| keep rate of TopK | executed MACs | reference MACs | accuracy, trained so (95 %) | change, points (95 %) "
        "| change of the parent as it is, points (95 %) | gained by the training, points (95 %) | seeds |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    trained, parent = study.trained, study.parent
    for key in [("unpruned", 1.0), *(("topk", rate) for rate in trained.rates)]:
        reference, executed = (f"{100 * share:.0f} %" for share in trained.macs[key])
        cells = [f"{key[1]:g}", executed, reference, Points.share(trained.hits[key], trained.weights).plain()]
        changes: list[Points | None] = (
            [None, None] if key[0] == "unpruned" else [trained.against(key), parent.against(key)]
        )
        changes.append(gained(study, key))
        cells += ["" if one is None else one.signed() for one in changes]
        lines.append(f"| {' | '.join(cells)} | {len(trained.having(key))} |")
    return "\n".join(lines)


def at_equal_cost(study: Study) -> str:
    """The table of all ways to prune at the rate at which several were trained."""
    trained, parent = study.trained, study.parent
    lines = []
    for rate in [rate for arm, rate in trained.hits if arm == "random"]:
        lines += [
            f"| at the cost of TopK at {rate:g} | executed MACs | accuracy (95 %) | change, points (95 %) "
            f"| against TopK, points (95 %) | the parent as it is: change, points (95 %) | seeds |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for way, name in NAMES.items():
            key = way, rate
            if key in trained.hits:
                other = None if way == "topk" else trained.against(key, ("topk", rate))
                cells = [name, f"{100 * trained.macs[key][1]:.0f} %"]
                cells.append(Points.share(trained.hits[key], trained.weights).plain())
                changes = trained.against(key), other, parent.against(key)
                cells += ["" if one is None else one.signed() for one in changes]
                lines.append(f"| {' | '.join(cells)} | {len(trained.having(key))} |")
    return "\n".join(lines)
