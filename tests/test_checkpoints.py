"""Other programs' checkpoints through the whole path: `sonopsis.load`, tags, `sonopsis tag` and `sonopsis info`."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import sonopsis
from sonopsis.cli.main import app
from sonopsis.encoder import read_checkpoint
from sonopsis.folder import ModelError
from sonopsis.model import from_checkpoint, save

transformers = pytest.importorskip("transformers")

NAMES = ["Speech", "Dog", "Water"]
NOISE = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)


@pytest.fixture(scope="module")
def ast(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder of transformers' AST with its feature extractor, and the model."""
    folder = tmp_path_factory.mktemp("models") / "tiny-ast"
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=1,
        intermediate_size=64,
        max_length=128,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
        initializer_range=0.2,
    )
    model = transformers.ASTForAudioClassification(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    transformers.ASTFeatureExtractor(max_length=128, mean=-5.0, std=3.0).save_pretrained(folder)
    return folder, model


@pytest.fixture
def audiomae(tmp_path: Path) -> Path:
    """A pretrained AudioMAE without a classifier: an encoder alone."""
    torch.manual_seed(0)
    shapes = {"cls_token": (1, 1, 64), "pos_embed": (1, 65, 64), "patch_embed.proj.weight": (64, 1, 16, 16)}
    shapes |= {"patch_embed.proj.bias": (64,), "blocks.0.attn.qkv.weight": (192, 64), "blocks.0.attn.qkv.bias": (192,)}
    for name, (out, inputs) in {"attn.proj": (64, 64), "mlp.fc1": (256, 64), "mlp.fc2": (64, 256)}.items():
        shapes |= {f"blocks.0.{name}.weight": (out, inputs), f"blocks.0.{name}.bias": (out,)}
    for name in ("norm1", "norm2"):
        shapes |= {f"blocks.0.{name}.weight": (64,), f"blocks.0.{name}.bias": (64,)}
    torch.save({"model": {name: torch.randn(shape) for name, shape in shapes.items()}}, tmp_path / "pretrained.pth")
    return tmp_path / "pretrained.pth"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_tags_are_those_of_transformers_with_its_own_features(ast: tuple[Path, Any]) -> None:
    folder, theirs = ast
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    features = extractor(NOISE, sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        expected = theirs(features).logits[0]
    model = sonopsis.load(folder)
    mel = model.mel(NOISE)
    assert mel.shape == tuple(features.shape)
    np.testing.assert_allclose(mel, features.numpy(), atol=1e-3)
    np.testing.assert_allclose(model.logits(mel)[0], expected.numpy(), atol=1e-3 * expected.abs().max().item())
    (tags,) = model.tag(NOISE)
    assert [label for label, _ in tags.labels] == [NAMES[i] for i in expected.argsort(descending=True)]
    assert model.name == "tiny-ast" and model.window == 1.28


def test_pruning_a_checkpoint_is_an_argument(ast: tuple[Path, Any]) -> None:
    model = sonopsis.load(ast[0], keep_rate=0.5)
    assert [stage.shape[1] for stage in model.encode(model.mel(NOISE)).stages] == [72, 36, 18]  # of 12 x 12 patches
    assert [stage.shape[1] for stage in model.encode(model.mel(NOISE), keep_rate=0.8).stages] == [116, 93, 75]


def test_a_checkpoint_saved_as_a_model_folder_is_the_same_model(ast: tuple[Path, Any], tmp_path: Path) -> None:
    first = from_checkpoint(read_checkpoint(ast[0]))
    save(first.module, tmp_path / "ours", first.folder.config, first.folder.mel)
    second = sonopsis.load(tmp_path / "ours")
    mel = first.mel(NOISE)
    assert second.labels == NAMES and np.array_equal(second.mel(NOISE), mel)
    np.testing.assert_allclose(second.logits(mel), first.logits(mel), atol=0.05)  # stored in half precision


def test_the_command_tags_with_a_folder(ast: tuple[Path, Any], sounds: Path) -> None:
    result = command("tag", sounds / "deep" / "tone.flac", "--model", ast[0], "-f", "json", "--top-k", 2)
    assert result.exit_code == 0, result.output
    (entry,) = json.loads(result.stdout)
    assert entry["model"] == "tiny-ast"
    for window in entry["windows"]:
        assert len(window["labels"]) == 2 and all(found["label"] in NAMES for found in window["labels"])


def test_the_command_tells_what_a_checkpoint_is(ast: tuple[Path, Any]) -> None:
    facts = json.loads(command("info", ast[0], "--json").stdout)
    assert (facts["family"], facts["labels"], facts["window"]) == ("ast", NAMES, 1.28)
    theirs = sum(parameter.numel() for parameter in ast[1].parameters())
    assert facts["parameters"] == theirs


def test_a_checkpoint_does_not_caption(ast: tuple[Path, Any], sounds: Path) -> None:
    result = command("caption", sounds / "noise.wav", "--model", ast[0])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("tiny-ast only tags; it has no language model to caption with")


def test_an_encoder_without_a_classifier_only_encodes(audiomae: Path, sounds: Path) -> None:
    model = sonopsis.load(audiomae)
    assert model.labels == [] and model.name == "pretrained"
    mel = model.mel(NOISE)
    assert model.encode(mel).tokens.shape == (1, 64, 64)
    for samples in (NOISE, np.zeros(16_000, np.float32)):
        with pytest.raises(ModelError, match="no classifier"):
            model.tag(samples)
    with pytest.raises(ValueError, match="no classifier"):
        model.logits(mel)
    result = command("tag", sounds, "--model", audiomae)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    facts = json.loads(command("info", audiomae, "--json").stdout)
    assert (facts["labels"], facts["parts"].keys()) == ([], {"encoder"})
    assert command("info", audiomae).exit_code == 0


class Payload:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, sounds: Path) -> None:
    torch.save({"model": {}, "args": Payload(tmp_path / "proof")}, tmp_path / "evil.pth")
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    for name in ("evil.pth", "other.pth", "text.pth", "bert", "nothing.pth"):
        result = command("tag", sounds / "noise.wav", "--model", tmp_path / name)
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1), name
        assert str(tmp_path / name) in result.stderr
    assert not (tmp_path / "proof").exists()
