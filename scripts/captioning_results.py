"""Write the tables and the picture of docs/results-captioning.md from the runs in results/captioning/.

    python scripts/captioning_results.py

What stands between `<!-- NAME -->` and `<!-- end -->` is replaced, and docs/results-captioning.svg is drawn anew. A
test holds that both are what this makes of the runs. scripts/captioning_study.py makes these.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from captioning_arms import ARMS, CHOICE
from numpy.typing import NDArray

from sonopsis.metrics.captioning import CiderD
from sonopsis.metrics.events import event_counts, event_f1_of
from sonopsis.scenes.benchmark import load_benchmark
from sonopsis.scenes.scene import Scene
from sonopsis.study.bootstrap import Floats, draws, interval

ROOT = Path(__file__).parent.parent
PAGE, PICTURE = ROOT / "docs" / "results-captioning.md", ROOT / "docs" / "results-captioning.svg"
RESULTS = ROOT / "results" / "captioning"
SEEDS = 3  # that every arm should have
NAMES = {
    "keep-1.0": "no pruning",
    "keep-0.7": "keep rate 0.7",
    "keep-0.5": "keep rate 0.5",
    "keep-0.4": "keep rate 0.4",
    "concat": "concat",
    "time-major": "time-major, all patches",
    "frequency-major": "frequency-major, all patches",
    "pool-2": "concat, time steps pooled by 2",
    "pruned-frequency-0.7": "frequency-major, pruned at 0.7",
    "pruned-frequency-0.5": "frequency-major, pruned at 0.5",
    "lora-0": "language model frozen",
    "lora-2": "adapters of rank 2",
    "lora-32": "adapters of rank 32",
    "full": "language model trained whole",
    "reduction-1": "one vector for a time step",
    "reduction-4": "4 time steps in one vector",
    "reduction-8": "8 time steps in one vector",
    "scratch-96": "width 96, 2 blocks",
    "scratch-192": "width 192, 4 blocks",
    "scratch-288": "width 288, 4 blocks",
    "llama-192": "Llama, width 192, 3 blocks",
    "llama-256": "Llama, width 256, 4 blocks",
    "smollm2-8": "SmolLM2-135M, adapters of rank 8",
    "smollm2-32": "SmolLM2-135M, adapters of rank 32",
    "short-frozen": "encoder frozen",
    "short-from-6": "its last two blocks trained",
    "short-joint": "encoder trained jointly",
    "plain": "vectors alone",
    "plain-scan": "Mamba-2 in both directions",
    "plain-rows": "means over frequency",
    "plain-resampler": "resampler with 20 queries",
    "plain-expand-2": "two vectors for a time step",
    "plain-expand-8": "eight vectors for a time step",
    "ear-tiny": "Whisper tiny.en",
    "ear-base": "Whisper base",
    "ear-default": "Whisper tiny.en, trained to tag",
    "ear-tiny-blocks": "Whisper tiny.en, all four blocks",
    "ear-tiny-base": "Whisper tiny.en and base",
    "ear-default-blocks": "Whisper tiny.en, trained to tag, all four blocks",
    "ear-masked": "pretrained with masks, last block",
    "ear-masked-blocks": "pretrained with masks, four of eight blocks",
    "base-8": "read text, adapters of rank 8",
    "base-0": "read text, frozen",
    "base-2": "read text, adapters of rank 2",
    "base-32": "read text, adapters of rank 32",
    "base-128": "read text, adapters of rank 128",
    "base-full": "read text, trained whole",
    "scratch-384": "from scratch, trained whole",
}


@dataclass(frozen=True)
class Claim:
    """One table: its arms, of which the first is what the others are compared with."""

    arms: tuple[str, ...]
    columns: tuple[str, ...]


CLAIMS = {
    "pruning": Claim(("keep-1.0", "keep-0.7", "keep-0.5", "keep-0.4"), ("macs", "prefix")),
    "connector": Claim(
        ("concat", "time-major", "frequency-major", "pool-2", "pruned-frequency-0.7", "pruned-frequency-0.5"),
        ("macs", "prefix"),
    ),
    "adapters": Claim(("concat", "lora-0", "lora-2", "lora-32", "full"), ("trained", "share")),
    "base": Claim(
        ("base-8", "base-0", "base-2", "base-32", "base-128", "base-full", "scratch-384"), ("trained", "share")
    ),
    "size": Claim(("scratch-192", "scratch-96", "scratch-288"), ("size",)),
    "rivals": Claim(("scratch-192", "llama-192", "llama-256", "smollm2-8", "smollm2-32"), ("size", "trained", "steps")),
    "prefix": Claim(("keep-1.0", "reduction-1", "reduction-4", "reduction-8"), ("prefix",)),
    "encoder": Claim(("short-frozen", "short-from-6", "short-joint"), ("trained",)),
    "kinds": Claim(
        ("plain", "plain-scan", "plain-rows", "plain-resampler", "plain-expand-2", "plain-expand-8"),
        ("prefix", "trained"),
    ),
    "ears": Claim(("ear-tiny", "ear-base", "ear-default", "concat"), ("work", "prefix")),
    "masked": Claim(("concat", "ear-masked", "ear-masked-blocks"), ("work", "prefix")),
    "diversity": Claim(("ear-tiny", "ear-tiny-blocks", "ear-tiny-base", "ear-base"), ("work", "trained")),
    "tagger-blocks": Claim(("ear-default", "ear-default-blocks"), ("work", "trained")),
}
OTHER_NAMES = {
    ("adapters", "concat"): "adapters of rank 8",
    ("prefix", "keep-1.0"): "2 time steps in one vector",
    ("rivals", "scratch-192"): "Mamba-2, width 192, 4 blocks",
    ("ears", "concat"): "the earlier default's own encoder",
    ("masked", "concat"): "the earlier default's own encoder",
    ("tagger-blocks", "ear-default"): "Whisper tiny.en, trained to tag, last block",
    ("diversity", "ear-tiny"): "Whisper tiny.en, last block",
    ("diversity", "ear-base"): "Whisper base alone",
}


@dataclass(frozen=True)
class Measured:
    """An arm's runs, and what they said of each test scene."""

    runs: list[dict[str, Any]]
    cider: Floats  # (seeds, scenes)
    counts: NDArray[np.float64]  # (seeds, scenes, 3): events named rightly, events named, events that sound

    def drawn(self, weights: NDArray[np.int16]) -> dict[str, Floats]:
        """Both figures in each resample (R,): scenes are drawn by `weights` (R, C), and seeds too."""
        seeds = draws([str(run["seed"]) for run in self.runs], len(weights), seed=1) / len(self.runs)  # (R, S)
        cider = np.einsum("rs,sc,rc->r", seeds, self.cider, weights) / weights.sum(axis=1)
        counts = np.einsum("rs,scn,rc->rn", seeds, self.counts, weights)
        return {"cider": cider, "f1": event_f1_of(counts)}

    def beside(self, other: "Measured") -> "Measured":
        """The runs whose seeds the other has too."""
        theirs = {run["seed"] for run in other.runs}
        rows = [row for row, run in enumerate(self.runs) if run["seed"] in theirs]
        return Measured([self.runs[row] for row in rows], self.cider[rows], self.counts[rows])

    @property
    def figures(self) -> dict[str, float]:
        """Means over seeds and scenes."""
        return {"cider": float(self.cider.mean()), "f1": float(event_f1_of(self.counts.mean(axis=0).sum(axis=0)))}


