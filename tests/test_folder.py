"""Published checkpoints as a model: `sonopsis.load`, tags, `sonopsis tag` and `sonopsis info`."""

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
from sonopsis.checkpoints import read_checkpoint
from sonopsis.cli.main import app
from sonopsis.encoder import Head
from sonopsis.encoder.positions import sincos_table
from sonopsis.files import ModelError
from sonopsis.modules import save

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


def block() -> dict[str, torch.Tensor]:
    """One random transformer block of width 192 by timm's names."""
    linear = {"attn.qkv": (576, 192), "attn.proj": (192, 192), "mlp.fc1": (256, 192), "mlp.fc2": (192, 256)}
    state = {f"{name}.weight": torch.randn(shape) / 14 for name, shape in linear.items()}
    state |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in linear.items()}
    state |= {f"{name}.{kind}": torch.randn(192) for name in ("norm1", "norm2") for kind in ("weight", "bias")}
    return {f"blocks.0.{name}": tensor for name, tensor in state.items()}


@pytest.fixture
def audiomae(tmp_path: Path) -> Path:
    """A pretrained AudioMAE without a classifier: an encoder alone."""
    torch.manual_seed(0)
    state = block() | {"cls_token": torch.randn(1, 1, 192), "pos_embed": torch.randn(1, 65, 192)}
    state |= {"patch_embed.proj.weight": torch.randn(192, 1, 16, 16), "patch_embed.proj.bias": torch.randn(192)}
    torch.save({"model": state}, tmp_path / "pretrained.pth")
    return tmp_path / "pretrained.pth"


@pytest.fixture
def eat(tmp_path: Path) -> Path:
    """A fine-tuned EAT as fairseq writes it, its fixed positions computed and not learned."""
    torch.manual_seed(0)
    modality = {"extra_tokens": torch.randn(1, 1, 192), "local_encoder.proj.weight": torch.randn(192, 1, 16, 16)}
    modality |= {"local_encoder.proj.bias": torch.randn(192), "context_encoder.norm.weight": torch.randn(192)}
    modality |= {"context_encoder.norm.bias": torch.randn(192)}
    modality["fixed_positional_encoder.positions"] = torch.from_numpy(sincos_table((64, 8), 192))[None]
    state = {f"model.modality_encoders.IMAGE.{name}": tensor for name, tensor in modality.items()}
    state |= {f"model.{name}": tensor for name, tensor in block().items()}
    state |= {"fc_norm.weight": torch.randn(192), "fc_norm.bias": torch.randn(192)}
    state |= {"head.weight": torch.randn(3, 192), "head.bias": torch.randn(3)}
    torch.save({"model": state, "cfg": {}}, tmp_path / "EAT-tiny.pt")
    return tmp_path / "EAT-tiny.pt"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.filterwarnings("ignore:At least one mel filter")  # the narrowest have no FFT bin
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


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_windows_of_a_longer_recording_are_heard_to_their_end(ast: tuple[Path, Any]) -> None:
    """The last frames of a window reach into what follows, as where transformers cuts the spectrogram."""
    folder, theirs = ast
    noise = 0.1 * np.random.default_rng(1).standard_normal(3 * 16_000).astype(np.float32)  # windows of 1.28 s
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    model = sonopsis.load(folder)
    for place, tags in enumerate(model.tag(noise, threshold=0.0)):
        rest = noise[place * 20_480 :]
        features = extractor(rest, sampling_rate=16_000, return_tensors="pt")["input_values"]
        np.testing.assert_allclose(model.mel(rest), features.numpy(), atol=1e-3)
        with torch.inference_mode():
            expected = model.probabilities(theirs(features).logits.numpy())[0]
        found = dict(tags.labels)
        np.testing.assert_allclose([found[name] for name in NAMES], expected, atol=1e-3)
        assert (tags.start, tags.end) == (1.28 * place, min(1.28 * (place + 1), 3.0))


def test_pruning_a_checkpoint_is_an_argument(ast: tuple[Path, Any]) -> None:
    model = sonopsis.load(ast[0], keep_rate=0.5)
    assert [stage.shape[1] for stage in model.encode(model.mel(NOISE)).stages] == [72, 36, 18]  # of 12 x 12 patches
    assert [stage.shape[1] for stage in model.encode(model.mel(NOISE), keep_rate=0.8).stages] == [116, 93, 75]


def test_a_checkpoint_saved_as_a_model_folder_is_the_same_model(ast: tuple[Path, Any], tmp_path: Path) -> None:
    first = sonopsis.load(ast[0])
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
    assert model.encode(mel).tokens.shape == (1, 64, 192)
    for samples in (NOISE, np.zeros(16_000, np.float32)):
        with pytest.raises(ModelError, match="no classifier"):
            model.tag(samples)
    with pytest.raises(ValueError, match="no classifier"):
        model.logits(mel)
    result = command("tag", sounds / "noise.wav", "--model", audiomae)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    facts = json.loads(command("info", audiomae, "--json").stdout)
    assert (facts["labels"], facts["parts"].keys()) == ([], {"encoder"})
    assert command("info", audiomae).exit_code == 0


def test_a_fine_tuned_eat_tags_with_classes_by_number(eat: Path, sounds: Path) -> None:
    model = sonopsis.load(eat, keep_rate=0.7)
    checkpoint = read_checkpoint(eat)
    head = Head(192, 3, 1e-6)
    head.load_state_dict({name[5:]: t for name, t in checkpoint.state.items() if name.startswith("head.")})
    mel, encoder = model.mel(NOISE), checkpoint.encoder()
    assert mel.shape == (1, 1024, 128)
    with torch.inference_mode():
        expected = head(encoder.pool(encoder(torch.from_numpy(mel))))
    np.testing.assert_allclose(model.logits(mel, keep_rate=1), expected.numpy(), rtol=1e-4, atol=1e-4)
    result = command("tag", sounds / "deep" / "tone.flac", "--model", eat, "-f", "json")
    (entry,) = json.loads(result.stdout)
    assert {found["label"] for found in entry["windows"][0]["labels"]} == {"class 0", "class 1", "class 2"}


def test_a_loaded_model_does_not_hang_on_its_file(audiomae: Path) -> None:
    model = sonopsis.load(audiomae)
    mel = model.mel(NOISE)
    expected = sonopsis.load(audiomae).encode(mel).tokens
    audiomae.write_bytes(bytes(audiomae.stat().st_size))  # in place: a mapped file would read zeros from now on
    np.testing.assert_array_equal(model.encode(mel).tokens, expected)


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
