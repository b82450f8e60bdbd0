"""`sonopsis train CONFIG`: data and task of a configuration, handed to the loop."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed

from sonopsis.data.clips import ClipBank
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.folder import write_description
from sonopsis.metrics.evaluate import choose_threshold
from sonopsis.model import load
from sonopsis.scenes.compose import compose
from sonopsis.training.captioning import VALIDATION_SCENES, Captioning, training_captions
from sonopsis.training.config import TrainConfig, load_config
from sonopsis.training.loop import fit
from sonopsis.training.tagging import Tagging
from sonopsis.training.verbalising import Verbalising

TASKS: dict[str, type[Tagging] | type[Captioning]] = {
    "tagging": Tagging,
    "verbalising": Verbalising,
    "captioning": Captioning,
}


def train(config_path: str | Path, overrides: list[str] | None = None) -> Path:
    """Train what a YAML file describes, resuming if its output folder holds a checkpoint; returns the model folder.

    Raises ValueError for a wrong configuration and DataError when the manifest has not been built.
    """
    config = load_config(config_path, overrides)
    if config.stage not in TASKS:
        raise ValueError(f"{config_path}: unknown stage {config.stage!r}; known: {', '.join(TASKS)}")
    root = Path(config.data.root) if config.data.root else default_root()
    manifest = root / "manifest.jsonl"
    clips, validation = ClipBank(read(manifest, "train"), root), ClipBank(read(manifest, "validation"), root)
    set_seed(config.seed)  # before the task makes its weights
    folder = fit(TASKS[config.stage](config, clips, validation), config)
    conclude(folder, config, clips, validation)
    return folder


def conclude(path: Path, config: TrainConfig, clips: ClipBank, validation: ClipBank) -> None:
    """Write into a trained model's folder what it was trained on and, if it captions, what validation data choose."""
    model = load(path)
    found = replace(model.folder.config, training=_facts(config, clips, validation))
    if config.stage == "captioning":
        scenes = list(compose(validation.rows, seed=2, count=VALIDATION_SCENES, split="validation"))
        frequent, _ = Counter(training_captions(clips)).most_common(1)[0]
        found.training["most_frequent_caption"] = frequent
        found = replace(found, threshold=choose_threshold(model, scenes, validation.read))
    write_description(path, found, model.folder.mel)


def _facts(config: TrainConfig, clips: ClipBank, validation: ClipBank) -> dict[str, Any]:
    """What `sonopsis info` says of the training: run, data, and the run it started from."""
    before = load(config.init).folder.config.training if config.init else None
    return {
        "stage": config.stage,
        "steps": config.steps,
        "examples": config.steps * config.batch_size,
        "seed": config.seed,
        "clips": len(clips.rows),
        "packages": sorted({row.source for row in clips.rows}),
        "validation_clips": len(validation.rows),
        "from": before,
    }