@cache
def measured(arm: str) -> Measured | None:
    """What is there of an arm; None without a finished run."""
    files = sorted(RESULTS.glob(f"{arm}-[0-9].json"))
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    if not runs:
        return None
    scenes, judge = _heard(runs[0]["scenes"]["test"])
    cider = np.array([judge.scores(run["captions"]) for run in runs])
    return Measured(runs, cider, np.stack([event_counts(scenes, run["captions"]) for run in runs]))


@cache
def _heard(count: int) -> tuple[list[Scene], CiderD]:
    """The first test scenes, and what rates captions of them."""
    scenes = load_benchmark()[:count]
    return scenes, CiderD([scene.captions for scene in scenes])


def table(name: str) -> str:
    """The table of one claim, or a line that there is none yet."""
    claim = CLAIMS[name]
    there = {arm: found for arm in claim.arms if (found := measured(arm)) is not None}
    if claim.arms[0] not in there or len(there) < 2:
        return "Not measured yet."
    head = ["arm", *(COLUMNS[column][0] for column in claim.columns), "CIDEr-D (95 %)", "event F1, % (95 %)"]
    head += ["change of CIDEr-D, %", "change of event F1, points", "seeds"]
    lines = [f"| {' | '.join(head)} |", f"| --- | {' | '.join(['---:'] * (len(head) - 1))} |"]
    for arm, found in there.items():
        first = arm == claim.arms[0]
        cells = [
            OTHER_NAMES.get((name, arm), NAMES[arm]),
            *(COLUMNS[column][1](found.runs[0]) for column in claim.columns),
            *scores(found),
        ]
        cells += ["", ""] if first else [_signed(*bounds) for bounds in changes(arm, claim.arms[0])]
        lines.append(f"| {' | '.join([*cells, str(len(found.runs))])} |")
    return "\n".join(lines)


