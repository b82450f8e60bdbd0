"""`sonopsis train CONFIG`: data and task of a configuration, handed to the loop."""

from dataclasses import replace
from pathlib import Path

from accelerate.utils import set_seed

from sonopsis.data.compose import compose
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.folder import write_description
from sonopsis.model import load
from sonopsis.training.captioning import VALIDATION_SCENES, Captioning
from sonopsis.training.clips import ClipBank
from sonopsis.training.config import load_config
from sonopsis.training.evaluate import choose_threshold
from sonopsis.training.loop import fit
from sonopsis.training.tagging import Tagging

TASKS: dict[str, type[Tagging] | type[Captioning]] = {"tagging": Tagging, "captioning": Captioning}


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
    if config.stage == "captioning":
        calibrate(folder, validation)
    return folder


def calibrate(path: Path, validation: ClipBank) -> None:
    """Write into a captioner's folder the tag threshold that serves best on scenes of validation sources."""
    model = load(path)
    scenes = list(compose(validation.rows, seed=2, count=VALIDATION_SCENES, split="validation"))
    threshold = choose_threshold(model, scenes, validation.read)
    write_description(path, replace(model.folder.config, threshold=threshold), model.folder.mel)
