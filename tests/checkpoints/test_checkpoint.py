"""Published checkpoints of every family by their own names, large sizes, and what is refused before a key map is asked.

The tensors of one of our encoders are renamed to the checkpoint's names, the long way round; read back, it must compute
the same.
"""

import argparse
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sonopsis.checkpoints import Checkpoint, read_checkpoint
from sonopsis.encoder import Encoder, Head
from sonopsis.files import ModelError

Make = Callable[..., Encoder]
BLOCK = {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}
AST = {"family": "ast", "prefix_tokens": 2, "position": "learned", "pooling": "cls_dist"}
AUDIOMAE = {"family": "audiomae", "position": "learned", "pooling": "mean", "score": "attention"}
EAT = {"family": "eat", "norm": "post"}


def timm_blocks(encoder: Encoder, root: str = "") -> dict[str, Tensor]:
    found = {}
    for name, tensor in encoder.state_dict().items():
        if name.startswith("blocks."):
            for own, theirs in BLOCK.items():
                name = name.replace(f".{own}.", f".{theirs}.")
            found[root + name] = tensor
    return found


def fork_ast(encoder: Encoder, head: Head) -> "OrderedDict[str, Tensor]":
    """`module.v.*` with DeiT's two image classifiers left in, frequency-major, and `module.mlp_head.*`."""
    state, (time, frequency) = encoder.state_dict(), encoder.config.grid(encoder.config.frames)
    order = [0, 1, *(2 + t * frequency + f for f in range(frequency) for t in range(time))]
    width = encoder.config.width
    found = {
        "v.cls_token": state["prefix"][:, :1],
        "v.dist_token": state["prefix"][:, 1:],
        "v.pos_embed": state["positions"][:, order],
        "v.patch_embed.proj.weight": state["stem.proj.weight"].transpose(2, 3),
        "v.patch_embed.proj.bias": state["stem.proj.bias"],
        "v.norm.weight": state["norm.weight"],
        "v.norm.bias": state["norm.bias"],
        "mlp_head.0.weight": head.norm.weight.data,
        "mlp_head.0.bias": head.norm.bias.data,
        "mlp_head.1.weight": head.linear.weight.data,
        "mlp_head.1.bias": head.linear.bias.data,
    }
    for leftover in ("v.head", "v.head_dist"):
        found |= {f"{leftover}.weight": torch.ones(10, width), f"{leftover}.bias": torch.ones(10)}
    return OrderedDict((f"module.{name}", tensor) for name, tensor in (found | timm_blocks(encoder, "v.")).items())


def fork_audiomae(encoder: Encoder, head: Head) -> dict[str, Tensor]:
    """The names of finetuned.pth: `fc_norm` and `head`, no `norm`."""
    state = encoder.state_dict()
    found = {
        "cls_token": state["prefix"],
        "pos_embed": state["positions"],
        "patch_embed.proj.weight": state["stem.proj.weight"],
        "patch_embed.proj.bias": state["stem.proj.bias"],
        "fc_norm.weight": head.norm.weight.data,
        "fc_norm.bias": head.norm.bias.data,
        "head.weight": head.linear.weight.data,
        "head.bias": head.linear.bias.data,
    }
    return found | timm_blocks(encoder)


def fairseq_eat(encoder: Encoder, head: Head) -> dict[str, Tensor]:
    """A fine-tuned EAT of fairseq."""
    state, image = encoder.state_dict(), "model.modality_encoders.IMAGE."
    found = {
        f"{image}extra_tokens": state["prefix"],
        f"{image}fixed_positional_encoder.positions": encoder.positions,
        f"{image}local_encoder.proj.weight": state["stem.proj.weight"],
        f"{image}local_encoder.proj.bias": state["stem.proj.bias"],
        f"{image}context_encoder.norm.weight": state["norm_in.weight"],
        f"{image}context_encoder.norm.bias": state["norm_in.bias"],
        "fc_norm.weight": head.norm.weight.data,
        "fc_norm.bias": head.norm.bias.data,
        "head.weight": head.linear.weight.data,
        "head.bias": head.linear.bias.data,
    }
    return found | timm_blocks(encoder, "model.")


def random_head(encoder: Encoder, labels: int, eps: float) -> Head:
    head = Head(encoder.config.width, labels, eps)
    for parameter in head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return head


def training_state(model: Any) -> dict[str, Any]:
    """What the fork's saver writes around the weights of AudioMAE."""
    settings = argparse.Namespace(lr=1e-3, output_dir="runs", mask_2d=True, keep_rate=[0.7], device="cuda")
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "_growth_tracker": 5}
    return {"model": model, "optimizer": optimizer, "epoch": 59, "scaler": scaler, "args": settings}


def assert_same(checkpoint: Checkpoint, encoder: Encoder, head: Head) -> None:
    """The same tokens and logits in float64, with the encoder of the checkpoint's own configuration."""
    mel = torch.randn(1, encoder.config.frames, 128, generator=torch.Generator().manual_seed(1)).double()
    found, again = checkpoint.encoder().double(), Head(encoder.config.width, len(checkpoint.labels), head.norm.eps)
    assert checkpoint.config.head_norm_eps == head.norm.eps
    again.load_state_dict({name[5:]: t for name, t in checkpoint.state.items() if name.startswith("head.")})
    with torch.inference_mode():
        theirs, ours = encoder.double()(mel), found(mel)
        assert (theirs.tokens - ours.tokens).abs().max() <= 1e-6 * theirs.tokens.abs().max()
        logits = head.double()(encoder.pool(theirs))
        assert (again.double()(found.pool(ours)) - logits).abs().max() <= 1e-6 * logits.abs().max()


