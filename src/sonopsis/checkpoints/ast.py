"""AST checkpoints: the layout of transformers' ASTModel and ASTForAudioClassification, and the original .pth."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sonopsis.checkpoints.grids import LENGTHS, STRIDES, grids
from sonopsis.checkpoints.keys import Table, affine, blocks, count_blocks, expect, gather, heads_of
from sonopsis.encoder.config import PRESETS, EncoderConfig

FAMILY = "AST"
BODY = "audio_spectrogram_transformer."  # around the encoder in a model with a classifier

# transformers' names inside a block: those of its files, and those its modules have since version 5.
ON_DISK = {
    "norm1": ("layernorm_before",),
    "attn.qkv": ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    "attn.proj": ("attention.output.dense",),
    "norm2": ("layernorm_after",),
    "fc1": ("intermediate.dense",),
    "fc2": ("output.dense",),
}
IN_MEMORY = {
    "norm1": ("layernorm_before",),
    "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "attn.proj": ("attention.o_proj",),
    "norm2": ("layernorm_after",),
    "fc1": ("mlp.fc1",),
    "fc2": ("mlp.fc2",),
}

LEFTOVERS = ("v.head.", "v.head_dist.")  # the image classifiers of the DeiT that training began with


def ast_config(fields: Mapping[str, Any]) -> EncoderConfig:
    """The encoder described by a `config.json` of model type audio-spectrogram-transformer.

    Fields that are absent have the defaults of transformers' ASTConfig. Raises ValueError for what cannot be read.
    """
    expect(fields, {"hidden_act": "gelu", "qkv_bias": True})
    width, eps = fields.get("hidden_size", 768), fields.get("layer_norm_eps", 1e-12)
    patch = fields.get("patch_size", 16)
    patch_f, patch_t = patch if isinstance(patch, list | tuple) else (patch, patch)
    return replace(
        PRESETS["ast"],
        width=width,
        depth=fields.get("num_hidden_layers", 12),
        heads=fields.get("num_attention_heads", 12),
        mlp_ratio=fields.get("intermediate_size", 3072) / width,
        mels=fields.get("num_mel_bins", 128),
        frames=fields.get("max_length", 1024),
        patch=(patch_t, patch_f),
        stride=(fields.get("time_stride", 10), fields.get("frequency_stride", 10)),
        norm_eps=eps,
        head_norm_eps=eps,
    )


def from_huggingface(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Tensors by transformers' names -> the state of a `Tagger`: `encoder.*`, and `head.*` if there is a classifier.

    Their patches are frequency-major and their kernel is (frequency, time); both become time-major here. Raises
    ValueError that lists the tensors that are missing or unknown.
    """
    body = BODY if any(name.startswith(BODY) for name in tensors) else ""
    modern = any(name.startswith(f"{body}layers.") for name in tensors)
    classifier = any(name.startswith("classifier.dense.") for name in tensors)
    table = huggingface_table(body, config.depth, modern=modern, classifier=classifier)
    return _time_major(gather(tensors, table, FAMILY, () if body else ("pooler.",)), config)


def huggingface_table(body: str, depth: int, *, modern: bool, classifier: bool) -> Table:
    """Our names and transformers', with what stands before the encoder's; `modern`: as its modules call them."""
    embeddings = f"{body}embeddings."
    table: Table = {
        "encoder.prefix": (f"{embeddings}cls_token", f"{embeddings}distillation_token"),
        "encoder.positions": (f"{embeddings}position_embeddings",),
        **affine("encoder.stem.proj", [f"{embeddings}patch_embeddings.projection"]),
        **blocks(f"{body}layers." if modern else f"{body}encoder.layer.", depth, IN_MEMORY if modern else ON_DISK),
        **affine("encoder.norm", [f"{body}layernorm"]),
    }
    if classifier:
        table |= affine("head.norm", ["classifier.layernorm"]) | affine("head.linear", ["classifier.dense"])
    return table