def scores(found: Measured) -> list[str]:
    """CIDEr-D and event F1 with their intervals."""
    drawn, own = found.drawn(_weights(found)), found.figures
    return [_within(own["cider"], drawn["cider"], 2), _within(100 * own["f1"], 100 * drawn["f1"], 1)]


def changes(arm: str, other: str) -> list[tuple[float, list[float]]]:
    """Of CIDEr-D in per cent of the other's, of event F1 in points: each with its interval, on the same scenes and
    seeds (which decide the weights that are drawn, and the order of the training scenes)."""
    mine, theirs = measured(arm), measured(other)
    assert mine is not None and theirs is not None
    mine, theirs = mine.beside(theirs), theirs.beside(mine)
    weights = _weights(mine)
    drawn, base = mine.drawn(weights), theirs.drawn(weights)
    relative = 100 * (mine.figures["cider"] / theirs.figures["cider"] - 1)
    points = 100 * (mine.figures["f1"] - theirs.figures["f1"])
    spread = (100 * (drawn["cider"] / base["cider"] - 1), 100 * (drawn["f1"] - base["f1"]))
    return [(value, interval(samples) or []) for value, samples in zip((relative, points), spread, strict=True)]


def _weights(found: Measured) -> NDArray[np.int16]:
    return draws([str(scene) for scene in range(found.cider.shape[1])])


def _within(value: float, drawn: Floats, digits: int) -> str:
    low, high = interval(drawn) or (float("nan"),) * 2
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _signed(value: float, bounds: Sequence[float]) -> str:
    return f"{value:+.1f} ({bounds[0]:+.1f} to {bounds[1]:+.1f})"


COLUMNS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "macs": ("encoder MACs", lambda run: f"{100 * run['macs'] / run['unpruned_macs']:.0f} %"),
    "work": ("encoder, G MACs", lambda run: f"{run['macs']:.2f}"),
    "prefix": ("prefix, vectors", lambda run: f"{run['prefix']:.0f}"),
    "trained": ("trained parameters", lambda run: f"{run['trained']:,}"),
    "share": ("of the language model", lambda run: f"{100 * run['language_model_trained'] / run['parts'][1]:.1f} %"),
    "steps": ("steps", lambda run: f"{run['configuration']['steps']:,}"),
    "size": ("language model, parameters", lambda run: f"{run['parts'][1]:,}"),
}


