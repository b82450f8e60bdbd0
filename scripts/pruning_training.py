"""Encoders that were trained for each way to prune: for docs/results-pruning.md, by scripts/pruning_study.py.

In each fold of a task, the encoder with its linear head (pruning_tasks.fit_heads) is fine-tuned without pruning. This
parent is then trained for a quarter of its steps once more for each arm, while the keep rate shrinks as in the paper
(arXiv 2504.01690, section 3); "unpruned" among the arms is the parent after as many steps more. The arms learn from
the same examples at the same learning rates, and in "words" all voices but the two of the test teach all of them.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pruning_figures import TRAINED_HERE
from pruning_tasks import JOINED, SECONDS, Task, fit_heads, folds, labels_of

import sonopsis
from sonopsis.audio import AudioError
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import Row, write
from sonopsis.files import CONFIG
from sonopsis.folder import describe
from sonopsis.model import Model
from sonopsis.study.clips import Clip, Clips
from sonopsis.study.passes import Passes, sample_windows
from sonopsis.study.variants import NO_PRUNING, Variant, plan
from sonopsis.training.config import DataConfig, EncoderTraining, PruningConfig, TrainConfig
from sonopsis.training.run import run

QUARTER = 4  # an arm has so many times fewer steps than its parent
SHRINK = (1 / 6, 2 / 3)  # shares of a run between which the rate shrinks: epochs 5 and 20 of the paper's 30
SAMPLE = 12  # windows on which rates of equal cost are found
PARENT = "parent"
SAVE_EVERY = 60  # steps; a run that was stopped goes on from there


@dataclass(frozen=True)
class Recipe:
    """How a parent is trained for a task, and its arms after it."""

    task: Task
    steps: int  # of the parent
    train: Literal["all"] | int  # the encoder's blocks from this one on
    encoder_rate: float  # the peak of the encoder's last block
    head_rate: float
    label_power: float  # 0: labels are drawn evenly; 1: as often as their clips, which is how they come in the test
    arms: tuple[tuple[str, float], ...]  # ways to prune, each with the rate at which TopK costs as much


def recipe(encoder: str, task: Task) -> Recipe:
    """How an encoder is trained for a task; learning rates were chosen on validation clips (docs/log.md)."""
    if encoder in TRAINED_HERE:  # all of its blocks learn
        return Recipe(task, 800, "all", encoder_rate=3e-4, head_rate=3e-4, label_power=1.0, arms=arms(0.6))
    made = arms(0.6 if encoder == "base" else 0.55)
    if task == "words":
        return Recipe(task, 120, 1, encoder_rate=3e-4, head_rate=7.5e-4, label_power=0.0, arms=made)
    return Recipe(task, 240, 1, encoder_rate=3e-5, head_rate=3e-5, label_power=0.0, arms=made)


def arms(equal: float) -> tuple[tuple[str, float], ...]:
    """The ways to prune that are trained, in the order of training, so that a study which is stopped has what the
    headline needs. `equal` is the rate of TopK, in twentieths, whose saving is nearest to 40 %: all ways cost as much.
    An encoder has no run of a way to prune that it does not have.
    """
    others = [("topk", rate) for rate in (0.7, 0.5, 0.6) if rate != equal]
    return (
        ("unpruned", 1.0),
        ("topk", equal),
        ("random", equal),
        *others,
        ("topk", 0.8),
        ("merge", equal),
        ("fuse", equal),
        ("segment", equal),
        ("adaptive", equal),
        ("value", equal),
        ("random columns", equal),
    )


@dataclass(frozen=True)
class Fold:
    """One fold of a task: the folder of what its parent starts from, its rows, and its place among the folds."""

    number: int
    start: Path
    rows: list[Row]

    def manifest(self, task: Task, work: Path) -> Path:
        """The manifest of its runs, written anew: without test sources, and without labels that nothing teaches."""
        work.mkdir(parents=True, exist_ok=True)
        path = work / f"{task}-{self.number}.jsonl"
        joined = task in JOINED  # as for the linear heads
        taught = set(labels_of([self.rows]))
        rows = [row for row in self.rows if row.split != "test" and taught.issuperset(row.labels)]
        write([replace(row, split="train") if joined else row for row in rows], path)
        return path

    def clips(self, model: Model) -> Clips:
        """Its test clips."""
        place = {label: number for number, label in enumerate(model.labels)}
        found = []
        for row in self.rows:
            known = tuple(sorted(place[name] for name in row.labels if name in place))
            if row.split == "test" and known:
                found.append(Clip(row, known))
        return Clips(found, [default_root()], "test", 0, [])


def finetune(
    encoder: str, task: Task, work: Path, seed: int, results: Path, only: Collection[str] | None = None
) -> None:
    """Train what is missing in a file of results, arm by arm, and write the file after each run.

    With `only`, other runs than those of these names are left out. A run that is in the file is skipped, and one that
    was stopped goes on from its last checkpoint, in a folder of `work` with the name of the file.
    """
    parts = folds_of(encoder, task, work)
    found, how = read(results, parts), recipe(encoder, task)
    for name, variant in runs(how):
        if only is not None and name not in only:
            continue
        for fold, kept in zip(parts, found["folds"], strict=True):
            folder = work / results.stem / str(fold.number)
            if name in kept["runs"]:
                continue
            print(f"{name}, fold {fold.number}", flush=True)
            parent = trained(PARENT, None, fold, fold.start, how, folder, seed)
            if variant is None:
                model, measured = parent, planned(parent, fold, how)
                kept["variants"] = [one.to_dict() for one in measured if (one.arm, one.keep_rate) in how.arms]
            variants = {(one["arm"], one["keep_rate"]): Variant(**one) for one in kept["variants"]}
            if variant is not None:
                if variant not in variants:
                    continue
                wanted = variants[variant]
                model = trained(name, wanted, fold, folder / PARENT / "model", how, folder, seed)
                measured = [wanted]
            said, clips = hear(model, fold, measured)
            kept["clips"] = kept["clips"] or clips
            assert kept["clips"] == clips, "the test clips of a fold do not change"
            kept["runs"][name] = said
            found["labels"] = list(parent.labels)
            results.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def parents(encoder: str, task: Task, work: Path, seed: int = 0) -> list[Path]:
    """The model folders of the parents of each fold, which are trained where they are not there."""
    found = []
    for fold in folds_of(encoder, task, work):
        folder = work / f"finetuned-{encoder}-{task}-{seed}" / str(fold.number)
        trained(PARENT, None, fold, fold.start, recipe(encoder, task), folder, seed)
        found.append(folder / PARENT / "model")
    return found


def folds_of(encoder: str, task: Task, work: Path) -> list[Fold]:
    """The folds of a task, each with the encoder and head that its parent starts from."""
    pairs = zip(fit_heads(encoder, task, work), folds(task), strict=True)
    return [Fold(number, start, rows) for number, (start, rows) in enumerate(pairs)]


def runs(how: Recipe) -> Iterator[tuple[str, tuple[str, float] | None]]:
    """The name of each run of a fold, with its arm and rate; None for the parent."""
    yield PARENT, None
    for arm, rate in how.arms:
        yield (arm if arm == NO_PRUNING.arm else f"{arm}@{rate:g}"), (arm, rate)


def read(results: Path, parts: Sequence[Fold]) -> dict[str, Any]:
    """What a file of results has; of one that is not there, folds without runs."""
    if results.exists():
        return dict(json.loads(results.read_text(encoding="utf-8")))
    return {"labels": [], "folds": [{"clips": [], "variants": [], "runs": {}} for _ in parts]}


def trained(name: str, variant: Variant | None, fold: Fold, start: Path, how: Recipe, folder: Path, seed: int) -> Model:
    """The model of one run in `folder`, which begins with the model in `start`; what is done is not trained again."""
    config = configuration(variant, start, how, fold.manifest(how.task, folder.parent), folder / name, seed)
    if not finished(config):
        run(config)
    return sonopsis.load(f"{config.output}/model", engine="torch")


def finished(config: TrainConfig) -> bool:
    """Whether a run is over: a model is saved in the midst of it too, but only its end says what it was trained on."""
    folder = Path(config.output) / "model"
    return (folder / CONFIG).exists() and describe(folder).config.training.get("steps") == config.steps


def configuration(
    variant: Variant | None, start: Path, how: Recipe, manifest: Path, output: Path, seed: int
) -> TrainConfig:
    """The run of a parent (None) or of an arm."""
    steps = how.steps if variant is None else how.steps // QUARTER
    pruning = PruningConfig("none")
    if variant is not None and variant != NO_PRUNING:
        pruning = PruningConfig("cosine", variant.rate, *SHRINK, score=variant.score, reduce=variant.reduce)
    return TrainConfig(
        "tagging",
        str(output),
        str(start),
        labels="inherit",
        encoder=EncoderTraining(train=how.train, learning_rate=how.encoder_rate, layer_decay=0.8, drop_path=0.05),
        steps=steps,
        batch_size=8,
        learning_rate=how.head_rate,
        warmup_steps=steps // 10,
        ema=0.9,
        precision="no",
        seed=seed if variant is None else seed + 1000,  # so that an arm hears other examples than its parent
        log_every=10,
        save_every=SAVE_EVERY,
        validate_every=steps,
        data=DataConfig(
            manifest=str(manifest),
            seconds=SECONDS[how.task],
            shortest=SECONDS[how.task] / 2,
            workers=0,
            speed=0.15,
            reverb=0.2,
            equaliser_db=0.0,
            filter_db=4.0,
            band_limit=0.1,
            label_power=how.label_power,
            device=0.1,
            mixing=0.0,
            time_masks=1,
            time_mask_frames=20,
            frequency_masks=1,
            frequency_mask_bins=8,
        ),
        pruning=pruning,
    )


def planned(parent: Model, fold: Fold, how: Recipe) -> list[Variant]:
    """What a parent is tried with as it is: the ways to prune of the recipe that its encoder has, and random patches at
    every rate of TopK, all at rates of their cost on test windows."""
    passes = Passes(parent)
    windows = sample_windows(parent, fold.clips(parent), SAMPLE)

    def survivors(variant: Variant) -> list[list[int]]:
        return [passes.run(mel, variant.pruning(passes.config.depth, 0))[1] for mel in windows]

    rates = sorted({rate for _, rate in how.arms if rate < 1}, reverse=True)
    found, _ = plan(passes.costs, [mel.shape[1] for mel in windows], survivors, rates)
    return [variant for variant in found if variant.arm == "random" or (variant.arm, variant.keep_rate) in how.arms]


def hear(model: Model, fold: Fold, variants: Sequence[Variant]) -> tuple[dict[str, Any], list[list[Any]]]:
    """The best label of each test clip that can be read and mean MACs under each variant; and path, source and labels
    of these clips."""
    passes, clips = Passes(model), fold.clips(model)
    lines, heard, said = [], [], {}
    for clip in clips.clips:
        try:
            lines.append(passes.clip(clip, clips.mels(model, clip), variants, clips.present))
        except AudioError:
            continue
        heard.append([clip.row.path, clip.row.source, list(clip.labels)])
    for variant in variants:
        own = [line["variants"][variant.name] for line in lines]
        macs = np.mean([one["macs"] for one in own], axis=0).round(6).tolist()
        said[variant.name] = {"macs": macs, "top": [one["top"] for one in own]}
    return said, heard
