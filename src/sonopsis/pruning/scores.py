"""How much each patch matters: from attention weights, always in float32, or from the patch itself."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """What a score given as a function may read of the patches that enter a pruning block."""

    tokens: Tensor  # (B, N, D) as attention reads them
    index: Tensor  # (B, N) int64 grid cells; -1: a fused token or padding
    size: Tensor  # (B, N) how many patches each stands for
    grid: tuple[int, int]  # (time, frequency) rows
    mel: Tensor  # (B, T, M) the encoder's input


ScoreFunction = Callable[[Candidates], Tensor]  # -> (B, N), higher for what should survive


def attention_weights(q: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(D/H)) float32 (B, H, Tq, T) of queries (B, H, Tq, D/H) and keys (B, H, T, D/H).

    `bias` (B, 1, 1, T) is added before the softmax. Also in float32 under autocast: rounding to bfloat16 would decide
    which patches survive.
    """
    device = q.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return attention_weights(q, k, bias)
    logits = q.float() * q.shape[-1] ** -0.5 @ k.float().transpose(-1, -2)
    return (logits if bias is None else logits + bias).softmax(dim=-1)


def cls_row(weights: Tensor, prefix: int) -> Tensor:
    """What CLS attends to: the mean over heads of its row over patches; (B, H, Tq, P + N), CLS first -> (B, N).

    The rule for encoders whose CLS is trained (AST, EAT; arXiv 2504.01690, section 3).
    """
    return weights.detach()[:, :, 0, prefix:].mean(dim=1)


def value_row(weights: Tensor, values: Tensor, prefix: int) -> Tensor:
    """`cls_row` with each head's weight times the length of the value it multiplies (B, H, P + N, D/H) -> (B, N).

    A patch of large weight and a value near zero adds nothing to CLS (adaptive token sampling, arXiv 2111.15667).
    """
    lengths = values.detach().float().norm(dim=-1)  # (B, H, P + N)
    return (weights.detach()[:, :, 0] * lengths)[:, :, prefix:].mean(dim=1)


def attention_column(weights: Tensor, prefix: int, mask: Tensor | None = None) -> Tensor:
    """What patches attend to: the mean over heads and patch queries; (B, H, P + N, P + N) -> (B, N).

    The rule for AudioMAE, whose CLS is not trained (arXiv 2504.01690, section 3). Prefix rows and columns are left
    out, and so is padding: queries that are False in `mask` (B, N).
    """
    patches = weights.detach()[:, :, prefix:, prefix:]
    if mask is None:
        return patches.mean(dim=(1, 2))
    asks = mask.to(patches.dtype)
    return torch.einsum("bhqk,bq->bk", patches, asks) / patches.shape[1] / asks.sum(dim=1, keepdim=True)


def patch_values(mel: Tensor, patch: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """The normalised log-Mel (B, T, M) that each patch sees: (B, N, patch area) float32, in grid order."""
    windows = mel.float().unfold(1, patch[0], stride[0]).unfold(2, patch[1], stride[1])  # (B, t, f, *patch)
    return windows.flatten(3).flatten(1, 2)


def cell_noise(cells: int, seed: int, device: torch.device) -> Tensor:
    """Uniform noise (N,) for the grid's cells: the same for every clip, batch and device."""
    return torch.rand(cells, generator=torch.Generator().manual_seed(seed)).to(device)