def missing() -> str:
    """The commands of runs that are not there, one for each set of seeds."""
    wanted: dict[str, list[str]] = {}
    for arm in ARMS:
        seeds = [str(seed) for seed in range(SEEDS) if not (RESULTS / f"{arm}-{seed}.json").is_file()]
        if seeds:
            wanted.setdefault(",".join(seeds), []).append(arm)
    if not wanted:
        return "Nothing: every arm has its three seeds."
    commands = [f"python scripts/captioning_study.py {','.join(arms)} {seeds} WORK" for seeds, arms in wanted.items()]
    return "\n".join(f"    {command}" for command in commands)


def rates() -> str:
    """The learning rates that validation chose, and what was tried."""
    file = RESULTS / "chosen.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    lines = ["| arm | learning rate: CIDEr-D on validation scenes |", "| --- | --- |"]
    for family, one in found.items():
        said = {float(rate): f"{float(rate):g}: {figures['cider_d']:.2f}" for rate, figures in one["tried"].items()}
        tried = [f"**{said[rate]}**" if rate == one["rate"] else said[rate] for rate in sorted(said)]
        lines.append(f"| {CHOICE[family][0]} | {', '.join(tried)} |")
    return "\n".join(lines)


def pretrained() -> str:
    """What is known of the language model that scripts/captioning_base.py pretrained."""
    file = RESULTS / "base.json"
    if not file.is_file():
        return "Not pretrained yet."
    found = json.loads(file.read_text(encoding="utf-8"))
    texts, perplexity, read = found["texts"], found["perplexity"], found["tokens_read"]
    told = f"{texts['definitions']:,} definitions and {texts['captions']:,} captions"
    lines = [
        f"It has {found['parameters']:,} parameters and read {read:,} of the {texts['tokens']:,} tokens of",
        f"{told}. Its perplexity for definitions that it did not read is {perplexity['definitions']:.0f},",
        f"for captions of validation scenes {perplexity['captions']:.1f}.",
    ]
    return "\n".join(lines)


def picture() -> str:
    """Changes of CIDEr-D with their intervals against the first arm of each table, a row for each other arm, as SVG."""
    rows = [(arm, *changes(arm, first)[0]) for first, arm in compared()]
    reach = 10 * np.ceil(max([10.0, *(abs(bound) for _, _, bounds in rows for bound in bounds)]) / 10)
    height = 24 * len(rows) + 60

    def x(value: float) -> str:
        return f"{500 + 180 * value / reach:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="720" height="{height}" fill="#ffffff"/>',
        '<text x="500" y="20" text-anchor="middle">change of CIDEr-D against the first row of its table, %</text>',
    ]
    for value in (-reach, -reach / 2, 0, reach / 2, reach):
        colour = "#666666" if value == 0 else "#dddddd"
        parts.append(f'<path d="M{x(value)} 30V{height - 26}" stroke="{colour}"/>')
        parts.append(f'<text x="{x(value)}" y="{height - 10}" text-anchor="middle">{value:+.0f}</text>')
    for number, (arm, value, (low, high)) in enumerate(rows):
        y = 46 + 24 * number
        parts.append(f'<text x="300" y="{y + 4}" text-anchor="end">{escape(NAMES[arm])}</text>')
        parts.append(f'<path d="M{x(low)} {y}H{x(high)}" stroke="#0072b2" stroke-width="2"/>')
        parts.append(f'<circle cx="{x(value)}" cy="{y}" r="4" fill="#0072b2"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def compared() -> list[tuple[str, str]]:
    """The first arm of each table with each other one, where both are there."""
    pairs = [(claim.arms[0], arm) for claim in CLAIMS.values() for arm in claim.arms[1:]]
    return [pair for pair in pairs if all(measured(arm) is not None for arm in pair)]


def filled(page: str) -> str:
    """The page with its tables made anew."""
    parts: dict[str, Callable[[], str]] = {name: lambda name=name: table(name) for name in CLAIMS}  # type: ignore[misc]
    for name, make in (parts | {"missing": missing, "rates": rates, "pretrained": pretrained}).items():
        begin = f"<!-- {name} -->"
        if begin in page:
            before, rest = page.split(begin)
            page = f"{before}{begin}\n\n{make()}\n\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    PICTURE.write_text(picture(), encoding="utf-8")
