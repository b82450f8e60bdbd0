"""`sonopsis train CONFIG`: model, data and task of a configuration, handed to the loop."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import set_seed

from sonopsis.data.clips import ClipBank
from sonopsis.folder import write_description
from sonopsis.metrics.evaluate import choose_threshold
from sonopsis.model import load
from sonopsis.scenes.compose import compose
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.training.asking import training_captions
from sonopsis.training.captioning import VALIDATION_SCENES, Captioning
from sonopsis.training.config import TrainConfig
from sonopsis.training.configfile import load_stages
from sonopsis.training.described import Described, frequent_caption
from sonopsis.training.loop import fit
from sonopsis.training.masked import Masked
from sonopsis.training.recordings import open_clips
from sonopsis.training.start import Start, open_start
from sonopsis.training.tagging import Tagging
from sonopsis.training.verbalising import Verbalising

TASKS: dict[str, type[Masked] | type[Tagging] | type[Captioning]] = {
    "masked": Masked,
    "tagging": Tagging,
    "verbalising": Verbalising,
    "captioning": Captioning,
}


def train(config_path: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Train what a YAML file describes, stage by stage; returns the (last) model folder.

    A stage whose output folder holds a checkpoint is resumed, or, where it has ended, left as it is. Raises ValueError
    for a wrong configuration, before anything is trained, and for data that are not there.
    """
    for config in load_stages(config_path, overrides):
        try:
            folder = run(config)
        except ValueError as error:
            raise ValueError(f"{config_path}: {error}") from error
    return folder


def run(config: TrainConfig) -> Path:
    """Train what a configuration describes; returns the model folder."""
    state = PartialState(cpu=not torch.cuda.is_available())
    if config.stage == "verbalising" and state.num_processes > 1:
        raise ValueError("stage: verbalising trains in one process; start it without `accelerate launch`")
    start = open_start(config)
    with state.main_process_first():  # the others find the clips that it has decoded
        clips, validation = open_clips(config)
    set_seed(config.seed)  # before the task makes its weights
    task = Described if config.data.captions == "manifest" else TASKS[config.stage]
    folder = fit(task(config, start, clips, validation), config)
    if state.is_main_process:
        conclude(folder, config, start, clips, validation)
    state.wait_for_everyone()  # the next stage reads the folder
    return folder


def conclude(path: Path, config: TrainConfig, start: Start, clips: ClipBank, validation: ClipBank) -> None:
    """Write into a trained model's folder what it was trained on.

    A captioner also gets what the baselines of `sonopsis eval` need: the most frequent training caption, and, if it
    learned from scenes, the tag threshold that validation scenes choose.
    """
    model = load(path, engine="torch")
    facts = training_facts(config, start, clips, validation)
    taught = set(model.labels) - set(model.folder.config.distilled_labels)
    if config.data.captions == "manifest":
        facts["most_frequent_caption"] = frequent_caption(clips)
    elif config.stage == "captioning" and taught <= set(LEAVES):
        scenes = list(compose(validation.rows, seed=2, count=VALIDATION_SCENES, split="validation"))
        facts["most_frequent_caption"] = Counter(training_captions(clips)).most_common(1)[0][0]
        facts["tag_threshold"] = choose_threshold(model, scenes, validation.read)
    write_description(path, replace(model.folder.config, training=facts), model.folder.mel)


def training_facts(config: TrainConfig, start: Start, clips: ClipBank, validation: ClipBank) -> dict[str, Any]:
    """What `sonopsis info` says of the training: run, data, and the run it started from."""
    return {
        "stage": config.stage,
        "steps": config.steps,
        "examples": config.steps * config.batch_size,
        "seed": config.seed,
        "clips": len(clips.rows),
        "packages": sorted({row.source for row in clips.rows}),
        "validation_clips": len(validation.rows),
        "model": start.name,
        "from": start.training,
    }
