"""Whisper checkpoints: OpenAI's .pt, transformers' folders with or without a classifier, and CTranslate2's model.bin.

Only the encoder is read, and the classifier of WhisperForAudioClassification. Whisper's keys have no bias; ours have
one, of zeros.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sonopsis.checkpoints.keys import Table, affine, blocks, count_blocks, expect, gather
from sonopsis.encoder.config import EncoderConfig, whisper_config
from sonopsis.encoder.positions import sinusoid_table

FAMILY = "Whisper"
HEAD_WIDTH = 64  # of every published size
POSITION_ERROR = 2e-3  # tables stored in float16 differ by so much at most

Names = dict[str, tuple[str, ...]]
OPENAI: Names = {
    "norm1": ("attn_ln",),
    "attn.qkv": ("attn.query", "attn.key", "attn.value"),
    "attn.proj": ("attn.out",),
    "norm2": ("mlp_ln",),
    "fc1": ("mlp.0",),
    "fc2": ("mlp.2",),
}
TRANSFORMERS: Names = {
    "norm1": ("self_attn_layer_norm",),
    "attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn.proj": ("self_attn.out_proj",),
    "norm2": ("final_layer_norm",),
    "fc1": ("fc1",),
    "fc2": ("fc2",),
}
# CTranslate2's names with "." for "/", and weight and bias for a norm's gamma and beta.
CTRANSLATE2: Names = {
    "norm1": ("self_attention.layer_norm",),
    "attn.qkv": ("self_attention.linear_0",),
    "attn.proj": ("self_attention.linear_1",),
    "norm2": ("ffn.layer_norm",),
    "fc1": ("ffn.linear_0",),
    "fc2": ("ffn.linear_1",),
}


def from_whisper(
    tensors: Mapping[str, Tensor], fields: Mapping[str, Any], heads: int | None
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """Tensors by any of the three families of names -> the encoder, and the state of a `Tagger`.

    `fields` are those of transformers' config.json, empty elsewhere. Raises ValueError that lists the tensors that are
    missing or unknown, or says what cannot be read.
    """
    found = {_spelled(name): tensor for name, tensor in tensors.items()}
    layers, inside, positions, norm = _layout(found)
    depth = count_blocks(found, layers)
    keys = inside["attn.qkv"][1] if len(inside["attn.qkv"]) > 1 else None
    for block in range(depth if keys else 0):
        name = f"{layers}{block}.{keys}"
        if f"{name}.weight" in found:
            found.setdefault(f"{name}.bias", torch.zeros(len(found[f"{name}.weight"])))
    table: Table = {
        **affine("encoder.stem.conv1", ["encoder.conv1"]),
        **affine("encoder.stem.conv2", ["encoder.conv2"]),
        **blocks(layers, depth, inside),
        **affine("encoder.norm", [f"encoder.{norm}"]),
        "positions": (f"encoder.{positions}",),
    }
    classifier = "classifier.weight" in found
    if classifier:
        table |= affine("projector", ["projector"]) | affine("classifier", ["classifier"])
    weighted = classifier and bool(fields.get("use_weighted_layer_sum"))
    if weighted:
        table["encoder.layer_weights"] = ("layer_weights",)
    expect(fields, {"activation_function": "gelu"})
    state = gather(found, table, FAMILY, ignore=("decoder.", "proj_out.", "encoder.num_heads", "encoder.scale"))
    stored = [int(found["encoder.num_heads"])] if "encoder.num_heads" in found else []  # by CTranslate2
    config = _config(state, depth, {heads, fields.get("encoder_attention_heads"), *stored} - {None})
    del state["positions"]
    if classifier:
        state |= _one_layer(state)
        config = replace(config, head_norm=False, layer_weights=weighted)
    return config, state | {"encoder.prefix": torch.zeros(1, 0, config.width)}


def _spelled(name: str) -> str:
    """A tensor's name without what only says which program wrote it."""
    name = name.replace("/", ".").removeprefix("model.")
    name = name.replace(".gamma", ".weight").replace(".beta", ".bias")
    return re.sub(r"^encoder\.layer_(\d+)\.", r"encoder.layers.\1.", name)


def _layout(found: Mapping[str, Tensor]) -> tuple[str, Names, str, str]:
    """The names before and inside a block, of the position table and of the last norm."""
    if "encoder.positional_embedding" in found:
        return "encoder.blocks.", OPENAI, "positional_embedding", "ln_post"
    if "encoder.position_encodings.encodings" in found:
        return "encoder.layers.", CTRANSLATE2, "position_encodings.encodings", "layer_norm"
    return "encoder.layers.", TRANSFORMERS, "embed_positions.weight", "layer_norm"


def _config(state: Mapping[str, Tensor], depth: int, told: set[Any]) -> EncoderConfig:
    """The encoder; `told` are the numbers of heads that a caller and the files say."""
    width, mels, _ = state["encoder.stem.conv1.weight"].shape
    number = told.pop() if told else width // HEAD_WIDTH
    if told or not isinstance(number, int) or number < 1 or width % number:
        raise ValueError(f"{[number, *told]} heads do not fit its width {width}; give the number it was trained with")
    table = state["positions"]
    fixed = torch.from_numpy(sinusoid_table(len(table), width))
    if table.shape != fixed.shape or (table - fixed).abs().max() > POSITION_ERROR:
        raise ValueError("its position table is not Whisper's sinusoids; such an encoder cannot be read")
    config = whisper_config(width, depth, number, mels, 2 * len(table))
    return replace(config, mlp_ratio=state["encoder.blocks.0.fc1.weight"].shape[0] / width)


def _one_layer(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The projector and the classifier behind it as one linear layer: the mean between them may change places."""
    inner, inner_bias = state.pop("projector.weight"), state.pop("projector.bias")
    outer, outer_bias = state.pop("classifier.weight"), state.pop("classifier.bias")
    return {"head.linear.weight": outer @ inner, "head.linear.bias": outer @ inner_bias + outer_bias}
