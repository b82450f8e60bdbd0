"""What the language model is told, alike in every engine, and the sentence that is chosen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

import sonopsis
from sonopsis.calibration import Calibration
from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.config import ConnectorConfig
from sonopsis.engines.base import Prompt
from sonopsis.files import TOKENIZER
from sonopsis.folder import ModelConfig, describe
from sonopsis.graphs.write import write_graphs
from sonopsis.modules import save
from sonopsis.speaker import UNCLEAR_CAPTION, told
from sonopsis.tracks import facts


def model_of_facts(tiny: Path, folder: Path, summary: bool, **fields: object) -> Path:
    """The tiny model with a connector that scores labels, whose language model reads facts."""
    found = describe(tiny)
    assert found.config.lm is not None
    connector = ConnectorConfig(16, 16, 8, summary=summary, labels=len(found.config.labels), reduction=3)
    config: ModelConfig = replace(found.config, connector=connector, facts=True, **fields)  # type: ignore[arg-type]
    torch.manual_seed(3)
    module = Captioner(config.encoder, len(config.labels), connector, found.config.lm)
    save(module, folder, config, found.mel)
    Tokenizer.from_file(str(tiny / TOKENIZER)).save(str(folder / TOKENIZER))
    write_graphs(config, folder / "model.safetensors")
    return folder


def heard(scores: NDArray[np.float32]) -> Prompt:
    steps = np.random.default_rng(0).random((1, 16, len(scores))).astype(np.float32)
    return Prompt(scores[None], None, steps)


@pytest.mark.parametrize("summary", [True, False])
def test_every_engine_tells_the_same_facts(tiny_model: Path, tmp_path: Path, summary: bool) -> None:
    folder = model_of_facts(tiny_model, tmp_path / "facts", summary)
    mel = np.random.default_rng(1).standard_normal((1, 256, 128)).astype(np.float32)
    rows = np.random.default_rng(2).random((1, 16 + summary, 6)).astype(np.float32)
    found = []
    for name in ("torch", "onnx"):
        engine = sonopsis.load(folder, engine=name).engine
        prompt = engine.prompt(mel, None)
        assert prompt.steps is not None and prompt.steps.shape == (1, 16, 6)
        found.append(np.asarray(engine.tell(prompt, rows)))
        assert found[-1].shape == np.asarray(prompt.embeddings).shape == (1, 6 + summary + 1, 16)
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)  # matrices are in float16 in the file
    module = sonopsis.load(folder, engine="torch").module
    with torch.inference_mode():
        expected = module.prompt(module.connector.told(torch.from_numpy(rows)))
    np.testing.assert_allclose(found[0], expected.numpy(), atol=1e-6)


def test_only_labels_that_reach_their_share_of_the_threshold_are_told(tiny_model: Path, tmp_path: Path) -> None:
    labels = describe(tiny_model).config.labels
    thresholds = dict.fromkeys(labels, 0.4)
    folder = model_of_facts(
        tiny_model, tmp_path / "facts", True, thresholds=thresholds, calibration=Calibration(grounding=0.5)
    )
    model = sonopsis.load(folder, engine="torch")
    config = replace(model.folder.config, distilled_labels=[labels[3]])
    scores = np.array([0.9, 0.25, 0.1, 0.9, 0.0, 0.0], np.float32)
    prompt = replace(heard(scores), embeddings=torch.zeros(1, 8, 16))
    assert prompt.steps is not None
    found = told(model.engine, config, prompt, scores)
    expected = model.engine.tell(prompt, facts(prompt.steps[0], [0, 1], summary=True)[None])
    assert torch.equal(found, expected)
    assert told(model.engine, replace(config, facts=False), prompt, scores) is prompt.embeddings


def test_without_a_label_over_its_threshold_the_sound_is_unclear(tiny_model: Path, tmp_path: Path) -> None:
    labels = describe(tiny_model).config.labels
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    for name, threshold, unclear in (("low", 0.0, False), ("high", 1.0, True)):
        folder = model_of_facts(tiny_model, tmp_path / name, True, thresholds=dict.fromkeys(labels, threshold))
        for engine in ("torch", "onnx"):
            (caption,) = sonopsis.load(folder, engine=engine).caption(noise, sample_rate=16_000)
            assert (caption.text == UNCLEAR_CAPTION) == unclear


def test_facts_need_a_connector_that_scores_labels(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="facts need a connector"):
        replace(describe(tiny_model).config, facts=True)
