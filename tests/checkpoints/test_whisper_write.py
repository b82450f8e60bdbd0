"""Whisper classifiers written for transformers, which has the same logits with them."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sonopsis
from sonopsis.encoder import PRESETS
from sonopsis.encoder.tagger import Tagger
from sonopsis.files import ModelError
from sonopsis.folder import ModelConfig
from sonopsis.mel import whisper_front_end
from sonopsis.model import Model
from sonopsis.modules import save

transformers = pytest.importorskip("transformers")

NAMES = ["Dog", "Rain", "Bell"]
NOISE = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)


def ours(folder: Path, frames: int = 100, labels: tuple[str, ...] = tuple(NAMES), **changes: Any) -> Model:
    """A model of ours for a second of audio in which every parameter matters."""
    fields: dict[str, Any] = {"width": 32, "depth": 3, "heads": 4, "frames": frames, "head_norm": False}
    encoder = replace(PRESETS["whisper-tiny"], **fields | changes)
    torch.manual_seed(0)
    tagger = Tagger(encoder, len(labels))
    for parameter in tagger.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    save(tagger, folder, ModelConfig(list(labels), encoder), whisper_front_end(frames, encoder.mels))
    return sonopsis.load(folder, engine="torch")


@pytest.mark.parametrize(
    "changes", [{}, {"mels": 128, "patch": (2, 128), "stride": (2, 128)}, {"layer_weights": True}], ids=str
)
def test_transformers_gives_the_same_logits_for_the_same_sound(changes: dict[str, Any], tmp_path: Path) -> None:
    """The keys of this model have a bias, which transformers' have not: no logit depends on it."""
    model = ours(tmp_path / "ours", **changes)
    assert model.module.encoder.blocks[0].attn.qkv.bias[32:64].abs().min() > 0
    model.export(tmp_path / "hf", to="hf")
    theirs = transformers.AutoModelForAudioClassification.from_pretrained(tmp_path / "hf").eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "hf")
    features = extractor(NOISE, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        expected = theirs(features).logits.numpy()
    found = model.logits(model.mel(NOISE))
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5 * np.abs(expected).max())
    assert [theirs.config.id2label[i] for i in range(3)] == NAMES


def test_read_again_it_is_the_same_model(tmp_path: Path) -> None:
    model = ours(tmp_path / "ours")
    model.export(tmp_path / "hf", to="hf")
    again = sonopsis.load(tmp_path / "hf")
    assert again.folder.config.encoder == model.folder.config.encoder and again.folder.mel == model.folder.mel
    np.testing.assert_allclose(again.logits(model.mel(NOISE)), model.logits(model.mel(NOISE)), rtol=1e-4, atol=1e-5)
    again.export(tmp_path / "third", to="hf")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("hf", "third"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    for name in ("config.json", "preprocessor_config.json"):
        assert json.loads((tmp_path / "hf" / name).read_text()) == json.loads((tmp_path / "third" / name).read_text())


def test_what_transformers_cannot_be_told_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = ours(tmp_path / "ours")
    with caplog.at_level(logging.WARNING):
        model.export(tmp_path / "hf", to="hf")
        sonopsis.load(tmp_path / "ours", keep_rate=0.5).export(tmp_path / "pruned", to="hf")
    padding, again, keep_rate = caplog.messages
    assert padding == again and "always to 100 there" in padding and "keep rate 0.5" in keep_rate


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head_norm": True}, "'head_norm': True"),
        ({"token_norm": False}, "'token_norm': False"),
        ({"labels": ()}, "no labels"),
        ({"frames": 150}, "whole seconds"),
    ],
)
def test_what_transformers_cannot_be_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        ours(tmp_path / "ours", **changes).export(tmp_path / "hf", to="hf")
    assert not (tmp_path / "hf").exists()
