"""EAT checkpoints: fairseq's .pt, pretrained or fine-tuned, and the layout of Hugging Face folders (SSLAM's too)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sonopsis.checkpoints.keys import Table, affine, blocks, count_blocks, expect, gather, heads_of
from sonopsis.encoder.config import PRESETS, EncoderConfig
from sonopsis.encoder.positions import sincos_table

FAMILY = "EAT"
MODALITY = "modality_encoders.IMAGE."  # fairseq's name for the part before the blocks
# Beside the encoder in fairseq's files: the decoder and projections of pretraining, the teacher.
LEFTOVERS = ("decoder.", "shared_decoder.", "recon_proj.", "_ema.")

FIXED = {  # fields of a config.json that must have these values
    "patch_size": 16,
    "stride": 16,
    "in_chans": 1,
    "mel_bins": 128,
    "qkv_bias": True,
    "norm_affine": True,
    "layer_norm_first": False,
}
HEAD_EPS = {"fairseq": 1e-6, "huggingface": 1e-5}  # of the norm before the classifier
SINCOS_TOLERANCE = 1e-3  # half precision, and float32 angles of up to 768 radians


def from_eat(
    tensors: Mapping[str, Tensor], fields: Mapping[str, Any], frames: int | None, heads: int | None
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """Tensors by EAT's names -> the encoder and the state of a `Tagger`, with a head if there is a classifier.

    The encoder reads up to `frames` Mel frames (None: 1024, the published length); the stored table may cover more.
    `fields` are those of config.json, empty for a fairseq file; for `heads` see `heads_of`. Raises
    ValueError that lists the tensors that are missing or unknown, or for a variant with other blocks.
    """
    expect(fields, FIXED)
    root = "model." if any(name.startswith("model.") for name in tensors) else ""
    fairseq = any(name.startswith(root + MODALITY) for name in tensors)
    stem = root + MODALITY if fairseq else root
    positions = next((name for name in _position_names(stem) if name in tensors), _position_names(stem)[0])
    depth = count_blocks(tensors, f"{root}blocks.")
    table: Table = {
        "encoder.prefix": (f"{stem}extra_tokens",),
        "positions": (positions,),
        **affine("encoder.stem.proj", [f"{stem}local_encoder.proj"]),
        **affine("encoder.norm_in", [f"{stem}context_encoder.norm" if fairseq else f"{stem}pre_norm"]),
        **blocks(f"{root}blocks.", depth),
    }
    leftovers = tuple(start + name for start in {root, stem} for name in LEFTOVERS)
    top = (
        "" if any(name.startswith("head.") for name in tensors) else root
    )  # fairseq's classifier is outside of what it fine-tunes
    if any(name.startswith(f"{top}head.") for name in tensors):
        table |= affine("head.norm", [f"{top}fc_norm"]) | affine("head.linear", [f"{top}head"])
    else:
        leftovers += (f"{root}fc_norm.",)
    state = gather(tensors, table, FAMILY, leftovers)
    width = state["encoder.stem.proj.weight"].shape[0]
    config = replace(
        PRESETS["eat"],
        width=width,
        depth=depth,
        heads=heads_of(width, heads, fields.get("num_heads")),
        mlp_ratio=state["encoder.blocks.0.fc1.weight"].shape[0] / width,
        norm_eps=fields.get("norm_eps", 1e-6),
        head_norm_eps=HEAD_EPS["fairseq" if fairseq else "huggingface"],
    )
    return _with_positions(config, state, frames)


def _position_names(stem: str) -> tuple[str, str]:
    return f"{stem}fixed_positional_encoder.positions", f"{stem}positional_encoder.pos_embed"  # the second is older


def _with_positions(
    config: EncoderConfig, state: dict[str, Tensor], frames: int | None
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """The fixed table (1, N, D) is computed anew where it is the sin-cos table, as it should be, and kept where not."""
    table = state.pop("positions")
    frequency, (step, _) = config.mels // config.patch[1], config.patch
    if table.ndim != 3 or table.shape[1] % frequency or not table.shape[1] or table.shape[2] != config.width:
        raise ValueError(f"its position table has shape {tuple(table.shape)}, not (1, a multiple of 8, {config.width})")
    longest = table.shape[1] // frequency * step
    config = replace(config, frames=min(PRESETS["eat"].frames, longest) if frames is None else frames)
    if config.frames > longest:
        raise ValueError(f"{frames} Mel frames are more than its position table covers, {longest}")
    time, frequency = config.grid(config.frames)
    used = table[:, : time * frequency]  # (1, N, D): time is the outer index
    if torch.allclose(
        used[0], torch.from_numpy(sincos_table((time, frequency), config.width)), rtol=0, atol=SINCOS_TOLERANCE
    ):
        return config, state
    learned = torch.cat([torch.zeros_like(used[:, :1]), used], dim=1)  # (1, 1 + N, D): CLS has no position
    return replace(config, position="learned"), state | {"encoder.positions": learned}
