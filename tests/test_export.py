"""Saved and exported models: our own folders load as the same model, transformers loads the others."""

import json
import logging
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file
from typer.testing import CliRunner

import sonopsis
from sonopsis.cli.main import app
from sonopsis.files import ModelError
from sonopsis.graphs.names import STAMP
from sonopsis.model import Model

transformers = pytest.importorskip("transformers")

NAMES = ["Speech", "Dog", "Water"]
NOISE = 0.1 * np.random.default_rng(0).standard_normal(12_000).astype(np.float32)
# Of the largest value: two programs add the same float32 numbers in different orders, which on a processor with AVX2
# alone moves the logits of these random models by up to 8e-6. Tests of the layouts compare in float64, to 1e-11.
ROUNDING = 3e-5
SIZES = [(10, 128), (10, 512), (16, 128), (16, 512), (16, 1024)]  # stride and Mel frames; 10 and 1024 in test_ast


def tiny(folder: Path, kind: str = "ASTForAudioClassification", **changes: Any) -> Any:
    """A random model of transformers in which every parameter matters, saved with its feature extractor."""
    fields: dict[str, Any] = {
        "hidden_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 96,
        "max_length": 128,
        "layer_norm_eps": 1e-6,
        "id2label": dict(enumerate(NAMES)),
        "label2id": {name: i for i, name in enumerate(NAMES)},
    }
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.ASTConfig(**fields | changes)).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    length = model.config.max_length
    transformers.ASTFeatureExtractor(max_length=length, mean=-5.0, std=3.0).save_pretrained(folder)
    return model


