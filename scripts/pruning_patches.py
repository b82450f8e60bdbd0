"""The part of docs/results-pruning.md about what dropped patches are, from the importance files in results/pruning/.

Intervals hold 95 %, from 1,000 draws of whole sources. "Low" and "high" are the ends of K-means clusters of a patch's
mean (intensity) or standard deviation (variation); sonopsis.study.importance says how patches are dropped and ranked.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pruning_figures import MODELS, TASKS, Points, Weights, counts, lost, read, right, weights_of

from sonopsis.study.bootstrap import draws, interval
from sonopsis.study.kendall import Pairs

CONTRASTED = ("general", "words")  # general sounds and speech, as in the paper
WORDS = {"mean": "intensity", "std": "variation"}
ABLATIONS = {
    "drop low mean": "without the patches of low intensity",
    "drop high mean": "without as many of high intensity",
    "drop low std": "without the patches of low variation",
    "drop high std": "without as many of high variation",
    "rank by attention": "ranked by attention (TopK)",
    "rank by intensity": "ranked by intensity",
    "rank by variation": "ranked by variation",
    "rank by random": "ranked at random",
}
INTRODUCTION = """\
*Intensity* is the mean of a patch, or of a column of 20 ms, and *variation* its standard deviation, both of
the log-Mel that the model reads. K-means divides the patches of all clips into five clusters of each, C1 the
lowest. TopK keeps half of the patches at each pruning block. The clips are a part of the test clips, the first
by a hash of their names."""
CORRELATIONS = """\
Kendall's rank correlation of the score with the cluster, over the patches that reach a block. *tau-b* is the
one to read. The paper counts every tie as agreement; *by chance* is what it would then say of a score that has
nothing to do with the clusters. Blocks with a star prune. *Attention* is that of the model that drops nothing: what
a patch that would be kept receives, over what a dropped one does."""
CLUSTERS = "The share of each cluster that is left after each pruning block."
ABLATED = """\
Low patches are those of C1 and C2; they are dropped at the first pruning block, and as many of the highest for
comparison. At least one patch of a clip is left, and no clip is skipped. Rankings keep half of the patches at
each pruning block."""
CLAIMS = """\
A claim *held* here when its figure is on the claimed side of 0 (of 1 for a ratio) with the whole interval, and
*did not hold* when the interval excludes it; a loss is excluded by an interval that allows at most 1 point.
Everything else cannot be told at this scale."""
Sums = NDArray[np.float64]


class Seen:
    """One importance file: figures of its patches with intervals over sources, and accuracy under its ablations."""

    def __init__(self, found: dict[str, Any], task: str) -> None:
        self.found = found
        self.weights: Weights = weights_of(found, task)
        self.hits = {name: right(found, top) for name, top in found["ablations"].items()}
        self.times = draws(list(found["seen"]), seed=list(TASKS).index(task))  # (R, sources)

    def change(self, own: str, other: str = "unpruned") -> Points:
        """The difference of accuracy between two ablations in points."""
        return Points.difference(self.hits[own], self.hits[other], self.weights)

    def sums(self, key: str) -> Sums:
        """What was seen in each source, (sources, ...)."""
        return np.array([seen[key] for seen in self.found["seen"].values()], dtype=np.float64)

    def figure(self, sums: Sums, make: Callable[[Sums], float]) -> tuple[float, float, float]:
        """What `make` says of the sums over sources, and the bounds of its interval."""
        drawn = np.tensordot(self.times.astype(np.float64), sums, axes=1)  # (R, ...)
        low, high = interval(np.array([make(sample) for sample in drawn])) or (float("nan"),) * 2
        return make(sums.sum(axis=0)), low, high

    def kendall(self, statistic: str, block: int, name: str) -> tuple[float, float, float]:
        """A variant of the rank correlation of score and cluster in a block."""
        pairs = self.sums("pairs")[:, list(WORDS).index(statistic), block]  # (sources, 5)
        return self.figure(pairs, lambda counts: float(getattr(Pairs(*map(int, counts)), name)))

    def attention(self, block: int) -> tuple[float, float, float]:
        """How many times as much attention a kept patch gets as a dropped one, in a model that drops nothing."""
        both = np.concatenate([self.sums("attention")[:, block], self.sums("patches")], axis=1)  # (sources, 4)
        return self.figure(both, lambda s: float(s[0] / s[2] / (s[1] / s[3])))

    def retained(self, statistic: str) -> Sums:
        """The share of each cluster that is left after each pruning block (stages, clusters)."""
        counts = self.sums("retained")[:, list(WORDS).index(statistic)].sum(axis=0)
        left: Sums = counts[1:] / np.maximum(counts[:1], 1)
        return left


def parts() -> list[str]:
    """The parts of the page, none without a file of results."""
    seen = {
        (model, task): Seen(found, task)
        for task in TASKS
        for model in MODELS
        if (found := read(f"importance-{model}-{task}")) is not None
    }
    if not seen:
        return []
    heard = "\n".join(f"- {name_of(key)}: {counts(one.found)}" for key, one in seen.items())
    return [
        f"## What the patches are\n\n{INTRODUCTION}\n\n{heard}",
        f"### Does attention follow intensity or variation?\n\n{CORRELATIONS}\n\n{correlations(seen)}",
        f"### What is left of each cluster\n\n{CLUSTERS}\n\n{clusters(seen)}",
        f"### Do the models need the patches?\n\n{ABLATED}\n\n{ablations(seen)}\n\n{contrasts(seen)}",
        f"### The claims of the paper\n\n{CLAIMS}\n\n{claims(seen)}",
    ]


def name_of(key: tuple[str, str]) -> str:
    """The model and the task in words."""
    return f"{MODELS[key[0]]}, {TASKS[key[1]]}"


def correlations(seen: dict[tuple[str, str], Seen]) -> str:
    """The table of rank correlations, and of attention of kept and dropped patches, by block."""
    lines = [
        "| model, task | block | intensity: tau-b (95 %) | tau-a | the paper's (by chance) | variation: tau-b (95 %) "
        "| tau-a | the paper's (by chance) | attention, kept over dropped (95 %) |",
        f"| --- |{' ---: |' * 8}",
    ]
    for key, one in seen.items():
        for block in range(len(one.sums("attention")[0])):
            cells = [name_of(key), str(block) + ("*" if block in one.found["blocks"] else "")]
            for statistic in WORDS:
                a, paper, chance = (one.kendall(statistic, block, name)[0] for name in ("tau_a", "paper", "tied_share"))
                cells += [between(one.kendall(statistic, block, "tau_b")), f"{a:.2f}", f"{paper:.2f} ({chance:.2f})"]
            lines.append(f"| {' | '.join([*cells, between(one.attention(block))])} |")
    return "\n".join(lines)


def clusters(seen: dict[tuple[str, str], Seen]) -> str:
    """The table of what each pruning block leaves of each cluster."""
    lines = [
        "| model, task | after block | intensity: C1 | C2 | C3 | C4 | C5 | variation: C1 | C2 | C3 | C4 | C5 |",
        f"| --- |{' ---: |' * 11}",
    ]
    for key, one in seen.items():
        shares = [one.found["clusters"]["shares"][statistic] for statistic in WORDS]
        cells = [f"{100 * share:.0f} %" for share in (*shares[0], *shares[1])]
        lines.append(f"| {name_of(key)} | share of all | {' | '.join(cells)} |")
        left = [one.retained(statistic) for statistic in WORDS]
        for number, block in enumerate(one.found["blocks"]):
            cells = [f"{100 * share:.0f} %" for part in left for share in part[number]]
            lines.append(f"| | {block} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ablations(seen: dict[tuple[str, str], Seen]) -> str:
    """The table of what accuracy is without patches, and with other rankings."""
    lines = [
        f"| change, points (95 %) | {' | '.join(map(name_of, seen))} |",
        f"| --- |{' ---: |' * len(seen)}",
    ]
    for name, text in ABLATIONS.items():
        cells = [one.change(name).signed() for one in seen.values()]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def contrasts(seen: dict[tuple[str, str], Seen]) -> str:
    """The contrast of the paper's first version as one number for each model; empty without both tasks."""
    lines = []
    for model in MODELS:
        if not all((model, task) in seen for task in CONTRASTED):
            continue
        for statistic, word in WORDS.items():
            contrast = contrast_of(seen, model, statistic)
            lines.append(
                f"- {MODELS[model]}, {word}: {contrast.signed()} points. Positive means that general sounds need low "
                "patches more than phrases do."
            )
    if not lines:
        return ""
    text = "Accuracy lost without low patches less that lost without high ones, general sounds less phrases:"
    return "\n".join([text, "", *lines])


