"""EAT checkpoints in their layouts, against a plain implementation that reads the Hugging Face names."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from sonopsis.checkpoints import Checkpoint, read_checkpoint
from sonopsis.encoder import Head
from sonopsis.files import ModelError

WIDTH, HEADS, DEPTH = 192, 3, 2
ROWS = 16  # time rows of the stored position table: more than the clips of the tests have
State = dict[str, Tensor]


def code(t: int, f: int) -> Tensor:
    """The fixed position of one patch: frequency in the first half of the channels, time in the second."""
    quarter = WIDTH // 4
    out = []
    for place in (f, t):
        angles = [place / 10000 ** (i / quarter) for i in range(quarter)]
        out += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return torch.tensor(out)


def random_state(*, classes: int | None = 5) -> State:
    """The names of the Hugging Face layout without `model.`."""
    generator = torch.Generator().manual_seed(0)

    def affine(name: str, out: int, *inputs: int) -> State:
        scale = 1 / math.prod(inputs) ** 0.5 if inputs else 0.2
        weight = scale * torch.randn(out, *inputs, generator=generator) + (0 if inputs else 1)
        return {f"{name}.weight": weight, f"{name}.bias": 0.2 * torch.randn(out, generator=generator)}

    state = affine("local_encoder.proj", WIDTH, 1, 16, 16) | affine("pre_norm", WIDTH)
    state["extra_tokens"] = torch.randn(1, 1, WIDTH, generator=generator)
    state["fixed_positional_encoder.positions"] = torch.stack([code(t, f) for t in range(ROWS) for f in range(8)])[None]
    for i in range(DEPTH):
        for norm in ("norm1", "norm2"):
            state |= affine(f"blocks.{i}.{norm}", WIDTH)
        state |= affine(f"blocks.{i}.attn.qkv", 3 * WIDTH, WIDTH) | affine(f"blocks.{i}.attn.proj", WIDTH, WIDTH)
        state |= affine(f"blocks.{i}.mlp.fc1", 4 * WIDTH, WIDTH) | affine(f"blocks.{i}.mlp.fc2", WIDTH, 4 * WIDTH)
    return state if classes is None else state | affine("fc_norm", WIDTH) | affine("head", classes, WIDTH)


def huggingface(state: State) -> State:
    return {f"model.{name}": tensor for name, tensor in state.items()}


def fairseq(state: State, *, old_positions: bool = False) -> dict[str, Any]:
    """The `model` entry of a fairseq file: pretrained, with decoder and teacher, or fine-tuned if there is a head."""
    tuned = "head.weight" in state
    root = "model." if tuned else ""
    found: dict[str, Any] = {}
    for name, tensor in state.items():
        if name.startswith("blocks."):
            found[root + name] = tensor
        elif name.startswith(("fc_norm.", "head.")):
            found[name] = tensor
        else:
            name = name.replace("pre_norm", "context_encoder.norm")
            if old_positions:
                name = name.replace("fixed_positional_encoder.positions", "positional_encoder.pos_embed")
            found[f"{root}modality_encoders.IMAGE.{name}"] = tensor
    if not tuned:
        found["modality_encoders.IMAGE.decoder.blocks.0.0.weight"] = torch.zeros(3)
        found["modality_encoders.IMAGE.decoder.proj.bias"] = torch.zeros(3)
        found["_ema"] = {"blocks.0.norm1.weight": torch.zeros(3)}
    return found


def plain(state: State, mel: Tensor, head_eps: float, heads: int = HEADS) -> tuple[Tensor, Tensor | None]:
    """One clip (T, 128) -> (1 + N, D) after the last block, and its logits, written out."""

    def linear(name: str, rows: Tensor) -> Tensor:
        return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, rows: Tensor, eps: float = 1e-6) -> Tensor:
        variance, mean = torch.var_mean(rows, dim=-1, keepdim=True, correction=0)
        return (rows - mean) / (variance + eps).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    kernel = state["local_encoder.proj.weight"].reshape(WIDTH, 256)
    rows = [state["extra_tokens"][0, 0]]
    for j in range(mel.shape[0] // 16 * 8):
        t, f = j // 8, j % 8
        patch = mel[16 * t : 16 * t + 16, 16 * f : 16 * f + 16].reshape(256)
        position = state["fixed_positional_encoder.positions"][0, j]
        rows.append(kernel @ patch + state["local_encoder.proj.bias"] + position)
    x = norm("pre_norm", torch.stack(rows))
    size = WIDTH // heads
    for i in range(DEPTH):
        q, k, v = linear(f"blocks.{i}.attn.qkv", x).split(WIDTH, dim=1)
        mixed = []
        for q_h, k_h, v_h in zip(q.split(size, dim=1), k.split(size, dim=1), v.split(size, dim=1), strict=True):
            mixed.append(F.softmax(q_h @ k_h.T / math.sqrt(size), dim=1) @ v_h)
        x = norm(f"blocks.{i}.norm1", x + linear(f"blocks.{i}.attn.proj", torch.cat(mixed, dim=1)))
        x = norm(f"blocks.{i}.norm2", x + linear(f"blocks.{i}.mlp.fc2", F.gelu(linear(f"blocks.{i}.mlp.fc1", x))))
    return x, linear("head", norm("fc_norm", x[0], head_eps)) if "head.weight" in state else None


def assert_same(checkpoint: Checkpoint, state: State, frames: int, head_eps: float, heads: int = HEADS) -> None:
    """Tokens, and logits if there is a classifier, in float64; the fixed positions are float32 in a checkpoint."""
    state = {name: tensor.double() for name, tensor in state.items()}
    encoder = checkpoint.encoder().double()
    mels = torch.randn(2, frames, 128, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode():
        encoded = encoder(mels)
        tokens, logits = zip(*(plain(state, mel, head_eps, heads) for mel in mels), strict=True)
        expected = torch.stack(tokens)
        found = torch.cat([encoded.prefix, encoded.tokens], dim=1)
        assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
        assert bool(checkpoint.labels) == ("head.weight" in state)
        if checkpoint.labels:
            head = Head(WIDTH, len(checkpoint.labels), checkpoint.config.head_norm_eps).double()
            head.load_state_dict({name[5:]: t for name, t in checkpoint.state.items() if name.startswith("head.")})
            expected = torch.stack(logits)
            for pooled_only in (False, True):
                found = head(encoder.pool(encoder(mels, pooled_only=pooled_only)))
                assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


@pytest.mark.parametrize("classes", [None, 5])
@pytest.mark.parametrize("old_positions", [False, True])
def test_a_fairseq_file_pretrained_or_fine_tuned(classes: int | None, old_positions: bool, tmp_path: Path) -> None:
    state = random_state(classes=classes)
    content = {"model": fairseq(state, old_positions=old_positions), "cfg": {"model": {"_name": "x"}}, "args": None}
    torch.save(content, tmp_path / "EAT.pt")
    checkpoint = read_checkpoint(tmp_path / "EAT.pt")
    assert checkpoint.config.position == "sincos" and checkpoint.config.head_norm_eps == 1e-6
    assert (checkpoint.mel.mean, checkpoint.mel.std, checkpoint.mel.frames) == (-4.268, 4.569, 16 * ROWS)
    for frames in (32, 256):
        assert_same(checkpoint, state, frames, 1e-6)


@pytest.mark.parametrize("classes", [None, 5])
def test_a_hugging_face_folder(classes: int | None, tmp_path: Path) -> None:
    state = random_state(classes=classes)
    save_file(huggingface(state), tmp_path / "model.safetensors")
    fields = {"model_type": "eat", "num_heads": 4, "norm_eps": 1e-6, "layer_norm_first": False, "num_classes": 5}
    fields |= {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}  # transformers' default, not of this classifier
    (tmp_path / "config.json").write_text(json.dumps(fields))
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.config.head_norm_eps == 1e-5 and checkpoint.config.heads == 4
    assert checkpoint.labels == [f"class {i}" for i in range(classes or 0)]
    assert_same(checkpoint, state, 48, 1e-5, heads=4)
    (tmp_path / "config.json").write_text(json.dumps(fields | {"layer_norm_first": True}))
    with pytest.raises(ModelError, match="layer_norm_first"):
        read_checkpoint(tmp_path)


def test_eps_of_the_classifier_matters_to_this_test() -> None:
    """The two loaders differ by it alone, so the comparison must see it."""
    state = {name: tensor.double() for name, tensor in random_state().items()}
    mel = torch.randn(32, 128, generator=torch.Generator().manual_seed(1)).double()
    (_, one), (_, other) = plain(state, mel, 1e-6), plain(state, mel, 1e-5)
    assert one is not None and other is not None
    assert (one - other).abs().max() > 2e-6 * one.abs().max()


def test_a_table_that_is_not_the_sincos_one_is_kept(tmp_path: Path) -> None:
    state = random_state()
    state["fixed_positional_encoder.positions"] = torch.randn(1, 32, WIDTH)
    torch.save({"model": fairseq(state)}, tmp_path / "EAT.pt")
    checkpoint = read_checkpoint(tmp_path / "EAT.pt")
    assert (checkpoint.config.position, checkpoint.config.frames) == ("learned", 64)
    assert_same(checkpoint, state, 64, 1e-6)
    assert_same(read_checkpoint(tmp_path / "EAT.pt", frames=32), state, 32, 1e-6)


def test_the_input_length_may_be_anything_the_table_covers(tmp_path: Path) -> None:
    torch.save({"model": fairseq(random_state())}, tmp_path / "EAT.pt")
    assert read_checkpoint(tmp_path / "EAT.pt", frames=128).mel.frames == 128
    for frames, words in ((272, "more than its position table"), (100, "multiples of 16")):
        with pytest.raises(ModelError, match=words):
            read_checkpoint(tmp_path / "EAT.pt", frames=frames)


def test_large_has_heads_of_the_same_width(tmp_path: Path) -> None:
    """Without a config.json, heads follow from the width: 768 -> 12, 1024 -> 16."""
    torch.save({"model": fairseq(random_state())}, tmp_path / "EAT.pt")
    assert read_checkpoint(tmp_path / "EAT.pt").config.heads == WIDTH // 64


def test_missing_and_unknown_tensors_are_listed_by_their_own_names(tmp_path: Path) -> None:
    model = fairseq(random_state())
    del model["model.modality_encoders.IMAGE.context_encoder.norm.bias"], model["fc_norm.weight"]
    torch.save({"model": model | {"model.alibi": torch.zeros(1)}}, tmp_path / "EAT.pt")
    with pytest.raises(ModelError) as caught:
        read_checkpoint(tmp_path / "EAT.pt")
    for words in ("missing (2)", "IMAGE.context_encoder.norm.bias", "fc_norm.weight", "unknown (1): model.alibi"):
        assert words in str(caught.value)


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 7)])
def test_any_one_tensor_of_another_shape_is_one_line(shape: tuple[int, ...], tmp_path: Path) -> None:
    whole = fairseq(random_state())
    for name in whole:
        torch.save({"model": {**whole, name: torch.zeros(shape)}}, tmp_path / "model.pth")
        with pytest.raises(ModelError) as caught:
            read_checkpoint(tmp_path / "model.pth")
        assert "\n" not in str(caught.value), name


def test_any_one_missing_tensor_is_named(tmp_path: Path) -> None:
    whole = fairseq(random_state())
    for name in whole:
        torch.save({key: tensor for key, tensor in whole.items() if key != name}, tmp_path / "model.pth")
        with pytest.raises(ModelError, match=re.escape(name)):
            read_checkpoint(tmp_path / "model.pth")
