"""Choosing rows by score and gathering them."""

import torch
from torch import Tensor


def topk(score: Tensor, kept: int) -> Tensor:
    """Positions (B, K) int64, ascending, of the `kept` highest scores of (B, N); of equal scores the first wins."""
    order = score.sort(dim=1, descending=True, stable=True).indices
    return order[:, :kept].sort(dim=1).values


def with_prefix(index: Tensor, prefix: int) -> Tensor:
    """Patch positions (B, K) -> rows (B, P + K) of the sequence in which `prefix` tokens come first."""
    first = torch.arange(prefix, device=index.device).expand(index.shape[0], -1)
    return torch.cat([first, index + prefix], dim=1)


def take(x: Tensor, rows: Tensor) -> Tensor:
    """The given rows (B, R) of x (B, T, D), or of every head of x (B, H, T, D)."""
    if x.ndim == 4:
        return x.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))
    return x.gather(1, rows[:, :, None].expand(-1, -1, x.shape[2]))
