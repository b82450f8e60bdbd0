"""AST checkpoints in both layouts, against transformers' AST on the same random weights."""

import json
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sonopsis.checkpoints import Checkpoint, read_checkpoint
from sonopsis.checkpoints.ast import find_grid
from sonopsis.encoder import Head
from sonopsis.files import ModelError

transformers = pytest.importorskip("transformers")

STRIDES_AND_LENGTHS = [(10, 128), (10, 512), (10, 1024), (16, 128), (16, 512), (16, 1024)]


def tiny(kind: str = "ASTForAudioClassification", **changes: Any) -> Any:
    """A random model of transformers in which every parameter matters."""
    sharpness = 0.3 * (32 / changes.get("hidden_size", 32)) ** 0.5
    fields = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_length": 96,
        "frequency_stride": 16,
        "time_stride": 16,
        "num_labels": 5,
        "initializer_range": sharpness,  # sharp attention: a wrong row, head or position shows
    }
    torch.manual_seed(1)
    model = getattr(transformers, kind)(transformers.ASTConfig(**{**fields, **changes})).eval()
    for parameter in model.parameters():  # biases, norms and positions start as constants, which hide permutations
        parameter.data += 0.6 * sharpness * torch.randn_like(parameter)
    return model


def original(model: Any) -> "OrderedDict[str, torch.Tensor]":
    """Its state by the names of the original code, wrapped for data parallelism, with DeiT's leftovers."""
    state, body = model.state_dict(), "audio_spectrogram_transformer."
    names = {
        "v.cls_token": ["embeddings.cls_token"],
        "v.dist_token": ["embeddings.distillation_token"],
        "v.pos_embed": ["embeddings.position_embeddings"],
    }
    pairs = {"v.patch_embed.proj": ["embeddings.patch_embeddings.projection"], "v.norm": ["layernorm"]}
    for i in range(model.config.num_hidden_layers):
        own = f"v.blocks.{i}"
        pairs[f"{own}.norm1"] = [f"layers.{i}.layernorm_before"]
        pairs[f"{own}.attn.qkv"] = [f"layers.{i}.attention.{x}_proj" for x in "qkv"]
        pairs[f"{own}.attn.proj"] = [f"layers.{i}.attention.o_proj"]
        pairs[f"{own}.norm2"] = [f"layers.{i}.layernorm_after"]
        pairs[f"{own}.mlp.fc1"] = [f"layers.{i}.mlp.fc1"]
        pairs[f"{own}.mlp.fc2"] = [f"layers.{i}.mlp.fc2"]
    for kind in ("weight", "bias"):
        names |= {f"{own}.{kind}": [f"{name}.{kind}" for name in theirs] for own, theirs in pairs.items()}
    found = OrderedDict((own, torch.cat([state[body + name] for name in theirs])) for own, theirs in names.items())
    for kind in ("weight", "bias"):
        found[f"mlp_head.0.{kind}"] = state[f"classifier.layernorm.{kind}"]
        found[f"mlp_head.1.{kind}"] = state[f"classifier.dense.{kind}"]
    width = model.config.hidden_size
    for leftover in ("v.head", "v.head_dist"):
        found |= {f"{leftover}.weight": torch.zeros(10, width), f"{leftover}.bias": torch.zeros(10)}
    return OrderedDict((f"module.{name}", tensor) for name, tensor in found.items())


def assert_same_logits(checkpoint: Checkpoint, theirs: Any, frames: int) -> None:
    """In float64 to the last digits, so that a wrong eps shows; in float32, as it is used, up to rounding."""
    encoder = checkpoint.encoder()
    head = Head(checkpoint.config.width, len(checkpoint.labels), checkpoint.config.head_norm_eps)
    head.load_state_dict({name[5:]: t for name, t in checkpoint.state.items() if name.startswith("head.")})
    mel = torch.randn(2 if frames < 500 else 1, frames, 128)
    for dtype, bound in ((torch.float32, 3e-5), (torch.float64, 1e-11)):
        with torch.inference_mode():
            expected = theirs.to(dtype)(mel.to(dtype)).logits
            for pooled_only in (False, True):
                found = head.to(dtype)(encoder.pool(encoder.to(dtype)(mel.to(dtype), pooled_only=pooled_only)))
                assert (found - expected).abs().max() <= bound * expected.abs().max()
    theirs.float()


@pytest.mark.parametrize(("stride", "eps"), [((16, 16), 1e-12), ((10, 10), 1e-6), ((12, 8), 1e-2)])  # time, frequency
def test_a_folder_has_the_logits_of_transformers(stride: tuple[int, int], eps: float, tmp_path: Path) -> None:
    theirs = tiny(time_stride=stride[0], frequency_stride=stride[1], layer_norm_eps=eps)
    theirs.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.config.norm_eps == checkpoint.config.head_norm_eps == eps
    assert_same_logits(checkpoint, theirs, 96)