def original(state: dict[str, torch.Tensor], depth: int) -> "OrderedDict[str, torch.Tensor]":
    """A file of transformers by the names of the original code, with its `module.` and DeiT's leftovers."""
    body = "audio_spectrogram_transformer."
    found = {
        "v.cls_token": state[f"{body}embeddings.cls_token"],
        "v.dist_token": state[f"{body}embeddings.distillation_token"],
        "v.pos_embed": state[f"{body}embeddings.position_embeddings"],
        "v.head.weight": torch.zeros(4, 64),
    }
    for kind in ("weight", "bias"):
        found[f"v.patch_embed.proj.{kind}"] = state[f"{body}embeddings.patch_embeddings.projection.{kind}"]
        found[f"v.norm.{kind}"] = state[f"{body}layernorm.{kind}"]
        found[f"mlp_head.0.{kind}"] = state[f"classifier.layernorm.{kind}"]
        found[f"mlp_head.1.{kind}"] = state[f"classifier.dense.{kind}"]
        for i in range(depth):
            layer, block = f"{body}encoder.layer.{i}", f"v.blocks.{i}"
            parts = [state[f"{layer}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            found[f"{block}.attn.qkv.{kind}"] = torch.cat(parts)
            found[f"{block}.attn.proj.{kind}"] = state[f"{layer}.attention.output.dense.{kind}"]
            found[f"{block}.norm1.{kind}"] = state[f"{layer}.layernorm_before.{kind}"]
            found[f"{block}.norm2.{kind}"] = state[f"{layer}.layernorm_after.{kind}"]
            found[f"{block}.mlp.fc1.{kind}"] = state[f"{layer}.intermediate.dense.{kind}"]
            found[f"{block}.mlp.fc2.{kind}"] = state[f"{layer}.output.dense.{kind}"]
    return OrderedDict((f"module.{name}", tensor) for name, tensor in found.items())


def assert_transformers_agrees(folder: Path, model: Model) -> None:
    """Logits of the exported folder for the same Mel, up to rounding."""
    theirs = transformers.ASTForAudioClassification.from_pretrained(folder).eval()
    # The one difference that such a folder cannot state, and a warning does; it moves the logits as much as rounding.
    theirs.classifier.layernorm.eps = model.folder.config.encoder.head_norm_eps
    mel = np.random.default_rng(1).standard_normal((2, model.folder.mel.frames, 128)).astype(np.float32)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(mel)).logits.numpy()
    assert np.abs(model.logits(mel, keep_rate=1) - expected).max() <= ROUNDING * np.abs(expected).max()
    assert [theirs.config.id2label[i] for i in range(len(model.labels))] == model.labels


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_default_model_saved_is_the_same_file_again(tmp_path: Path) -> None:
    model = sonopsis.load(engine="torch")
    model.save(tmp_path / "again")
    again = sonopsis.load(tmp_path / "again")
    stored, before = load_file(again.folder.weights), load_file(model.folder.weights)
    assert stored.keys() == before.keys()
    assert all(torch.equal(stored[name], before[name]) for name in before)
    assert all(stored[name].dtype == before[name].dtype for name in before)
    assert again.folder.config == model.folder.config and again.folder.mel == model.folder.mel
    assert again.caption(NOISE) == model.caption(NOISE)
    names = {file.name for file in model.folder.path.iterdir() if file.suffix != ".onnx" and file.name != STAMP}
    assert {file.name for file in (tmp_path / "again").iterdir()} == names
    assert (tmp_path / "again" / "README.md").read_bytes() == (model.folder.path / "README.md").read_bytes()


def test_a_model_on_another_engine_is_saved_without_torch(tmp_path: Path) -> None:
    model = sonopsis.load(engine="onnx")
    model.save(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == model.folder.weights.read_bytes()
    assert sonopsis.load(tmp_path / "again").folder.config == model.folder.config


def test_a_checkpoint_saved_has_the_same_logits_to_the_bit(tmp_path: Path) -> None:
    tiny(tmp_path / "theirs")
    model = sonopsis.load(tmp_path / "theirs", keep_rate=0.7)
    model.save(tmp_path / "ours")
    again = sonopsis.load(tmp_path / "ours")
    mel = model.mel(NOISE)
    assert np.array_equal(again.mel(NOISE), mel) and again.labels == NAMES
    assert np.array_equal(again.logits(mel), model.logits(mel)) and again.keep_rate == 0.7
    assert np.array_equal(again.logits(mel, keep_rate=1), model.logits(mel, keep_rate=1))
    assert (tmp_path / "ours" / "README.md").read_text().startswith("# theirs\n")
    again.save(tmp_path / "third")
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        assert (tmp_path / "third" / name).read_bytes() == (tmp_path / "ours" / name).read_bytes()


def test_an_encoder_without_a_classifier_can_be_saved(tmp_path: Path) -> None:
    tiny(tmp_path / "theirs", "ASTModel")
    model = sonopsis.load(tmp_path / "theirs")
    model.save(tmp_path / "ours")
    again = sonopsis.load(tmp_path / "ours")
    mel = model.mel(NOISE)
    assert np.array_equal(again.encode(mel).tokens, model.encode(mel).tokens)
    model.export(tmp_path / "hf", to="hf")
    theirs = transformers.ASTModel.from_pretrained(tmp_path / "hf").eval()
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(mel)).last_hidden_state[:, :2].numpy()
    assert np.abs(model.encode(mel).prefix - expected).max() <= ROUNDING * np.abs(expected).max()


@pytest.mark.parametrize(("stride", "frames"), SIZES)
def test_there_and_back_every_tensor_is_the_same_bits(stride: int, frames: int, tmp_path: Path) -> None:
    tiny(tmp_path / "theirs", time_stride=stride, frequency_stride=stride, max_length=frames)
    sonopsis.load(tmp_path / "theirs").save(tmp_path / "ours")
    model = sonopsis.load(tmp_path / "ours")
    model.export(tmp_path / "back", to="hf")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert_transformers_agrees(tmp_path / "back", model)


def test_every_field_of_the_configuration_survives(tmp_path: Path) -> None:
    tiny(tmp_path / "theirs", time_stride=12, frequency_stride=8, layer_norm_eps=1e-3, intermediate_size=100)
    sonopsis.load(tmp_path / "theirs").export(tmp_path / "back", to="hf")
    for name in ("config.json", "preprocessor_config.json"):
        before, after = (json.loads((tmp_path / folder / name).read_text()) for folder in ("theirs", "back"))
        for field in ("transformers_version", "use_cache"):  # of the program that wrote the file
            before.pop(field, None)
        assert {field: after.get(field) for field in before} == before
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "back")
    expected = extractor(NOISE, sampling_rate=16_000, return_tensors="np")["input_values"]
    mel = sonopsis.load(tmp_path / "theirs").mel(NOISE)
    np.testing.assert_allclose(mel, expected, atol=1e-3)