@pytest.mark.parametrize(
    ("frames", "labels", "mean"), [(1024, 527, -4.2677393), (512, 50, -6.6268077), (128, 35, -6.845978)]
)
def test_asts_of_the_fork(frames: int, labels: int, mean: float, make_encoder: Make, tmp_path: Path) -> None:
    encoder = make_encoder(**AST, width=192, depth=2, heads=3, frames=frames)
    head = random_head(encoder, labels, 1e-5)
    torch.save(fork_ast(encoder, head), tmp_path / "best_audio_model.pth")
    checkpoint = read_checkpoint(tmp_path / "best_audio_model.pth")
    assert (checkpoint.config.stride, checkpoint.mel.frames, checkpoint.mel.mean) == ((16, 16), frames, mean)
    assert_same(checkpoint, encoder, head)


@pytest.mark.parametrize(
    ("frames", "labels", "mean"),
    [(1024, 527, -4.2677393), (512, 50, -6.6268077), (128, 35, -6.845978), (1024, 1251, -6.37)],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_audiomaes_of_the_fork(
    frames: int, labels: int, mean: float, zipped: bool, make_encoder: Make, tmp_path: Path
) -> None:
    encoder = make_encoder(**AUDIOMAE, width=192, depth=2, heads=3, frames=frames)
    head = random_head(encoder, labels, 1e-6)
    content = training_state(fork_audiomae(encoder, head))
    torch.save(content, tmp_path / "best_model.pth", _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(tmp_path / "best_model.pth")
    assert (checkpoint.config.family, checkpoint.mel.frames, checkpoint.mel.mean) == ("audiomae", frames, mean)
    assert_same(checkpoint, encoder, head)


def test_optimizer_states_of_any_kind_are_passed_over(make_encoder: Make, tmp_path: Path) -> None:
    encoder = make_encoder(**AUDIOMAE, width=192, depth=1, heads=3)
    head = random_head(encoder, 3, 1e-6)
    content = training_state(OrderedDict(fork_audiomae(encoder, head)))
    content["optimizer"]["state"] = defaultdict(dict, content["optimizer"]["state"])
    content["args"].device = torch.device("cpu")
    torch.save(content, tmp_path / "best_model.pth")
    assert_same(read_checkpoint(tmp_path / "best_model.pth"), encoder, head)


@pytest.mark.parametrize(
    ("layout", "names", "eps"), [(AST, fork_ast, 1e-5), (AUDIOMAE, fork_audiomae, 1e-6), (EAT, fairseq_eat, 1e-6)]
)
def test_large_encoders(
    layout: dict[str, Any],
    names: Callable[[Encoder, Head], dict[str, Tensor]],
    eps: float,
    make_encoder: Make,
    tmp_path: Path,
) -> None:
    """Width 1024 is 16 heads of 64; one block stands for 24."""
    encoder = make_encoder(**layout, width=1024, depth=1, heads=16, frames=128)
    head = random_head(encoder, 3, eps)
    torch.save({"model": names(encoder, head)}, tmp_path / "large.pt")
    checkpoint = read_checkpoint(tmp_path / "large.pt")
    assert (checkpoint.config.width, checkpoint.config.heads, checkpoint.config.mlp_ratio) == (1024, 16, 4)
    assert_same(checkpoint, encoder, head)


@pytest.mark.parametrize(("layout", "names"), [(AST, fork_ast), (AUDIOMAE, fork_audiomae), (EAT, fairseq_eat)])
def test_all_24_blocks_of_a_large_encoder_are_in_their_order(
    layout: dict[str, Any], names: Callable[[Encoder, Head], dict[str, Tensor]], make_encoder: Make, tmp_path: Path
) -> None:
    encoder = make_encoder(**layout, width=192, depth=24, heads=3, frames=128, mlp_ratio=1)
    head = random_head(encoder, 3, 1e-5 if layout is AST else 1e-6)
    torch.save({"model": names(encoder, head)}, tmp_path / "deep.pt")
    checkpoint = read_checkpoint(tmp_path / "deep.pt")
    assert checkpoint.config.depth == 24
    assert_same(checkpoint, encoder, head)


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), {"model": {}}, {"w": torch.zeros(1)}, {}])
def test_files_of_something_else_are_refused_in_one_line(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ModelError) as caught:
        read_checkpoint(tmp_path / "other.pth")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_broken_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    torch.save({"w": torch.zeros(1000)}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for content in (b"", b"not a checkpoint", b"PK\x03\x04", whole[:300], whole[:-100], bytes(range(256)) * 10):
        file.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            read_checkpoint(file)
        assert "\n" not in str(caught.value), content[:10]
    for path in (tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(ModelError, match=r"no such checkpoint|has no model\.safetensors"):
            read_checkpoint(path)


def test_a_caller_who_contradicts_the_checkpoint_is_told(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ASTConfig(**sizes, max_length=128, time_stride=16, frequency_stride=16)
    transformers.ASTModel(config).save_pretrained(tmp_path)
    assert read_checkpoint(tmp_path, heads=2, stride=16).config.heads == 2
    with pytest.raises(ModelError, match="it has 2 heads, not 4"):
        read_checkpoint(tmp_path, heads=4)
    with pytest.raises(ModelError, match="its stride is 16 Mel frames, not 10"):
        read_checkpoint(tmp_path, stride=10)
