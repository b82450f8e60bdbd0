"""The four runs that make a captioner on Whisper's encoder, in small: each starts from the folder before it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import sonopsis
from sonopsis.training import asking, captioning
from sonopsis.training.run import train

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = ["warmup_steps=1", "log_every=1", "save_every=2", "validate_every=2", "data.workers=0"]
LM = ["language_model.width=16", "language_model.depth=1", "language_model.state=8", "language_model.head_dim=8"]


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRAINING_SCENES", 50)
    monkeypatch.setattr(captioning, "VALIDATION_SCENES", 2)
    monkeypatch.setattr("sonopsis.training.verbalising.VALIDATION_SCENES", 2)
    monkeypatch.setattr("sonopsis.training.run.VALIDATION_SCENES", 2)


def test_tagger_words_questions_captioner(write_run: Callable[..., Path], root: Path, tmp_path: Path) -> None:
    sizes = {"width": 16, "depth": 4, "heads": 2}
    folder = train(write_run("tagging", "tagger", model="whisper-tiny", encoder=sizes, data={"seconds": 1.0}))
    tagger = sonopsis.load(folder, engine="torch").module
    for name, more in (
        ("ear-words", [*LM, "steps=4", "batch_size=4"]),
        ("ear-questions", ["steps=2", "batch_size=4"]),
        ("ear-captioner", ["steps=4", "batch_size=8", "data.scenes=24", "learning_rate=0.01"]),
    ):
        places = [f"output={tmp_path / name}", f"model={folder}", f"data.root={root}"]
        folder = train(CONFIGS / f"{name}.yaml", [*places, *SMALL, *more])
    model = sonopsis.load(folder, engine="torch")
    assert model.window == 10.24 and model.keep_rate == 0.7
    connector = model.module.connector.config
    assert (connector.pool, connector.reduction, connector.summary) == (8, 2, True)
    for part, before in (("encoder", tagger.encoder), ("head", tagger.head)):
        after = getattr(model.module.tagger, part).state_dict()
        assert all(torch.equal(value, after[key]) for key, value in before.state_dict().items()), part
    noise = 0.1 * np.random.default_rng(1).standard_normal(16_000)
    assert [answer.question for answer in model.ask(noise, "is there a dog")] == ["is there a dog?"]
    captions = model.caption(0.1 * np.random.default_rng(0).standard_normal(15 * 16_000), beams=1)
    assert len(captions) == 2  # of 10.24 s and of the rest
    assert len(list((tmp_path / "ear-captioner" / "scenes").glob("*/*.safetensors"))) == 2
