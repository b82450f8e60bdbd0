"""Train one row of docs/results-pruning.md anew and say how it differs from the predictions in the repository.

    python scripts/pruning_check.py whisper words WORK     # about 15 minutes on one core
    python scripts/pruning_check.py whisper general WORK 2

An encoder that was trained for pruning is trained again in WORK, with the seed that stands behind it: its parent, the
parent for as many steps more, and TopK at the rate that saves about 40 %. Nothing in the repository changes. The same
processor and versions give the same labels; another processor rounds otherwise, and training makes more of that.
"""

import json
import sys
from pathlib import Path
from typing import Any, get_args

from pruning_study import RESULTS, limit_of
from pruning_tasks import STARTS, Task
from pruning_trained import joined
from pruning_training import PARENT, finetune, recipe


def compare(found: dict[str, Any], kept: dict[str, Any], *, parent: bool) -> list[str]:
    """One line for each way to prune that was trained anew: how many clips have the same best label, and accuracies."""
    new, old = (joined(one, parent=parent) for one in (found, kept))
    if new["clips"] != old["clips"]:
        raise ValueError("the test clips are others than in the repository; fetch the recordings of this version")
    rows = {(row["arm"], row["keep_rate"]): row["top"] for row in old["variants"]}
    lines = []
    for row in new["variants"]:
        name = f"{row['arm']}@{row['keep_rate']:g}"
        before, truth = rows[row["arm"], row["keep_rate"]], [labels for _, _, labels in new["clips"]]
        same = sum(one == other for one, other in zip(row["top"], before, strict=True))
        right = [
            100 * sum(best in labels for best, labels in zip(top, truth, strict=True)) / len(truth)
            for top in (row["top"], before)
        ]
        who = "the parent under " if parent else ""
        lines.append(
            f"{who}{name}: the same best label for {same} of {len(truth)} clips; "
            f"accuracy {right[0]:.1f} % anew, {right[1]:.1f} % in the repository"
        )
    return lines


def main(arguments: list[str]) -> None:
    """Train one row anew and print what differs."""
    if len(arguments) not in (3, 4) or arguments[0] not in STARTS or arguments[1] not in get_args(Task):
        sys.exit(__doc__)
    encoder, task, work = arguments[0], arguments[1], Path(arguments[2])
    seed = limit_of(arguments[3:]) or 0
    name = f"finetuned-{encoder}-{task}-{seed}.json"
    if not (RESULTS / name).exists():
        sys.exit(f"{RESULTS / name} is not there; a row can be checked that was trained before")
    unpruned, (arm, rate) = recipe(encoder, task).arms[:2]  # type: ignore[arg-type]  # checked above
    work.mkdir(parents=True, exist_ok=True)
    again = work / f"again-{name}"
    finetune(encoder, task, work, seed, again, only=(PARENT, unpruned[0], f"{arm}@{rate:g}"))  # type: ignore[arg-type]
    found, kept = (json.loads(path.read_text(encoding="utf-8")) for path in (again, RESULTS / name))
    for parent in (True, False):
        print(*compare(found, kept, parent=parent), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
