"""AudioMAE checkpoints: pretrained.pth, finetuned.pth, and ports that have timm's names, which are the same."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from sonopsis.checkpoints.keys import Table, affine, blocks, count_blocks, gather, heads_of
from sonopsis.encoder.config import PRESETS, EncoderConfig

FAMILY = "AudioMAE"
WRAPPER = "encoder."  # around every name in some ports
# The decoder of pretraining, and the norm that pretraining puts after the last block where fine-tuning pools instead.
LEFTOVERS = ("mask_token", "decoder_", "norm.")

Crop = Literal["reference", "prefix"]


def from_audiomae(tensors: Mapping[str, Tensor]) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """Tensors by AudioMAE's names -> the encoder and the state of a `Tagger`, with a head if there is a classifier.

    Patches are time-major there as here. The stored position table is kept, prefix row included: it is sin-cos, but
    transposed relative to its tokens, so that it cannot be computed from a token's place. Raises ValueError that lists
    the tensors that are missing or unknown.
    """
    root = WRAPPER if any(name.startswith(WRAPPER) for name in tensors) else ""
    depth = count_blocks(tensors, f"{root}blocks.")
    table: Table = {
        "encoder.prefix": (f"{root}cls_token",),
        "encoder.positions": (f"{root}pos_embed",),
        **affine("encoder.stem.proj", [f"{root}patch_embed.proj"]),
        **blocks(f"{root}blocks.", depth),
    }
    leftovers = tuple(root + name for name in LEFTOVERS)
    if any(name.startswith(f"{root}head.") for name in tensors):
        table |= affine("head.norm", [f"{root}fc_norm"]) | affine("head.linear", [f"{root}head"])
    else:
        leftovers += (f"{root}fc_norm.",)
    state = gather(tensors, table, FAMILY, leftovers)
    preset = PRESETS["audiomae"]
    width, _, patch_t, patch_f = state["encoder.stem.proj.weight"].shape
    frequency = preset.mels // patch_f
    time, rest = divmod(state["encoder.positions"].shape[1] - 1, frequency)
    if rest or not time:
        raise ValueError(
            f"its position table has {state['encoder.positions'].shape[1]} rows, which is not 1 + a multiple of "
            f"{frequency}; only AudioMAE with patches that do not overlap can be read"
        )
    config = replace(
        preset,
        width=width,
        depth=depth,
        heads=heads_of(width),
        mlp_ratio=state["encoder.blocks.0.fc1.weight"].shape[0] / width,
        frames=time * patch_t,
        patch=(patch_t, patch_f),
        stride=(patch_t, patch_f),
    )
    return config, state


def crop_table(positions: Tensor, config: EncoderConfig, frames: int, crop: Crop) -> Tensor:
    """The position table (1, 1 + N, D) of a shorter input.

    The table runs over 8 rows of 64 columns, row after row, while tokens run over time with 8 frequencies each.
    "reference" keeps the first columns of every row, as the published fine-tuning for short clips does: most tokens
    get another code than in pretraining. "prefix" keeps the first rows of the table, and with them every token's code.
    """
    (time, frequency), (shorter, _) = config.grid(config.frames), config.grid(frames)
    if crop == "prefix":
        return positions[:, : 1 + shorter * frequency]
    codes = positions[:, 1:].unflatten(1, (frequency, time))[:, :, :shorter]  # (1, 8, T', D)
    return torch.cat([positions[:, :1], codes.flatten(1, 2)], dim=1)