@pytest.mark.parametrize(("stride", "frames"), SIZES)
def test_an_original_file_becomes_a_folder_for_transformers(
    stride: int, frames: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny(tmp_path / "theirs", time_stride=stride, frequency_stride=stride, max_length=frames)
    torch.save(original(load_file(tmp_path / "theirs" / "model.safetensors"), 2), tmp_path / "audioset.pth")
    model = sonopsis.load(tmp_path / "audioset.pth")
    with caplog.at_level(logging.WARNING):
        model.export(tmp_path / "hf", to="hf")
    assert_transformers_agrees(tmp_path / "hf", model)
    said = " ".join(record.message for record in caplog.records)
    assert "classifier's norm has epsilon 1e-05" in said and "mean of a clip is removed" in said
    assert "padded" not in said and "keep rate" not in said


def test_what_the_form_cannot_say_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny(tmp_path / "theirs")
    sonopsis.load(tmp_path / "theirs", keep_rate=0.7).save(tmp_path / "ours")
    file = tmp_path / "ours" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"padding": "clip_min"}))
    result = command("export", tmp_path / "ours", "--to", "hf", "-o", tmp_path / "hf")
    assert result.exit_code == 0 and result.stdout == ""
    padding, keep_rate = caplog.messages  # the command shows warnings on standard error
    assert padding.startswith("ours: clips shorter than the input are padded with clip_min")
    assert keep_rate.startswith("ours: keep rate 0.7 is not stored")
    caplog.clear()
    silent = command("export", tmp_path / "theirs", "--to", "hf", "-o", tmp_path / "same")
    assert (silent.exit_code, silent.output, caplog.messages) == (0, "", [])


def test_only_an_ast_that_tags_goes_to_transformers(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="language model"):
        sonopsis.load(tiny_model).export(tmp_path / "hf", to="hf")
    tiny(tmp_path / "theirs")
    model = sonopsis.load(tmp_path / "theirs")
    config = model.module.encoder.config
    for change, words in (({"family": "audiomae"}, "family audiomae"), ({"pooling": "cls"}, "'pooling': 'cls'")):
        changed = replace(model.folder.config, encoder=replace(config, **change))  # type: ignore[arg-type]
        model.folder = replace(model.folder, config=changed)
        with pytest.raises(ModelError, match=words):
            model.export(tmp_path / "hf", to="hf")
    assert not (tmp_path / "hf").exists()


def test_the_command_writes_a_folder_and_refuses_in_one_line(tmp_path: Path) -> None:
    tiny(tmp_path / "theirs")
    assert command("export", tmp_path / "theirs", "-o", tmp_path / "ours").exit_code == 0
    assert sonopsis.load(tmp_path / "ours").labels == NAMES
    full = command("export", tmp_path / "theirs", "-o", tmp_path / "ours")
    assert (full.exit_code, full.stderr) == (1, f"error: {tmp_path / 'ours'}: not an empty folder; choose a new one\n")
    assert command("export", tmp_path / "nothing", "-o", tmp_path / "x").exit_code == 1
    assert command("export", tmp_path / "theirs", "--to", "tflite", "-o", tmp_path / "x").exit_code == 2
    with pytest.raises(ValueError, match="choose one of folder, hf"):
        sonopsis.load(tmp_path / "ours").export(tmp_path / "x", to="tflite")
    assert not (tmp_path / "x").exists()
