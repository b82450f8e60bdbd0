"""Make one file that docs/results-pruning.md needs to say what dropped patches are, and whether a model needs them.

    python scripts/pruning_importance.py default general WORK 150   # -> results/pruning/importance-default-general.json

150 clips are heard, the first ones by a hash of their names; without a number, all. Models, tasks and WORK are those of
scripts/pruning_study.py. The file has the best label of every clip under every ablation of `sonopsis study importance`
and, for each source, the sums of what was seen in its clips, so that intervals can be drawn over sources. The same
command carries on with what is in WORK.
"""

import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pruning_study import RESULTS, limit_of, open_task, tell, write
from pruning_tasks import STARTS, Task

from sonopsis.study import importance
from sonopsis.study.patches import pooled

SEEN = ("pairs", "retained", "attention", "patches")  # what the page uses of the sums of a clip


def measure(encoder: str, task: Task, work: Path, limit: int | None) -> dict[str, Any]:
    """The figures of one model on one task as JSON values."""
    model, clips = open_task(encoder, task, work)
    path = work / f"importance-{encoder}-{task}.jsonl"
    report = importance.study(model, replace(clips, clips=clips.clips[:limit]), path, progress=tell)
    return {
        "labels": list(model.labels),
        "of": len(clips.clips),
        "keep_rate": report["keep_rate"],
        "blocks": report["blocks"],
        "clusters": {name: report["clusters"][name] for name in ("centres", "shares")},
        **by_source(path),
    }


def by_source(path: Path) -> dict[str, Any]:
    """What each ablation says of each clip, and the sums of what was seen in the clips of each source."""
    _, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    heard = [line for line in lines if "error" not in line]
    parts: dict[str, list[Any]] = defaultdict(list)
    for line in heard:
        parts[line["source"]].append(line["seen"])
    return {
        "clips": [[line["clip"].rsplit(" ", 1)[0], line["source"], line["labels"]] for line in heard],
        "ablations": {name: [line["variants"][name]["top"] for line in heard] for name in heard[0]["variants"]},
        "seen": {
            source: {key: pooled(seen[key] for seen in every).round(4).tolist() for key in SEEN}
            for source, every in sorted(parts.items())
        },
    }


def main(arguments: list[str]) -> None:
    """Make one file of results."""
    if len(arguments) < 3 or arguments[0] not in STARTS or arguments[1] not in get_args(Task):
        sys.exit(__doc__)
    task: Task = arguments[1]  # type: ignore[assignment]  # checked above
    work = Path(arguments[2])
    work.mkdir(parents=True, exist_ok=True)
    found = measure(arguments[0], task, work, limit_of(arguments[3:]))
    write(found, RESULTS / f"importance-{arguments[0]}-{task}.json")


if __name__ == "__main__":
    main(sys.argv[1:])
