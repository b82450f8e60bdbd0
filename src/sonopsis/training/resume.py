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
    # The first, where whole, is newer than the second; then come older ones, the newest of them first.
    for folder in (output / SCRATCH, output / CHECKPOINT, *reversed(_older(output))):
        marker = folder / MARKER
        if marker.is_file():
            return folder, _step_of(folder)
    return None, 0


def _step_of(folder: Path) -> int:
    return int(json.loads((folder / MARKER).read_text(encoding="utf-8"))["step"])


def _older(output: Path) -> list[Path]:
    """The checkpoints before the last one, by their steps."""
    found = [folder for folder in output.glob(f"{CHECKPOINT}-*") if (folder / MARKER).is_file()]
    return sorted(found, key=_step_of)


def check_same_run(config: TrainConfig, saved: Path) -> None:
    """Raise ValueError when the run that left a checkpoint trained another model than this one, or left no `saved`
    configuration."""
    if not saved.exists():
        raise ValueError(f"output: {saved.parent} holds a checkpoint without its {saved.name}; delete that folder")
    before = load_config(saved)
    parts = (
        "stage",
        "model",
        "labels",
        "front_end",
        "encoder",
        "second_encoder",
        "connector",
        "language_model",
        "lora",
        "teacher",
        "masked",
    )
    if changed := [part for part in parts if getattr(before, part) != getattr(config, part)]:
        raise ValueError(
            f"output: {saved.parent} holds a checkpoint of another run ({', '.join(changed)} differ); choose another "
            "output, or delete that folder"
        )


def write_checkpoint(output: Path, step: int, save: Callable[[Path], object], kept: int = 1) -> None:
    """Make what `save` writes into a folder a run's last checkpoint; a marker, written last, makes it whole.

    With `kept` over 1 so many checkpoints stay; those before the last one are named by their step.
    """
    scratch, final = output / SCRATCH, output / CHECKPOINT
    found, _ = find_checkpoint(output)
    if found == scratch:  # a kill came between the two steps below
        _put_away(output, kept)
        scratch.rename(final)
    shutil.rmtree(scratch, ignore_errors=True)
    save(scratch)
    marker = scratch / (MARKER + ".new")
    marker.write_text(json.dumps({"step": step}), encoding="utf-8")
    marker.rename(scratch / MARKER)
    _put_away(output, kept)
    scratch.rename(final)


def _put_away(output: Path, kept: int) -> None:
    """Make room for a new last checkpoint, and remove the oldest."""
    final = output / CHECKPOINT
    if kept > 1 and (final / MARKER).is_file():
        named = output / f"{CHECKPOINT}-{_step_of(final)}"
        shutil.rmtree(named, ignore_errors=True)
        final.rename(named)
    shutil.rmtree(final, ignore_errors=True)
    older = _older(output)
    for folder in older[: max(0, len(older) - (kept - 1))]:
        shutil.rmtree(folder)
