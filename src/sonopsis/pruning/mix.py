"""Making fewer tokens of many: what a reducer decided, carried out as weighted means."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sonopsis.pruning.select import positive, take, topk, with_prefix


@dataclass
class Choice:
    """What a reducer decided about the N patches that entered a block."""

    index: Tensor  # (B, K) positions of the survivors, ascending; 0 where `mask` is False
    mask: Tensor | None = None  # (B, K), False on padding; None: nothing is padded
    into: Tensor | None = None  # (B, N) the new token each patch goes into; None: those not in `index` are dropped
    weight: Tensor | None = None  # (B, N) its weight in that token's mean
    fused: bool = False  # the last new token, the K-th, is the remainder of what was dropped

    @property
    def tokens(self) -> int:
        """How many tokens there are afterwards."""
        return self.index.shape[1] + self.fused

    def survivors(self, x: Tensor, prefix: int) -> Tensor:
        """The prefix and the surviving patches (B, P + K, D) of a sequence (B, P + N, D).

        Of attention weights (B, H, P + N, P + N) these are the rows (B, H, P + K, P + N).
        """
        return take(x, with_prefix(self.index, prefix))

    def reduced(self, x: Tensor, prefix: int) -> Tensor:
        """The sequence (B, P + N, D) with its patches dropped, or mixed into others: (B, P + K, D)."""
        if self.into is None or self.weight is None:
            return self.survivors(x, prefix)
        return torch.cat([x[:, :prefix], mixed(x[:, prefix:], self.into, self.weight, self.tokens)], dim=1)


def mixed(x: Tensor, into: Tensor, weight: Tensor, count: int) -> Tensor:
    """Weighted means (B, K, D) of the tokens x (B, N, D) that go into each of `count` tokens; alone, x bit for bit."""
    total = weight.new_zeros(x.shape[0], count).scatter_add(1, into, weight)
    share = (weight / total.gather(1, into)).unsqueeze(-1)  # (B, N, 1)
    places = into.unsqueeze(-1).expand_as(x)
    return share.new_zeros(x.shape[0], count, x.shape[2]).scatter_add(1, places, x * share).to(x.dtype)


def fuse(score: Tensor, kept: int, fused: bool) -> Choice:
    """TopK, with the score-weighted mean of the other patches as one more token at the end (EViT, arXiv 2202.07800).

    `score` is (B, N); when `fused`, the last of the N is the remainder of earlier blocks, which no score can save or
    drop: it goes into the new remainder. Unlike EViT's sum, the mean keeps the scale of a token.
    """
    patches = score[:, :-1] if fused else score
    index = topk(patches, kept)
    into = torch.full_like(score, kept, dtype=torch.int64)
    into = into.scatter(1, index, torch.arange(kept, device=score.device).expand_as(index))
    weight = positive(score.float()).scatter(1, index, 1.0)
    return Choice(index, into=into, weight=weight, fused=True)
