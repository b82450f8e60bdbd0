"""Write the tables of docs/results-pruning.md from the predictions in results/pruning/, which are in the repository.

    python scripts/pruning_results.py

What stands between `<!-- tables -->` and `<!-- end -->` is replaced. A test holds that the page is what this makes of
the predictions. scripts/pruning_study.py makes these.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.study.bootstrap import draws, interval, means

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "results-pruning.md"
RESULTS = ROOT / "results" / "pruning"
MODELS = {"default": "the bundled model", "whisper": "Whisper tiny.en, frozen, with a linear head"}
TASKS = {"general": "general sounds", "words": "spoken phrases"}
NAMES = {"unpruned": "no pruning", "topk": "TopK", "merge": "merge", "random": "random"}
Bools = NDArray[np.bool_]


def read(path: Path) -> dict[str, Any]:
    """A file of results."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def right(found: dict[str, Any], top: Sequence[int]) -> Bools:
    """Whether the best label of each clip (C,) is one of its own."""
    return np.array([best in labels for best, (_, _, labels) in zip(top, found["clips"], strict=True)])


def groups(found: dict[str, Any]) -> list[str]:
    """The source of each clip: whole sources are drawn anew for an interval."""
    return [source for _, source, _ in found["clips"]]


def counts(found: dict[str, Any]) -> str:
    """One line: how many clips of how many sources and labels."""
    labels = {label for _, _, own in found["clips"] for label in own}
    drawn = "all" if len(found["clips"]) == found["of"] else f"drawn from {found['of']}"
    sources = len(set(groups(found)))
    return f"{len(found['clips'])} test clips ({drawn}), {sources} sources, {len(labels)} labels."


def tradeoff(found: dict[str, Any]) -> str:
    """The table of one model on one task: a row for each way to prune, differences in points, paired."""
    weights = draws(groups(found))
    hits = {(v["arm"], v["keep_rate"]): right(found, v["top"]) for v in found["variants"]}
    base = found["variants"][0]
    lines = [
        "| way to prune | cost of TopK at | executed MACs | reference MACs | accuracy (95 %) | change, points (95 %) "
        "| against random, points (95 %) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for variant in found["variants"]:
        arm, rate = variant["arm"], variant["keep_rate"]
        own = hits[arm, rate]
        reference, executed = (
            f"{100 * mine / whole:.0f} %" for mine, whole in zip(variant["macs"], base["macs"], strict=True)
        )
        unpruned, random = hits[base["arm"], base["keep_rate"]], hits.get(("random", rate))
        change = "" if arm == "unpruned" else points(own, unpruned, weights)
        against = "" if random is None or arm in ("unpruned", "random") else points(own, random, weights)
        cells = [NAMES[arm], f"{rate:g}", executed, reference, share(own, weights), change, against]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def baseline(found: dict[str, Any], said: dict[str, str]) -> str:
    """One line: the accuracy of log-Mel statistics with a logistic regression, and what the model adds."""
    kept = [i for i, (path, _, _) in enumerate(found["clips"]) if path in said]
    weights = draws([groups(found)[i] for i in kept])
    own = right(found, found["variants"][0]["top"])[kept]
    clips = [found["clips"][i] for i in kept]
    theirs = np.array([said[path] in {found["labels"][label] for label in labels} for path, _, labels in clips])
    return (
        f"Mean, deviation and maximum of each log-Mel bin with a logistic regression: {share(theirs, weights)} on "
        f"{len(kept)} of these clips. The difference of the unpruned model is {points(own, theirs, weights)} points."
    )


def share(values: Bools, weights: NDArray[np.int16]) -> str:
    """A mean with its interval, in per cent."""
    low, high = interval(means(values, weights)) or (float("nan"),) * 2
    return f"{100 * values.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def points(own: Bools, other: Bools, weights: NDArray[np.int16]) -> str:
    """A paired difference with its interval, in points."""
    difference = own.astype(float) - other
    low, high = interval(means(difference, weights)) or (float("nan"),) * 2
    return f"{100 * difference.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def tables() -> str:
    """A part for each model and task whose predictions are there, and the commands that make the others."""
    parts, missing = [], []
    for task, what in TASKS.items():
        said = RESULTS / f"baseline-{task}.json"
        if not said.exists():
            missing.append(f"baseline {task}")
        for model, name in MODELS.items():
            path = RESULTS / f"tradeoff-{model}-{task}.json"
            if not path.exists():
                missing.append(f"{model} {task} WORK")
                continue
            found = read(path)
            lines = [counts(found), *([baseline(found, read(said))] if said.exists() else [])]
            parts.append(f"### {name}, {what}\n\n{' '.join(lines)}\n\n{tradeoff(found)}")
    if missing:
        commands = "\n".join(f"    python scripts/pruning_study.py {command}" for command in missing)
        parts.append(f"### Not measured yet\n\nThese commands make what is missing here:\n\n{commands}")
    return "\n\n".join(parts)


def filled(page: str) -> str:
    """The page with its tables made anew."""
    begin, end = "<!-- tables -->", "<!-- end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{tables()}\n\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
