"""AudioMAE checkpoints: pretrained.pth, finetuned.pth, and ports that have timm's names, which are the same."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from sonopsis.checkpoints.grids import LENGTHS, STRIDES, grids
from sonopsis.checkpoints.keys import Table, affine, blocks, count_blocks, gather, heads_of
from sonopsis.encoder.config import PRESETS, EncoderConfig

FAMILY = "AudioMAE"
WRAPPER = "encoder."  # around every name in some ports
# The decoder of pretraining, and the norm that pretraining puts after the last block where fine-tuning pools instead.
LEFTOVERS = ("mask_token", "decoder_", "norm.")

Crop = Literal["reference", "prefix"]


def from_audiomae(
    tensors: Mapping[str, Tensor],
    fields: Mapping[str, Any],
    frames: int | None,
    heads: int | None,
    stride: int | None,
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """Tensors by AudioMAE's names -> the encoder and the state of a `Tagger`, with a head if there is a classifier.

    Patches are time-major there as here. The stored position table is kept, prefix row included: it is sin-cos, but
    transposed relative to its tokens, so that it cannot be computed from a token's place. `fields` are those of a
    config.json, empty for a file; for `heads` see `heads_of`, for `frames` and `stride` `_find_grid`. Raises ValueError
    that lists the tensors that are missing or unknown, or says what the file cannot tell.
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
    step, longest = _find_grid(state["encoder.positions"].shape[1] - 1, (patch_t, patch_f), frames, stride)
    config = replace(
        preset,
        width=width,
        depth=depth,
        heads=heads_of(width, heads, fields.get("num_heads")),
        mlp_ratio=state["encoder.blocks.0.fc1.weight"].shape[0] / width,
        frames=longest,
        patch=(patch_t, patch_f),
        stride=(patch_t, patch_f) if step == patch_t else (step, step),
    )
    return config, state


def _find_grid(patches: int, patch: tuple[int, int], frames: int | None, stride: int | None) -> tuple[int, int]:
    """Stride over time and input length of an encoder with this many patches, which the file does not tell.

    Patches that do not overlap may have any number of columns; overlapping ones (stride 10, 12 or 14) are known at the
    usual input lengths and at `frames`. Raises ValueError when both are possible and `stride` does not say which, and
    when nothing fits.
    """
    mels, (patch_t, patch_f) = PRESETS["audiomae"].mels, patch
    columns, rest = divmod(patches, mels // patch_f)
    found = [(patch_t, columns * patch_t)] if columns and not rest else []
    overlapping = [step for step in STRIDES if step < patch_t] if stride is None else [stride]
    found += grids(patches, patch, mels, overlapping, LENGTHS if frames is None else (frames, *LENGTHS))
    found = [(step, length) for step, length in found if stride in (None, step)]
    if not found:
        wanted = "" if stride is None else f" at stride {stride}"
        raise ValueError(
            f"its position table has {patches} rows for patches, which fit no input length{wanted}; give the stride "
            "and the number of Mel frames it was trained with: read_checkpoint(path, stride=..., frames=...)"
        )
    if len({step for step, _ in found}) > 1:
        either = " or ".join(f"{length} Mel frames at stride {step}" for step, length in found)
        raise ValueError(f"its {patches} positions may be {either}; say which: read_checkpoint(path, stride=...)")
    return found[0]


def crop_table(positions: Tensor, config: EncoderConfig, frames: int, crop: Crop) -> Tensor:
    """The position table (1, 1 + N, D) of a shorter input.

    The published table runs over 8 rows of 64 columns, row after row, while tokens run over time with 8 frequencies
    each. "reference" keeps the first columns of every row, as the published fine-tuning for short clips does: most
    tokens get another code than in pretraining. "prefix" keeps the first rows of the table, and with them every
    token's code.
    """
    (time, frequency), (shorter, _) = config.grid(config.frames), config.grid(frames)
    if crop == "prefix":
        return positions[:, : 1 + shorter * frequency]
    codes = positions[:, 1:].unflatten(1, (frequency, time))[:, :, :shorter]  # (1, 8, T', D)
    return torch.cat([positions[:, :1], codes.flatten(1, 2)], dim=1)
