"""`sonopsis train --from MODEL FOLDER -o OUT`: a tagger of a user's own labels, from a folder for each label.

The head is trained first, on cached outputs of the frozen encoder, which takes seconds. With minutes or steps the
upper half of the encoder is trained as well, by an ordinary run of the tagging stage. The score is that of clips which
neither has seen. An interrupted command carries on when it is given again.
"""

import json
import logging
import shutil
import time
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed

from sonopsis.data.clips import ClipBank
from sonopsis.data.folder_per_class import FolderRows, read_folder
from sonopsis.files import CARD, CONFIG, WEIGHTS
from sonopsis.folder import ModelConfig, describe, write_description
from sonopsis.installed import installed
from sonopsis.metrics.evaluate import evaluate_tags
from sonopsis.model import load
from sonopsis.modules import save
from sonopsis.pruning import uniform
from sonopsis.training.building import build_tagger
from sonopsis.training.card import card
from sonopsis.training.config import DataConfig, EncoderTraining, PruningConfig, TrainConfig
from sonopsis.training.configfile import load_config
from sonopsis.training.features import compute_features, example_count, fit_head
from sonopsis.training.run import run
from sonopsis.training.start import Start, open_start

log = logging.getLogger(__name__)

WORK = "run"  # folder in the output while the command runs: the head's model, decoded clips, the run that goes on
BATCH = 16
LEARNING_RATE, ENCODER_RATE, LAYER_DECAY = 5e-4, 2e-4, 0.75


@dataclass(frozen=True)
class Result:
    """What came out: the model folder and, if recordings were held out, the figures on them."""

    folder: Path
    figures: dict[str, Any] | None
    text: str  # for the terminal


def train_own_labels(
    model: str, folder: Path, output: Path, *, minutes: float | None = None, steps: int | None = None
) -> Result:
    """Train a tagger of the labels of a folder; neither `minutes` nor `steps`: the head alone.

    Raises ValueError, in one line, for a folder, a model or an output that cannot be used.
    """
    if minutes is not None and steps is not None:
        raise ValueError("give either minutes or steps of fine-tuning, not both")
    if (output / CONFIG).is_file():
        raise ValueError(f"{output} holds a model already; choose a new folder")
    found = read_folder(folder)
    start = open_start(TrainConfig("tagging", str(output), model))
    work = output / WORK
    _claim(work, model, folder, found, minutes, steps)
    banks = _decode(found, folder, work / "cache")
    labels = sorted({row.labels[0] for row in found.rows})
    for note in found.notes:
        log.warning("%s", note)
    trained = work / "head"
    if not (trained / CONFIG).is_file():
        _train_head(start, labels, banks[0], trained)
    if minutes is not None or steps is not None:
        trained = _fine_tune(trained, folder, work / "encoder", minutes, steps)
    return _finish(output, trained, start, found, banks)


def _claim(work: Path, model: str, folder: Path, found: FolderRows, minutes: float | None, steps: int | None) -> None:
    """Begin, or carry on with what was begun here; raises ValueError when that was something else."""
    request = {
        "model": model,
        "folder": str(folder.resolve()),
        "files": sorted(row.sha256 for row in found.rows),
        "minutes": minutes,
        "steps": steps,
    }
    file = work / "request.json"
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) != request:
            raise ValueError(
                f"{work.parent} holds an unfinished run of another model or folder, or of other minutes or steps; "
                "choose a new folder"
            )
        return
    work.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(request), encoding="utf-8")


def _decode(found: FolderRows, folder: Path, cache: Path) -> tuple[ClipBank, ClipBank]:
    """Clips to train on and held-out clips; what cannot be used is told."""
    rows = [[row for row in found.rows if (row.split == "train") == training] for training in (True, False)]
    train, held_out = (ClipBank(part, folder, cache) for part in rows)
    used = {row.path for bank in (train, held_out) for row in bank.rows}
    lost = [row.path for row in found.rows if row.path not in used]
    if lost:
        log.warning(
            "%d of %d recordings are left out, because they are silent or cannot be decoded: %s%s",
            len(lost), len(found.rows), ", ".join(lost[:3]), ", ..." if len(lost) > 3 else "",
        )  # fmt: skip
    labels = {row.labels[0] for row in found.rows}
    if missing := sorted(labels - {row.labels[0] for row in train.rows}):
        raise ValueError(f"{folder}: no recording of {missing[0]!r} can be used for training; add some")
    return train, held_out


