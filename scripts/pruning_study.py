"""Make one table of docs/results-pruning.md anew: what a model says of every test clip, unpruned and pruned each way.

    python scripts/pruning_study.py default general WORK     # -> results/pruning/tradeoff-default-general.json
    python scripts/pruning_study.py whisper words WORK       # -> results/pruning/tradeoff-whisper-words.json
    python scripts/pruning_study.py baseline general         # -> results/pruning/baseline-general.json
    python scripts/pruning_study.py finetune whisper words WORK   # -> results/pruning/finetuned-whisper-words-0.json

Models are "whisper" and "base" (tiny.en and base, frozen, with a linear head), "default", and "scratch" and "masked",
which are trained as docs/results-pruning.md says and then fine-tuned, for "general" alone (the parent of seed 0); tasks
are "general", "words" and "instruments" (scripts/pruning_tasks.py). WORK is a folder for models, heads and unfinished
predictions; the same command carries on there. With "short" behind WORK, ways to prune other than TopK are measured at
the costs of SHORT alone, in half the time. With a number there, so many clips are heard, the first ones by a hash of
their names. "finetune" trains an encoder for each way to prune (scripts/pruning_training.py); a number behind its WORK
is the seed.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pruning_figures import TRAINED_HERE
from pruning_tasks import Task, fit_heads, folds, log_mel
from pruning_training import finetune, parents

import sonopsis
from sonopsis.data.fetch import default_root
from sonopsis.encoder.tagger import Tagger
from sonopsis.model import Model
from sonopsis.ontology import current
from sonopsis.study.clips import Clip, Clips
from sonopsis.study.passes import Passes, each_clip, sample_windows
from sonopsis.study.predictions import Lines
from sonopsis.study.variants import RATES, Variant, plan

RESULTS = Path(__file__).parent.parent / "results" / "pruning"
SAMPLE = 12  # windows on which rates of equal cost are found
SHORT = (0.7, 0.5)


@dataclass(frozen=True)
class Folded(Clips):
    """The test clips of all folds, each heard with the head that never heard its source."""

    heads: dict[str, tuple[Any, Any]]  # path -> head, and the scale of what it reads

    def mels(self, model: Model, clip: Clip) -> list[NDArray[np.float32]]:
        """The windows of a clip; from now on the model has the head of the clip's fold."""
        tagger = _tagger(model)
        tagger.head, tagger.encoder.statistics = self.heads[clip.row.path]
        return super().mels(model, clip)


def open_task(encoder: str, task: Task, work: Path) -> tuple[Model, Folded]:
    """A model with heads for a task, and the test clips; heads are fitted where there are none yet.

    An encoder that was trained here is fine-tuned with its head, so that each fold has an encoder of its own: raises
    ValueError for a task of several folds.
    """
    if encoder in TRAINED_HERE and task != "general":
        raise ValueError(f"{encoder} is measured on a task of one fold, not on {task!r}; use 'general'")
    folders = (parents if encoder in TRAINED_HERE else fit_heads)(encoder, task, work)
    models = [sonopsis.load(str(folder), engine="torch") for folder in folders]
    place = {current(label): number for number, label in enumerate(models[0].labels)}
    clips, heads = [], {}
    for model, rows in zip(models, folds(task), strict=True):
        own = _tagger(model).head, _tagger(model).encoder.statistics
        for row in rows:
            known = tuple(sorted(place[current(name)] for name in row.labels if current(name) in place))
            if row.split == "test" and known:
                clips.append(Clip(row, known))
                heads[row.path] = own
    clips.sort(key=lambda clip: hashlib.sha256(clip.name.encode()).digest())  # so that the first ones are a fair draw
    return models[0], Folded(clips, [default_root()], "test", 0, [], heads)


def variants_of(table: dict[str, Any]) -> list[Variant]:
    """The ways to prune of a file of results, in its order, without what was measured of them."""
    names = [field.name for field in fields(Variant)]
    return [Variant(**{name: row[name] for name in names}) for row in table["variants"]]


def limit_of(arguments: list[str]) -> int | None:
    """The number of clips that a command line asks for, None for all."""
    return next((int(argument) for argument in arguments if argument.isdigit()), None)


def _tagger(model: Model) -> Tagger:
    return model.module if isinstance(model.module, Tagger) else model.module.tagger


def tradeoff(encoder: str, task: Task, work: Path, *, short: bool, limit: int | None) -> dict[str, Any]:
    """The best label of every clip and the mean MACs under every variant."""
    model, clips = open_task(encoder, task, work)
    passes = Passes(model)

    def settings() -> dict[str, Any]:
        windows = sample_windows(model, clips, SAMPLE)

        def survivors(variant: Variant) -> list[list[int]]:
            return [passes.run(mel, variant.pruning(passes.config.depth, 0))[1] for mel in windows]

        variants, notes = plan(passes.costs, [mel.shape[1] for mel in windows], survivors, RATES)
        used = [v for v in variants if not short or v.arm in ("unpruned", "topk") or v.keep_rate in SHORT]
        return {"variants": [variant.to_dict() for variant in used], "notes": notes}

    known = {"labels": list(model.labels), "of": len(clips.clips)}
    identity = {"study": "tradeoff", "model": passes.fingerprint(), "clips": clips.digest}
    lines = Lines(work / f"tradeoff-{encoder}-{task}.jsonl", identity, lambda: settings() | known)
    variants = variants_of(lines.header)
    heard = replace(clips, clips=clips.clips[:limit])
    each_clip(model, heard, lines, lambda clip, mels: passes.clip(clip, mels, variants, clips.present), tell)
    return collect(lines.path)


def collect(path: Path) -> dict[str, Any]:
    """The best label of every clip that is done and the mean MACs under every variant."""
    header, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    heard = [line for line in lines if "error" not in line]
    said = {}
    names = [variant.name for variant in variants_of(header)]
    for name in names:
        macs = np.mean([line["variants"][name]["macs"] for line in heard], axis=0).round(6).tolist()
        said[name] = {"macs": macs, "top": [line["variants"][name]["top"] for line in heard]}
    return {
        "labels": header["labels"],
        "of": header["of"],
        "notes": header["notes"],
        "clips": [[line["clip"].rsplit(" ", 1)[0], line["source"], line["labels"]] for line in heard],
        "variants": [row | said[name] for row, name in zip(header["variants"], names, strict=True)],
    }


def tell(done: int, total: int) -> None:
    """Say how far a study is."""
    if done % 50 == 0 or done == total:
        print(f"{done} of {total} clips", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Make one file of results."""
    if training := arguments[:1] == ["finetune"]:
        arguments = arguments[1:]
    if len(arguments) < 2 or arguments[1] not in get_args(Task):
        sys.exit(__doc__)
    task: Task = arguments[1]  # type: ignore[assignment]  # checked above
    found: Any
    if arguments[0] == "baseline":
        name, found = f"baseline-{task}", log_mel(task)
    else:
        work = Path(arguments[2])
        work.mkdir(parents=True, exist_ok=True)
        more = arguments[3:]
        if training:
            seed = limit_of(more) or 0
            finetune(arguments[0], task, work, seed, RESULTS / f"finetuned-{arguments[0]}-{task}-{seed}.json")
            return
        found = tradeoff(arguments[0], task, work, short="short" in more, limit=limit_of(more))
        name = f"tradeoff-{arguments[0]}-{task}"
    write(found, RESULTS / f"{name}.json")


def write(found: Any, path: Path) -> None:
    """Write results as JSON, in one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