def from_original(
    tensors: Mapping[str, Tensor], frames: int | None, heads: int | None, stride: int | None
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """The original .pth, without its `module.` prefix -> its encoder and the state of a `Tagger`.

    The file does not tell its stride and input length: they follow from the number of positions, for the lengths and
    strides that were published, or for `frames` and `stride`. For `heads` see `heads_of`. A model for more than
    `frames` is cut to them, in the middle of its position table as the original code does. Raises
    ValueError when the tensors are not those of an AST or do not settle the stride.
    """
    depth = count_blocks(tensors, "v.blocks.")
    table: Table = {
        "encoder.prefix": ("v.cls_token", "v.dist_token"),
        "encoder.positions": ("v.pos_embed",),
        **affine("encoder.stem.proj", ["v.patch_embed.proj"]),
        **blocks("v.blocks.", depth),
        **affine("encoder.norm", ["v.norm"]),
    }
    if any(name.startswith("mlp_head.") for name in tensors):
        table |= affine("head.norm", ["mlp_head.0"]) | affine("head.linear", ["mlp_head.1"])
    state = gather(tensors, table, FAMILY, LEFTOVERS)
    width, _, patch_f, patch_t = state["encoder.stem.proj.weight"].shape
    patches = state["encoder.positions"].shape[1] - 2
    stride, native = find_grid(patches, (patch_t, patch_f), frames, stride)
    config = replace(
        PRESETS["ast"],
        width=width,
        depth=depth,
        heads=heads_of(width, heads),
        mlp_ratio=state["encoder.blocks.0.fc1.weight"].shape[0] / width,
        frames=native,
        patch=(patch_t, patch_f),
        stride=(stride, stride),
    )
    return config, _time_major(state, config)


def find_grid(
    patches: int, patch: tuple[int, int], frames: int | None = None, stride: int | None = None
) -> tuple[int, int]:
    """Stride and input length of an AST with this many patches; a length of `frames` comes before the usual ones.

    Raises ValueError when no stride (None: of the published ones) gives this count at any of these lengths.
    """
    strides, lengths = STRIDES if stride is None else (stride,), LENGTHS if frames is None else (frames, *LENGTHS)
    if found := grids(patches, patch, PRESETS["ast"].mels, strides, lengths):
        return found[0]
    raise ValueError(
        f"{patches} position codes fit no stride of {strides} at {lengths} Mel frames; give the input length and the "
        "stride it was trained with: sonopsis.checkpoints.read_checkpoint(path, frames=..., stride=...)"
    )


def crop_centre(positions: Tensor, config: EncoderConfig, frames: int) -> Tensor:
    """A time-major position table (1, P + N, D) -> the middle of its time axis, for shorter input."""
    (time, frequency), (shorter, _) = config.grid(config.frames), config.grid(frames)
    prefix, cells = positions.split([config.prefix_tokens, time * frequency], dim=1)
    first = (time // 2 - shorter // 2) * frequency
    return torch.cat([prefix, cells[:, first : first + shorter * frequency]], dim=1)


def _time_major(state: dict[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """The same state with its prefix tokens side by side and its patches in our order."""
    kernel = state["encoder.stem.proj.weight"]  # (D, 1, frequency, time)
    return state | {
        "encoder.prefix": state["encoder.prefix"].transpose(0, 1).contiguous(),  # (2, 1, D) -> (1, 2, D)
        "encoder.positions": time_major(state["encoder.positions"], config),
        "encoder.stem.proj.weight": kernel.transpose(2, 3).contiguous(),
    }


def time_major(positions: Tensor, config: EncoderConfig) -> Tensor:
    """A frequency-major position table (1, P + N, D), n = f * time + t, as time-major, n = t * frequency + f.

    Raises ValueError when the table is not made for the encoder's own input length.
    """
    time, frequency = config.grid(config.frames)
    if positions.shape[1] != config.prefix_tokens + time * frequency:
        raise ValueError(
            f"its position table has {positions.shape[1]} rows, but {config.frames} Mel frames at stride "
            f"{config.stride} are {config.prefix_tokens} + {time} x {frequency} tokens"
        )
    prefix, cells = positions.split([config.prefix_tokens, time * frequency], dim=1)
    cells = cells.unflatten(1, (frequency, time)).transpose(1, 2).flatten(1, 2)  # (1, N, D)
    return torch.cat([prefix, cells], dim=1)