@pytest.mark.parametrize(("stride", "frames"), STRIDES_AND_LENGTHS)
def test_both_layouts_have_the_logits_of_transformers_at_every_published_size(
    stride: int, frames: int, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 256}
    theirs = tiny(time_stride=stride, frequency_stride=stride, max_length=frames, layer_norm_eps=1e-6, **sizes)
    theirs.save_pretrained(tmp_path / "folder")
    assert_same_logits(read_checkpoint(tmp_path / "folder"), theirs, frames)
    torch.save(original(theirs), tmp_path / "audioset.pth")
    theirs.classifier.layernorm.eps = 1e-5  # the original takes timm's norms in the body and torch's in the head
    checkpoint = read_checkpoint(tmp_path / "audioset.pth")
    assert (checkpoint.config.stride, checkpoint.mel.frames) == ((stride, stride), frames)
    assert_same_logits(checkpoint, theirs, frames)


def test_modules_names_as_well_as_those_on_disk(tmp_path: Path) -> None:
    theirs = tiny()
    theirs.config.save_pretrained(tmp_path)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    assert_same_logits(read_checkpoint(tmp_path), theirs, 96)


def test_a_pickled_folder_in_half_precision(tmp_path: Path) -> None:
    theirs = tiny().half()
    theirs.config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    assert_same_logits(read_checkpoint(tmp_path), theirs.float(), 96)


@pytest.mark.parametrize("kind", ["ASTModel", "ASTForAudioClassification"])
def test_every_token_equals_transformers_at_its_grid_cell(kind: str, tmp_path: Path) -> None:
    whole = tiny(kind)
    theirs = whole if kind == "ASTModel" else whole.audio_spectrogram_transformer
    whole.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    assert len(checkpoint.labels) == (0 if kind == "ASTModel" else 5)
    mel = torch.randn(2, 96, 128)
    with torch.inference_mode():
        expected = theirs(mel).last_hidden_state  # prefix, then frequency-major
        encoded = checkpoint.encoder()(mel)
    time, frequency = encoded.grid
    assert (time, frequency) == (6, 8)
    bound = 1e-5 * expected.abs().max()
    assert (encoded.prefix - expected[:, :2]).abs().max() <= bound
    for t in range(time):
        for f in range(frequency):
            difference = encoded.tokens[:, t * frequency + f] - expected[:, 2 + f * time + t]
            assert difference.abs().max() <= bound


def test_a_shorter_input_takes_the_middle_of_the_position_table(tmp_path: Path) -> None:
    theirs = tiny(max_length=128)
    theirs.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path, frames=48)
    assert checkpoint.mel.frames == checkpoint.config.frames == 48
    embeddings = theirs.audio_spectrogram_transformer.embeddings
    table = embeddings.position_embeddings.data
    middle = table[:, 2:].reshape(1, 8, 8, -1)[:, :, 3:6].reshape(1, 24, -1)  # 8 columns -> those from 8 // 2 - 3 // 2
    embeddings.position_embeddings.data = torch.cat([table[:, :2], middle], dim=1)
    assert_same_logits(checkpoint, theirs, 48)
    with pytest.raises(ModelError, match="up to 128"):
        read_checkpoint(tmp_path, frames=160)


def test_an_unusual_length_must_be_told(tmp_path: Path) -> None:
    sizes = {"hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 1}
    theirs = tiny(time_stride=10, frequency_stride=10, max_length=998, layer_norm_eps=1e-6, **sizes)
    theirs.classifier.layernorm.eps = 1e-5
    torch.save(original(theirs), tmp_path / "odd.pth")
    with pytest.raises(ModelError, match=r"1188 position codes.*frames=") as caught:
        read_checkpoint(tmp_path / "odd.pth")
    assert "\n" not in str(caught.value)
    assert_same_logits(read_checkpoint(tmp_path / "odd.pth", frames=998), theirs, 998)


@pytest.mark.parametrize(
    ("patches", "grid"),
    [(1212, (10, 1024)), (850, (12, 1024)), (657, (14, 1024)), (512, (16, 1024)), (600, (10, 512)), (144, (10, 128))],
)
def test_the_number_of_positions_tells_stride_and_length(patches: int, grid: tuple[int, int]) -> None:
    assert find_grid(patches, (16, 16)) == grid


def test_labels_and_front_end_are_those_of_the_folder(tmp_path: Path) -> None:
    names = {0: "Speech", 1: "Dog", 2: "Cat"}
    tiny(num_labels=3, id2label=names, label2id={name: i for i, name in names.items()}).save_pretrained(tmp_path)
    assert read_checkpoint(tmp_path).labels == ["Speech", "Dog", "Cat"]
    plain = read_checkpoint(tmp_path).mel
    assert (plain.mean, plain.std, plain.frames, plain.padding) == (-4.2677393, 4.5689974, 96, "zero")
    extractor = {"mean": -6.8, "std": 5.5, "max_length": 96, "sampling_rate": 16000, "num_mel_bins": 128}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(extractor))
    assert (read_checkpoint(tmp_path).mel.mean, read_checkpoint(tmp_path).mel.std) == (-6.8, 5.5)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(extractor | {"do_normalize": False}))
    assert (read_checkpoint(tmp_path).mel.mean, 2 * read_checkpoint(tmp_path).mel.std) == (0, 1)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(extractor | {"sampling_rate": 44100}))
    with pytest.raises(ModelError, match="sampling_rate"):
        read_checkpoint(tmp_path)