def contrast_of(seen: dict[tuple[str, str], Seen], model: str, statistic: str) -> Points:
    """Accuracy lost by dropping low patches against as many high ones, general sounds less phrases."""
    general, words = (
        seen[model, task].change(f"drop high {statistic}", f"drop low {statistic}") for task in CONTRASTED
    )
    return general.less(words)


def claims(seen: dict[tuple[str, str], Seen]) -> str:
    """A sentence for each claim of the paper (arXiv 2504.01690) and what became of it."""
    said: list[tuple[str, list[tuple[str, str, str]]]] = []

    def each(text: str, tell: Callable[[Seen], tuple[str, str]]) -> None:
        said.append((text, [(name_of(key), *tell(one)) for key, one in seen.items()]))

    for statistic, word in WORDS.items():
        each(f"The attention score follows {word}", lambda one, s=statistic: followed(one, s))  # type: ignore[misc]
    each("Kept patches get more attention than dropped ones, in the last block", attended)
    for statistic, word in WORDS.items():
        each(
            f"Patches of low {word} matter: without them accuracy is lost",
            lambda one, s=statistic: told(one.change(f"drop low {s}")),  # type: ignore[misc]
        )
    for word in WORDS.values():
        each(
            f"Ranking by {word} instead of attention loses accuracy",
            lambda one, w=word: told(one.change(f"rank by {w}", "rank by attention")),  # type: ignore[misc]
        )
    contrast = [
        (MODELS[model], *positive(contrast_of(seen, model, "mean")))
        for model in MODELS
        if all((model, task) in seen for task in CONTRASTED)
    ]
    said.append(("Low intensity matters more to general sounds than to speech (first version of the paper)", contrast))
    lines = [
        f"- **{text}**: " + "; ".join(f"{who}: {what} ({figure})" for who, what, figure in cells) + "."
        for text, cells in said
        if cells
    ]
    lines.extend(self_supervised(seen))
    return "\n".join(lines)


