"""Measure how much faster pruning makes a model of docs/results-pruning.md on this machine.

    python scripts/pruning_times.py whisper words WORK   # -> results/pruning/times-whisper-words.json

Encoder and head work on one test clip, the longest of a dozen, in every way to prune that the table of this model and
task has (scripts/pruning_study.py makes that first), in turns. Nothing else may run meanwhile. The other arguments are
those of scripts/pruning_study.py.
"""

import json
import sys
from pathlib import Path
from typing import Any, get_args

from pruning_study import RESULTS, SAMPLE, limit_of, open_task, variants_of, write
from pruning_tasks import STARTS, Task

from sonopsis.cli.measuring import this_machine
from sonopsis.study.passes import Passes, sample_windows
from sonopsis.study.tradeoff import speed

ROUNDS = 41


def measure(encoder: str, task: Task, work: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """The median time of each way to prune in ms, the length of the clip in Mel frames, and the machine."""
    machine = this_machine()
    model, clips = open_task(encoder, task, work)
    table = json.loads((RESULTS / f"tradeoff-{encoder}-{task}.json").read_text(encoding="utf-8"))
    variants = variants_of(table)
    longest = max(sample_windows(model, clips, SAMPLE), key=lambda mel: mel.shape[1])
    found = speed(Passes(model), variants, longest, rounds)
    times = [{"arm": v.arm, "keep_rate": v.keep_rate, "ms": round(found["median_ms"][v.name], 3)} for v in variants]
    return {"machine": machine, "frames": found["frames"], "rounds": rounds, "variants": times}


def main(arguments: list[str]) -> None:
    """Make one file of results; a number behind WORK is that of the rounds."""
    if len(arguments) < 3 or arguments[0] not in STARTS or arguments[1] not in get_args(Task):
        sys.exit(__doc__)
    task: Task = arguments[1]  # type: ignore[assignment]  # checked above
    found = measure(arguments[0], task, Path(arguments[2]), limit_of(arguments[3:]) or ROUNDS)
    write(found, RESULTS / f"times-{arguments[0]}-{task}.json")


if __name__ == "__main__":
    main(sys.argv[1:])
