"""AudioMAE checkpoints, against a plain implementation that reads the original names."""

import argparse
import json
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from sonopsis.checkpoints import Checkpoint, read_checkpoint
from sonopsis.encoder import Head
from sonopsis.files import ModelError

WIDTH, HEADS, DEPTH, FRAMES = 192, 3, 2, 64  # 4 x 8 patches
State = dict[str, Tensor]


def random_state(*, classes: int | None, frames: int = FRAMES) -> State:
    """A fine-tuned checkpoint, or, without classes, a pretrained one with its decoder."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int, scale: float = 0.2) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    def affine(name: str, out: int, *inputs: int) -> State:
        weight = random(out, *inputs, scale=1 / math.prod(inputs) ** 0.5) if inputs else 1 + random(out)
        return {f"{name}.weight": weight, f"{name}.bias": random(out)}

    state = {"cls_token": random(1, 1, WIDTH), "pos_embed": random(1, 1 + frames // 16 * 8, WIDTH, scale=1)}
    state |= affine("patch_embed.proj", WIDTH, 1, 16, 16)
    for i in range(DEPTH):
        for norm in ("norm1", "norm2"):
            state |= affine(f"blocks.{i}.{norm}", WIDTH)
        state |= affine(f"blocks.{i}.attn.qkv", 3 * WIDTH, WIDTH) | affine(f"blocks.{i}.attn.proj", WIDTH, WIDTH)
        state |= affine(f"blocks.{i}.mlp.fc1", 4 * WIDTH, WIDTH) | affine(f"blocks.{i}.mlp.fc2", WIDTH, 4 * WIDTH)
    if classes is not None:
        return state | affine("fc_norm", WIDTH) | affine("head", classes, WIDTH)
    state |= affine("norm", WIDTH) | affine("decoder_embed", 8, WIDTH) | affine("decoder_blocks.0.norm1", 8)
    return state | {"mask_token": random(1, 1, 8), "decoder_pos_embed": random(1, 33, 8)}


def plain_tokens(state: State, mel: Tensor) -> Tensor:
    """One clip (T, 128) -> (1 + N, D) after the last block, written out."""
    kernel, time = state["patch_embed.proj.weight"].reshape(WIDTH, 256), mel.shape[0] // 16
    x = [state["cls_token"][0, 0] + state["pos_embed"][0, 0]]
    for j in range(time * 8):
        t, f = j // 8, j % 8
        patch = mel[16 * t : 16 * t + 16, 16 * f : 16 * f + 16].reshape(256)
        x.append(kernel @ patch + state["patch_embed.proj.bias"] + state["pos_embed"][0, 1 + j])
    rows = torch.stack(x)

    def linear(name: str, rows: Tensor) -> Tensor:
        return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    for i in range(DEPTH):
        y = plain_norm(state, f"blocks.{i}.norm1", rows)
        q, k, v = linear(f"blocks.{i}.attn.qkv", y).split(WIDTH, dim=1)
        heads = []
        for q_h, k_h, v_h in zip(q.split(64, dim=1), k.split(64, dim=1), v.split(64, dim=1), strict=True):
            heads.append(F.softmax(q_h @ k_h.T / 8, dim=1) @ v_h)
        rows = rows + linear(f"blocks.{i}.attn.proj", torch.cat(heads, dim=1))
        hidden = F.gelu(linear(f"blocks.{i}.mlp.fc1", plain_norm(state, f"blocks.{i}.norm2", rows)))
        rows = rows + linear(f"blocks.{i}.mlp.fc2", hidden)
    return rows


def plain_norm(state: State, name: str, rows: Tensor) -> Tensor:
    variance, mean = torch.var_mean(rows, dim=-1, keepdim=True, correction=0)
    return (rows - mean) / (variance + 1e-6).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def plain_logits(state: State, mel: Tensor) -> Tensor:
    pooled = plain_norm(state, "fc_norm", plain_tokens(state, mel)[1:].mean(0))
    return state["head.weight"] @ pooled + state["head.bias"]


def assert_same(checkpoint: Checkpoint, state: State, frames: int = FRAMES) -> None:
    """Tokens, and logits if there is a classifier, in float64."""
    state = {name: tensor.double() for name, tensor in state.items()}
    encoder = checkpoint.encoder().double()
    mels = torch.randn(2, frames, 128, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode():
        encoded = encoder(mels)
        expected = torch.stack([plain_tokens(state, mel) for mel in mels])
        found = torch.cat([encoded.prefix, encoded.tokens], dim=1)
        assert (found - expected).abs().max() <= 1e-11 * expected.abs().max()
        if checkpoint.labels:
            head = Head(WIDTH, len(checkpoint.labels), checkpoint.config.head_norm_eps).double()
            head.load_state_dict({name[5:]: t for name, t in checkpoint.state.items() if name.startswith("head.")})
            logits = torch.stack([plain_logits(state, mel) for mel in mels])
            for pooled_only in (False, True):
                found = head(encoder.pool(encoder(mels, pooled_only=pooled_only)))
                assert (found - logits).abs().max() <= 1e-11 * logits.abs().max()


@pytest.mark.parametrize("frames", [64, 128])
def test_a_fine_tuned_file(frames: int, tmp_path: Path) -> None:
    state = random_state(classes=5, frames=frames)
    content = {"model": state, "epoch": 59, "scaler": {}, "args": argparse.Namespace(lr=1e-3, mask_2d=True)}
    torch.save(content, tmp_path / "finetuned.pth")
    checkpoint = read_checkpoint(tmp_path / "finetuned.pth")
    assert checkpoint.labels == [f"class {i}" for i in range(5)]
    assert (checkpoint.config.family, checkpoint.mel.frames) == ("audiomae", frames)
    assert_same(checkpoint, state, frames)


def test_a_pretrained_file_leaves_its_decoder_behind(tmp_path: Path) -> None:
    state = random_state(classes=None)
    torch.save({"model": state, "optimizer": {"state": {0: torch.zeros(3)}}}, tmp_path / "pretrained.pth")
    checkpoint = read_checkpoint(tmp_path / "pretrained.pth")
    assert checkpoint.labels == []
    assert_same(checkpoint, state)


def test_ports_with_timms_names(tmp_path: Path) -> None:
    state = random_state(classes=3)
    torch.save(state, tmp_path / "pytorch_model.bin")
    fields = {"architecture": "vit_base_patch16_224", "pretrained_cfg": {"label_names": ["dog", "cat", "cow"]}}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.labels == ["dog", "cat", "cow"]
    assert_same(checkpoint, state)
    encoder = {name: tensor for name, tensor in random_state(classes=None).items() if "decoder" not in name}
    del encoder["mask_token"]
    save_file({f"encoder.{name}": tensor for name, tensor in encoder.items()}, tmp_path / "wrapped.safetensors")
    assert_same(read_checkpoint(tmp_path / "wrapped.safetensors"), encoder)


def test_the_number_of_classes_tells_the_statistics_of_the_data(tmp_path: Path) -> None:
    for classes, mean in ((527, -4.2677393), (50, -6.6268077), (35, -6.845978), (7, -4.2677393)):
        torch.save({"model": random_state(classes=classes)}, tmp_path / "finetuned.pth")
        assert read_checkpoint(tmp_path / "finetuned.pth").mel.mean == mean


def test_a_shorter_input_cuts_the_transposed_table_in_either_way(tmp_path: Path) -> None:
    state = random_state(classes=5, frames=128)  # a table of 8 rows with 8 columns
    torch.save(state, tmp_path / "model.pth")
    rows = {"reference": [h * 8 + w for h in range(8) for w in range(3)], "prefix": list(range(24))}
    for crop, kept in rows.items():
        table = torch.stack([state["pos_embed"][0, 0], *(state["pos_embed"][0, 1 + row] for row in kept)])[None]
        checkpoint = read_checkpoint(tmp_path / "model.pth", frames=48, crop=crop)  # type: ignore[arg-type]
        assert checkpoint.mel.frames == 48
        assert_same(checkpoint, state | {"pos_embed": table}, 48)


def test_what_is_missing_or_not_an_audiomae_is_listed(tmp_path: Path) -> None:
    whole = random_state(classes=5)
    changes: dict[str, tuple[State, list[str], list[str]]] = {
        "names": ({"surprise": torch.zeros(1)}, ["fc_norm.bias", "blocks.1.mlp.fc2.weight"], ["surprise"]),
        "table": ({"pos_embed": torch.zeros(1, 1212, WIDTH)}, [], ["1211 rows"]),
        "image": ({"patch_embed.proj.weight": torch.zeros(WIDTH, 3, 16, 16)}, [], ["(192, 3, 16, 16), not (192, 1"]),
        "width": ({"patch_embed.proj.weight": torch.zeros(100, 1, 16, 16)}, [], ["width 100"]),
    }
    for add, remove, words in changes.values():
        torch.save({k: v for k, v in (whole | add).items() if k not in remove}, tmp_path / "model.pth")
        with pytest.raises(ModelError) as caught:
            read_checkpoint(tmp_path / "model.pth")
        assert "\n" not in str(caught.value)
        for word in words + remove:
            assert word in str(caught.value)


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 7)])
def test_any_one_tensor_of_another_shape_is_one_line(shape: tuple[int, ...], tmp_path: Path) -> None:
    whole = random_state(classes=5)
    for name in whole:
        torch.save({"model": {**whole, name: torch.zeros(shape)}}, tmp_path / "model.pth")
        with pytest.raises(ModelError) as caught:
            read_checkpoint(tmp_path / "model.pth")
        assert "\n" not in str(caught.value), name


def test_any_one_missing_tensor_is_named(tmp_path: Path) -> None:
    whole = random_state(classes=5)
    for name in whole:
        torch.save({key: tensor for key, tensor in whole.items() if key != name}, tmp_path / "model.pth")
        with pytest.raises(ModelError, match=re.escape(name)):
            read_checkpoint(tmp_path / "model.pth")


def test_a_width_that_was_not_published_needs_the_number_of_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file holds no number of heads: 4 heads of 32 and 2 of 64 have the same tensors."""
    monkeypatch.setitem(globals(), "WIDTH", 128)
    state = random_state(classes=5)
    torch.save({"model": state}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"width 128 .*heads=") as caught:
        read_checkpoint(tmp_path / "pytorch_model.bin")
    assert "\n" not in str(caught.value)
    for heads in (1, 2, 4):
        assert read_checkpoint(tmp_path / "pytorch_model.bin", heads=heads).config.heads == heads
    assert_same(read_checkpoint(tmp_path / "pytorch_model.bin", heads=2), state)
    for heads in (0, -2, 3, 256):
        with pytest.raises(ModelError, match=r"heads do not fit its width 128"):
            read_checkpoint(tmp_path / "pytorch_model.bin", heads=heads)
    (tmp_path / "config.json").write_text('{"num_heads": 4}')  # so that sonopsis.load can read it
    assert read_checkpoint(tmp_path).config.heads == 4
    with pytest.raises(ModelError, match="do not fit"):
        read_checkpoint(tmp_path, heads=2)


