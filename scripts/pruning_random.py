"""Draw the random patches of one table of docs/results-pruning.md again, so that one draw's luck is not compared with.

    python scripts/pruning_random.py whisper words WORK   # -> results/pruning/random-whisper-words.json

A table (scripts/pruning_study.py) has one draw for each clip; this adds DRAWS more. The arguments are those of that
script. The same command carries on with what is in WORK.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pruning_study import RESULTS, open_task, tell, variants_of, write
from pruning_tasks import STARTS, Task

from sonopsis.study.clips import Clip
from sonopsis.study.passes import Mel, Passes, each_clip
from sonopsis.study.predictions import Lines

DRAWS = 4  # of each clip, beside that in the table


def measure(encoder: str, task: Task, work: Path) -> dict[str, Any]:
    """The best label of each clip of the table under each draw, for each rate."""
    model, clips = open_task(encoder, task, work)
    passes = Passes(model)
    table = json.loads((RESULTS / f"tradeoff-{encoder}-{task}.json").read_text(encoding="utf-8"))
    heard = {path for path, _, _ in table["clips"]}
    variants = [variant for variant in variants_of(table) if variant.score == "random"]
    identity = {"study": "random", "model": passes.fingerprint(), "clips": clips.digest, "draws": DRAWS}
    lines = Lines(work / f"random-{encoder}-{task}.jsonl", identity, dict)

    def again(clip: Clip, mels: list[Mel]) -> dict[str, Any]:
        drawn = [passes.clip(clip, mels, variants, [], draw)["variants"] for draw in range(1, DRAWS + 1)]
        top = {variant.name: [said[variant.name]["top"] for said in drawn] for variant in variants}
        return {"clip": clip.name, "path": clip.row.path, "top": top}

    each_clip(model, replace(clips, clips=[c for c in clips.clips if c.row.path in heard]), lines, again, tell)
    said = {line["path"]: line["top"] for line in lines if "error" not in line}
    return {
        "draws": DRAWS,
        "variants": [
            {
                "arm": variant.arm,
                "keep_rate": variant.keep_rate,
                "top": [said[path][variant.name] for path, _, _ in table["clips"]],
            }
            for variant in variants
        ],
    }


def main(arguments: list[str]) -> None:
    """Make one file of results."""
    if len(arguments) != 3 or arguments[0] not in STARTS or arguments[1] not in get_args(Task):
        sys.exit(__doc__)
    task: Task = arguments[1]  # type: ignore[assignment]  # checked above
    found = measure(arguments[0], task, Path(arguments[2]))
    write(found, RESULTS / f"random-{arguments[0]}-{task}.json")


if __name__ == "__main__":
    main(sys.argv[1:])
