"""The model of a run that keeps its best: what the validation with the highest figure heard, not the last step."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

MODEL, RECORD = "model", "kept.json"


@dataclass(frozen=True)
class Kept:
    """The validation whose weights a run's model has."""

    step: int
    value: float  # of the figure that decides


def find_kept(output: Path) -> Kept | None:
    """What `output/model` holds; None before the first validation of a run that keeps its best."""
    record = output / RECORD
    return Kept(**json.loads(record.read_text(encoding="utf-8"))) if record.is_file() else None


def keep_if_better(output: Path, step: int, value: float, export: Callable[[Path], object]) -> None:
    """Replace `output/model` by what `export` writes into a folder, if `value` is higher than that of the model there.

    The record is written last: after a kill, the resumed run comes to the same validation again and has the model.
    """
    best = find_kept(output)
    if math.isnan(value) or (best is not None and value <= best.value):
        return
    scratch = output / (MODEL + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    export(scratch)
    shutil.rmtree(output / MODEL, ignore_errors=True)
    scratch.rename(output / MODEL)
    record = output / (RECORD + ".new")
    record.write_text(json.dumps(asdict(Kept(step, value))), encoding="utf-8")
    record.replace(output / RECORD)