def test_missing_unknown_and_misshapen_tensors_are_all_listed(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole, body = load_file(weights), "audio_spectrogram_transformer."
    broken = {**whole, "decoder.weight": torch.zeros(1), "extra": torch.zeros(1)}
    for name in (f"{body}layernorm.bias", f"{body}encoder.layer.1.output.dense.weight"):
        del broken[name]
    save_file(broken, weights)
    with pytest.raises(ModelError) as caught:
        read_checkpoint(tmp_path)
    for words in ("layernorm.bias", "encoder.layer.1.output.dense.weight", "decoder.weight", "extra", str(tmp_path)):
        assert words in str(caught.value)
    save_file({**whole, f"{body}layernorm.bias": torch.zeros(7), "classifier.dense.bias": torch.zeros(4)}, weights)
    with pytest.raises(ModelError) as caught:
        read_checkpoint(tmp_path)
    for words in ("encoder.norm.bias (7,), not (32,)", "head.linear.bias (4,), not (5,)"):
        assert words in str(caught.value)
    fields = json.loads((tmp_path / "config.json").read_text())
    save_file(whole, weights)
    for change in ({"hidden_act": "relu"}, {"qkv_bias": False}, {"max_length": 112}, {"num_hidden_layers": 2}):
        (tmp_path / "config.json").write_text(json.dumps(fields | change))
        with pytest.raises(ModelError) as caught:
            read_checkpoint(tmp_path)
        assert "\n" not in str(caught.value), change


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 7)])
def test_any_one_tensor_of_another_shape_is_one_line(shape: tuple[int, ...], tmp_path: Path) -> None:
    whole = original(tiny(hidden_size=192, num_attention_heads=3, num_hidden_layers=1, max_length=128))
    for name in whole:
        if "head" not in name or "mlp_head" in name:
            torch.save({**whole, name: torch.zeros(shape)}, tmp_path / "audioset.pth")
            with pytest.raises(ModelError) as caught:
                read_checkpoint(tmp_path / "audioset.pth")
            assert "\n" not in str(caught.value), name


@pytest.mark.parametrize("layout", ["original", "folder"])
def test_any_one_missing_tensor_is_named(layout: str, tmp_path: Path) -> None:
    model = tiny(hidden_size=192, num_attention_heads=3, num_hidden_layers=1, max_length=128)
    if layout == "original":
        file = path = tmp_path / "audioset.pth"
        whole = {key: tensor for key, tensor in original(model).items() if not key.startswith("module.v.head")}
    else:
        model.save_pretrained(tmp_path)
        file, path = tmp_path / "pytorch_model.bin", tmp_path
        whole = load_file(tmp_path / "model.safetensors")
        (tmp_path / "model.safetensors").unlink()
    for name in whole:
        torch.save({key: tensor for key, tensor in whole.items() if key != name}, file)
        with pytest.raises(ModelError, match=re.escape(name.removeprefix("module."))):
            read_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_a_config_that_makes_no_sense_is_one_line(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    changes = [{name: value} for name in fields for value in (0, -1, "x", None, [], {})]
    for change in changes:
        (tmp_path / "config.json").write_text(json.dumps(fields | change))
        try:
            read_checkpoint(tmp_path)  # many fields do not matter here
        except ModelError as error:
            assert "\n" not in str(error), change
    for name in ("hidden_size", "num_attention_heads", "max_length", "time_stride", "patch_size", "num_hidden_layers"):
        (tmp_path / "config.json").write_text(json.dumps(fields | {name: 0}))
        with pytest.raises(ModelError):
            read_checkpoint(tmp_path)
