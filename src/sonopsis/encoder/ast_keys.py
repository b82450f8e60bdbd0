"""AST checkpoints in the layout of transformers' ASTForAudioClassification, read without transformers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sonopsis.encoder.config import PRESETS, EncoderConfig

BODY = "audio_spectrogram_transformer."
BLOCK = {  # their names inside a block, as files on disk have them -> ours
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
}


def ast_config(fields: Mapping[str, Any]) -> EncoderConfig:
    """The encoder described by a `config.json` of model type audio-spectrogram-transformer."""
    width, eps = fields["hidden_size"], fields["layer_norm_eps"]
    return replace(
        PRESETS["ast"],
        width=width,
        depth=fields["num_hidden_layers"],
        heads=fields["num_attention_heads"],
        mlp_ratio=fields["intermediate_size"] / width,
        mels=fields["num_mel_bins"],
        frames=fields["max_length"],
        patch=(fields["patch_size"], fields["patch_size"]),
        stride=(fields["time_stride"], fields["frequency_stride"]),
        norm_eps=eps,
        head_norm_eps=eps,
    )


def from_huggingface(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Tensors by their names on disk -> the state of a `Tagger`: `encoder.*`, and `head.*` if there is a classifier.

    Their patches are frequency-major and their kernel is (frequency, time); both become time-major here. Raises
    ValueError when a tensor is missing or unknown.
    """
    left = dict(tensors)
    ours: dict[str, Tensor] = {}

    def pop(name: str) -> Tensor:
        if name not in left:
            raise ValueError(f"not an AST checkpoint: tensor {name!r} is missing")
        return left.pop(name)

    embeddings = BODY + "embeddings."
    ours["encoder.prefix"] = torch.cat([pop(embeddings + "cls_token"), pop(embeddings + "distillation_token")], dim=1)
    ours["encoder.positions"] = time_major(pop(embeddings + "position_embeddings"), config)
    projection = embeddings + "patch_embeddings.projection."
    ours["encoder.stem.proj.weight"] = pop(projection + "weight").transpose(2, 3).contiguous()
    ours["encoder.stem.proj.bias"] = pop(projection + "bias")
    for block in range(config.depth):
        theirs, own = f"{BODY}encoder.layer.{block}.", f"encoder.blocks.{block}."
        for kind in ("weight", "bias"):
            parts = [pop(f"{theirs}attention.attention.{part}.{kind}") for part in ("query", "key", "value")]
            ours[f"{own}attn.qkv.{kind}"] = torch.cat(parts)
            for name, renamed in BLOCK.items():
                ours[f"{own}{renamed}.{kind}"] = pop(f"{theirs}{name}.{kind}")
    for kind in ("weight", "bias"):
        ours[f"encoder.norm.{kind}"] = pop(f"{BODY}layernorm.{kind}")
        if f"classifier.dense.{kind}" in left:
            ours[f"head.norm.{kind}"] = pop(f"classifier.layernorm.{kind}")
            ours[f"head.linear.{kind}"] = pop(f"classifier.dense.{kind}")
    if left:
        raise ValueError(f"unknown tensors in an AST checkpoint: {sorted(left)}")
    return ours


def time_major(positions: Tensor, config: EncoderConfig) -> Tensor:
    """A frequency-major position table (1, P + N, D), n = f * time + t, as time-major, n = t * frequency + f."""
    time, frequency = config.grid(config.frames)
    prefix, cells = positions.split([config.prefix_tokens, time * frequency], dim=1)
    cells = cells.unflatten(1, (frequency, time)).transpose(1, 2).flatten(1, 2)  # (1, N, D)
    return torch.cat([prefix, cells], dim=1)
