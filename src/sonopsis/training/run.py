"""`sonopsis train CONFIG`: data and task of a configuration, handed to the loop."""

from pathlib import Path

from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import read
from sonopsis.training.captioning import Captioning
from sonopsis.training.clips import ClipBank
from sonopsis.training.config import load_config
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
    return fit(TASKS[config.stage](config, clips, validation), config)
