"""One vector for a clip: the mean of its tokens, with weights that are learned, and what each block makes of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """A mean over tokens in which every token has a learned weight for each part of the width.

    A short event in a long window would be thinned out by a plain mean. The weights start out equal, so that training
    begins with the plain mean.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.score = nn.Linear(width, heads)
        self.initialise()

    def initialise(self) -> None:
        """Give all tokens the same weight."""
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, tokens: Tensor, size: Tensor) -> Tensor:
        """Tokens (B, K, D), each standing for `size` (B, K) patches, 0 for padding -> (B, 1, D)."""
        scores = self.score(tokens) + size.to(tokens.dtype).log().unsqueeze(-1)  # (B, K, H)
        weights = scores.softmax(dim=1).transpose(1, 2).unsqueeze(2)  # (B, H, 1, K)
        parts = tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, H, K, D/H)
        return (weights @ parts).transpose(1, 2).flatten(2)  # (B, 1, D)


class LayerStatistics(nn.Module):
    """Mean and maximum over the tokens after each block, on one scale.

    Whisper's early blocks hear sounds, its last ones words, so a head does well to read all of them (docs/log.md).
    Numbers of different channels differ by orders of magnitude; `fit` finds the scale on which a head can learn.
    """

    centre: Tensor  # (2 * depth * D,)
    deviation: Tensor  # (2 * depth * D,)

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("centre", torch.zeros(2 * depth * width))
        self.register_buffer("deviation", torch.ones(2 * depth * width))

    def fit(self, statistics: Tensor) -> None:
        """Of what `forward` makes of training clips before this call (C, 2 * depth * D), make mean 0 and deviation
        1 / (2 * depth), so that a step of AdamW moves what a head makes of all blocks as much as what it makes of one
        normed vector."""
        self.centre.copy_(statistics.mean(dim=0))
        self.deviation.copy_(statistics.std(dim=0).clamp(min=1e-4) * (2 * self.depth))

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        """What `mean_and_maximum` makes of each block, depth times (B, 2 * D) -> (B, 2 * depth * D)."""
        return (torch.cat(list(blocks), dim=1) - self.centre) / self.deviation


def mean_and_maximum(tokens: Tensor, size: Tensor | None) -> Tensor:
    """Mean and maximum (B, 2 * D) of tokens (B, K, D), each standing for `size` (B, K) patches, 0 for padding, or,
    with None, for one."""
    if size is None:
        return torch.cat([tokens.mean(dim=1), tokens.amax(dim=1)], dim=1)
    weight = size.to(tokens.dtype).unsqueeze(-1)  # (B, K, 1)
    mean = (tokens * weight).sum(dim=1) / weight.sum(dim=1)
    maximum = tokens.masked_fill(weight == 0, -torch.inf).amax(dim=1)
    return torch.cat([mean, maximum], dim=1)
