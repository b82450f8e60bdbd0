"""Checkpoints that survive a kill at any moment: the last whole one is always there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from sonopsis.training.config import TrainConfig
from sonopsis.training.configfile import load_config

CHECKPOINT, SCRATCH, MARKER = "checkpoint", "checkpoint.part", "step.json"


def find_checkpoint(output: Path) -> tuple[Path | None, int]:
    """The folder of a run's last whole checkpoint and the steps done by then; None and 0 when there is none."""
    for folder in (output / SCRATCH, output / CHECKPOINT):  # the first, where whole, is newer
        marker = folder / MARKER
        if marker.is_file():
            return folder, int(json.loads(marker.read_text(encoding="utf-8"))["step"])
    return None, 0


def check_same_run(config: TrainConfig, saved: Path) -> None:
    """Raise ValueError when the run that left a checkpoint trained another model than this one."""
    before = load_config(saved)
    parts = ("stage", "model", "labels", "connector", "language_model", "lora", "encoder", "teacher", "masked")
    if changed := [part for part in parts if getattr(before, part) != getattr(config, part)]:
        raise ValueError(
            f"output: {saved.parent} holds a checkpoint of another run ({', '.join(changed)} differ); choose another "
            "output, or delete that folder"
        )


def write_checkpoint(output: Path, step: int, save: Callable[[Path], object]) -> None:
    """Replace a run's checkpoint by what `save` writes into a folder; a marker, written last, makes it whole."""
    scratch, final = output / SCRATCH, output / CHECKPOINT
    found, _ = find_checkpoint(output)
    if found == scratch:  # a kill came between the two steps below
        shutil.rmtree(final, ignore_errors=True)
        scratch.rename(final)
    shutil.rmtree(scratch, ignore_errors=True)
    save(scratch)
    marker = scratch / (MARKER + ".new")
    marker.write_text(json.dumps({"step": step}), encoding="utf-8")
    marker.rename(scratch / MARKER)
    shutil.rmtree(final, ignore_errors=True)
    scratch.rename(final)