def self_supervised(seen: dict[tuple[str, str], Seen]) -> list[str]:
    """A sentence on what encoders of one shape keep, from scratch and after masked pretraining; none without both."""
    cells = []
    for task in TASKS:
        if ("masked", task) in seen and ("scratch", task) in seen:
            ours, theirs = seen["masked", task], seen["scratch", task]
            assert ours.found["clips"] == theirs.found["clips"], "the same draws of sources must be the same clips"
            kept = kept_low(ours, "mean").less(kept_low(theirs, "mean"))
            cells.append(f"{TASKS[task]}: {positive(kept)[0]} ({positive(kept)[1]})")
    text = "A self-supervised encoder keeps more patches of low intensity than a supervised one"
    return [f"- **{text}**: {'; '.join(cells)}."] if cells else []


def kept_low(one: Seen, statistic: str) -> Points:
    """The share of low patches, of C1 and C2, that is left after the last pruning block."""
    counts = one.sums("retained")[:, list(WORDS).index(statistic)][:, [0, -1], :2].sum(axis=-1)  # (sources, 2)
    drawn = one.times @ counts  # (R, 2)
    whole, left = counts.sum(axis=0)
    return Points(float(left / whole), drawn[:, 1] / drawn[:, 0])


def followed(one: Seen, statistic: str) -> tuple[str, str]:
    """In how many pruning blocks tau-b is above 0, beyond its interval, and in how many below."""
    figures = [one.kendall(statistic, block, "tau_b") for block in one.found["blocks"]]
    above, below = sum(low > 0 for _, low, _ in figures), sum(high < 0 for _, _, high in figures)
    verdict = "held" if above == len(figures) else "did not hold" if below else "cannot be told"
    where = f"above 0 in {above} and below 0 in {below} of {len(figures)} pruning blocks"
    return verdict, f"{where}: tau-b " + ", ".join(f"{value:.2f}" for value, _, _ in figures)


def attended(one: Seen) -> tuple[str, str]:
    """Held when the ratio in the last block is above 1, beyond its interval."""
    ratio = one.attention(len(one.sums("attention")[0]) - 1)
    verdict = "held" if ratio[1] > 1 else "did not hold" if ratio[2] < 1 else "cannot be told"
    return verdict, f"{between(ratio)} times as much"


def told(change: Points) -> tuple[str, str]:
    """What a change tells of the claim that accuracy is lost."""
    return lost(change), f"{change.signed()} points"


def positive(change: Points) -> tuple[str, str]:
    """What a figure tells of the claim that it is positive."""
    verdict = "held" if change.low > 0 else "did not hold" if change.high < 0 else "cannot be told"
    return verdict, f"{change.signed()} points"


def between(figure: tuple[float, float, float]) -> str:
    """A figure with its interval."""
    return f"{figure[0]:.2f} ({figure[1]:.2f} to {figure[2]:.2f})"
