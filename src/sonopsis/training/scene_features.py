"""Scenes that a frozen encoder hears once (`data.scenes`); heard.py keeps what it hears."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from sonopsis.captioning.captioner import Captioner
from sonopsis.scenes.scene import Facts
from sonopsis.training.batches import Scenes, something_true
from sonopsis.training.config import DataConfig, TrainConfig
from sonopsis.training.heard import HeardExamples, Saying, hear, place


def features_folder(captioner: Captioner, source: Scenes, config: TrainConfig) -> Path:
    """Where the files of a run are: a folder of its output, named for all that decides what is in them."""
    facts = {
        "recordings": [(row.sha256, row.start, row.labels) for row in source.bank.rows],
        "scenes": repr(source.of_step(0)),  # changes with the rules by which scenes are composed and described
    }
    return place("scenes", captioner, source, config, facts)


def hear_scenes(captioner: Captioner, source: Scenes, folder: Path, config: TrainConfig) -> list[Path]:
    """The files of the first `data.scenes` scenes of `source`; those that are missing are written."""
    assert config.data.scenes is not None

    def about(number: int) -> dict[str, str]:
        scenes = source.of_step(number)
        facts = [(scene.facts.type, scene.facts.labels, scene.facts.count) for scene in scenes]
        return {"captions": json.dumps([scene.captions for scene in scenes]), "facts": json.dumps(facts)}

    return hear(captioner, folder, config.data.scenes, source.seed, config, source.batch, about)


def heard_scenes(files: list[Path], size: int, seed: int, tokenizer: Tokenizer, data: DataConfig) -> HeardExamples:
    """Batches of scenes that were heard, each with one of its captions, or, in the share `data.questions`, with a
    question and its answer."""

    def sayings(about: Mapping[str, str]) -> list[Saying]:
        captions, facts = (json.loads(about[name]) for name in ("captions", "facts"))
        known = [Facts(kind, tuple(labels), count) for kind, labels, count in facts]
        return [partial(something_true, *pair, data.questions) for pair in zip(captions, known, strict=True)]

    assert data.scenes is not None
    return HeardExamples(files, data.scenes, sayings, size=size, seed=seed, tokenizer=tokenizer, data=data)