def _train_head(start: Start, labels: list[str], bank: ClipBank, folder: Path) -> None:
    """Write a model folder of the start's encoder with a new head."""
    set_seed(0)
    began = time.perf_counter()
    tagger = build_tagger(start, labels)
    assert tagger.head is not None
    count = example_count(len(bank.rows))
    pruning = uniform(start.encoder.depth, start.keep_rate)
    features = compute_features(tagger, bank, labels, start.mel, pruning, count=count, seed=0)
    loss = fit_head(tagger.head, features)
    log.info(
        "head trained on %d examples of %d clips in %.1f s, loss %.3f",
        count, len(bank.rows), time.perf_counter() - began, loss,
    )  # fmt: skip
    scratch = folder.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    save(tagger.eval(), scratch, ModelConfig(labels, start.encoder, keep_rate=start.keep_rate), start.mel)
    scratch.rename(folder)


def _fine_tune(head: Path, folder: Path, output: Path, minutes: float | None, steps: int | None) -> Path:
    """An ordinary run of the tagging stage from the head's model, resumed if it was begun."""
    saved = output / "config.yaml"
    if saved.is_file():
        config = load_config(saved)
        return run(config)
    rate = describe(head).config.keep_rate
    depth = describe(head).config.encoder.depth
    pruning = PruningConfig("none") if rate == 1 else PruningConfig("random", max(0.1, rate - 0.2), 0.0, 0.0, rate)
    config = TrainConfig(
        stage="tagging",
        output=str(output),
        model=str(head),
        labels="inherit",
        encoder=EncoderTraining(train=depth // 2, learning_rate=ENCODER_RATE, layer_decay=LAYER_DECAY),
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        warmup_steps=20,
        ema=0.98,
        precision="no",
        log_every=20,
        data=DataConfig(folder=str(folder), cache=str(output.parent / "cache")),
        pruning=pruning,
    )
    if steps is None:
        steps = max(20, int((minutes or 0) * 60 / seconds_per_step(config, output.with_name("trial"))))
    return run(replace(config, steps=steps, save_every=min(100, steps), validate_every=steps))


def seconds_per_step(config: TrainConfig, scratch: Path) -> float:
    """How long a step of a tagging run takes here: a short run in a folder that is deleted again.

    The first steps compile, so they are left out.
    """
    steps = 24
    shutil.rmtree(scratch, ignore_errors=True)  # of a command that was stopped here
    with redirect_stderr(StringIO()):
        run(replace(config, output=str(scratch), steps=steps, log_every=8, save_every=steps, validate_every=steps))
    lines = [json.loads(line) for line in (scratch / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    times = [line["seconds"] for line in lines if "seconds" in line]  # since the start, after 8, 16 and 24 steps
    shutil.rmtree(scratch)
    return max(1e-3, (times[2] - times[0]) / 16)


def _finish(output: Path, trained: Path, start: Start, found: FolderRows, banks: tuple[ClipBank, ClipBank]) -> Result:
    """Score the trained model, and make the output a model folder: weights first, config.json last."""
    train, held_out = banks
    model = load(trained, engine="torch")
    figures = evaluate_tags(model, held_out.rows, [Path(found.root)]) if held_out.rows else None
    facts: dict[str, Any] = {
        **model.folder.config.training,
        "stage": "own labels",
        "model": start.name,
        "from": start.training,
        "clips": len(train.rows),
        "clips_of": dict(sorted(Counter(row.labels[0] for row in train.rows).items())),
        "held_out_clips": len(held_out.rows),
        "held_out_sources": found.held_out_sources,
        "labels_without_sources": found.labels_without_sources,
        "held_out_figures": figures,
    }
    config = replace(model.folder.config, training=facts)
    scratch = output / WORK / "model"
    shutil.rmtree(scratch, ignore_errors=True)
    write_description(scratch, config, model.folder.mel)
    shutil.copyfile(trained / WEIGHTS, scratch / WEIGHTS)
    (scratch / CARD).write_text(card(start, config, found, train.rows, held_out.rows, figures), encoding="utf-8")
    if installed("onnx"):
        from sonopsis.graphs.write import write_graphs

        write_graphs(config, scratch / WEIGHTS)
    for file in sorted(scratch.iterdir(), key=lambda file: file.name == CONFIG):
        file.replace(output / file.name)
    shutil.rmtree(output / WORK)
    return Result(output, figures, summary(figures, found))


def summary(figures: dict[str, Any] | None, found: FolderRows) -> str:
    """The score in one line, with what it was measured on."""
    if figures is None:
        return "no recording was held out, so there is no score"
    low, high = figures["balanced_accuracy_interval"]
    where = f"of {len(found.held_out_sources)} held-out sources" if found.held_out_sources else "held out"
    if found.divided:
        where = "of your own division"
    return (
        f"on {figures['clips']} clips {where}: accuracy {figures['accuracy']:.3f}, balanced accuracy "
        f"{figures['balanced_accuracy']:.3f} (95 % {low:.3f}-{high:.3f}), mAP {figures['map']:.3f}"
    )