@pytest.mark.parametrize(("patches", "long", "short"), [(600, 1200, 512), (144, 288, 128)])
def test_overlapping_patches_are_not_taken_for_others(patches: int, long: int, short: int, tmp_path: Path) -> None:
    """600 positions are 75 columns of 8 without overlap, and 50 columns of 12 at stride 10."""
    state = random_state(classes=5) | {"pos_embed": torch.randn(1, 1 + patches, WIDTH)}
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(
        ModelError, match=rf"{long} Mel frames at stride 16 or {short} Mel frames at stride 10.*stride="
    ):
        read_checkpoint(tmp_path / "model.pth")
    for stride, frames in ((16, long), (10, short)):
        checkpoint = read_checkpoint(tmp_path / "model.pth", stride=stride)
        assert (checkpoint.config.stride, checkpoint.config.frames) == ((stride, stride), frames)
        with torch.inference_mode():
            assert checkpoint.encoder()(torch.randn(1, frames, 128)).tokens.shape[1] == patches
    with pytest.raises(ModelError, match=f"{patches} rows for patches, which fit no input length at stride 12"):
        read_checkpoint(tmp_path / "model.pth", stride=12)


def test_overlapping_patches_of_one_meaning_are_read(tmp_path: Path) -> None:
    """1212 positions are only possible at stride 10; an unusual input length must be given."""
    state = random_state(classes=5)
    torch.save(state | {"pos_embed": torch.randn(1, 1 + 1212, WIDTH)}, tmp_path / "model.pth")
    checkpoint = read_checkpoint(tmp_path / "model.pth")
    assert (checkpoint.config.stride, checkpoint.config.frames) == ((10, 10), 1024)
    torch.save(state | {"pos_embed": torch.randn(1, 1 + 99 * 12, WIDTH)}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"1188 rows for patches.*frames="):
        read_checkpoint(tmp_path / "model.pth")
    assert read_checkpoint(tmp_path / "model.pth", frames=998).config.frames == 998
