"""Similarity merging (ToMe, arXiv 2210.09461): fewer tokens without dropping any."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sonopsis.pruning.config import merge_rounds
from sonopsis.pruning.mix import Choice, mixed
from sonopsis.pruning.select import topk


def merge(keys: Tensor, index: Tensor, size: Tensor, grid: tuple[int, int], kept: int) -> Choice:
    """Merge the most similar of N patches, neighbours in time preferred by the matching, until `kept` are left.

    `keys` are (B, H, N, D/H), their mean over heads is what is compared by cosine; `index` (B, N) are grid cells,
    `size` (B, N) what each token stands for. A merged token stays at the cell of one of its parts. One round of
    matching halves the tokens at most; below half, further rounds follow on the merged keys.
    """
    metric = keys.detach().float().mean(dim=1)  # (B, N, D/H)
    rows = torch.arange(index.shape[1], device=index.device).expand_as(index)
    alive, into, weight = rows, rows, size.float()
    for left, pairs in merge_rounds(index.shape[1], kept):
        source, target = matched(metric, index.gather(1, alive), grid, pairs)
        lives = torch.ones_like(weight).scatter(1, source, 0.0)  # (B, n)
        place = lives.cumsum(dim=1).long() - 1  # of the living among the living
        goes = rows[:, :left].scatter(1, source, target)
        goes = place.gather(1, goes)
        metric = mixed(metric, goes, weight, left - pairs)
        weight = weight.new_zeros(weight.shape[0], left - pairs).scatter_add(1, goes, weight)
        into = goes.gather(1, into)
        alive = alive.gather(1, topk(lives, left - pairs))
    return Choice(alive, into=into, weight=size.float())


def matched(metric: Tensor, cells: Tensor, grid: tuple[int, int], pairs: int) -> tuple[Tensor, Tensor]:
    """The `pairs` most similar (source, target) of a bipartition of tokens (B, n, d) at `cells`: two (B, pairs).

    Every second token along time, band after band, may go into any of the others: in whatever order an encoder keeps
    its tokens, a token and its neighbour in time are on different sides.
    """
    time, frequency = grid
    along = (cells % frequency * time + cells // frequency).argsort(dim=1)
    ones, others = along[:, 1::2], along[:, 0::2]
    unit = normalize(metric, dim=2)
    width = unit.shape[2]
    left = unit.gather(1, ones.unsqueeze(-1).expand(-1, -1, width))
    right = unit.gather(1, others.unsqueeze(-1).expand(-1, -1, width))
    best, partner = (left @ right.transpose(1, 2)).max(dim=2)  # (B, n / 2)
    chosen = best.sort(dim=1, descending=True, stable=True).indices[:, :pairs]
    return ones.gather(1, chosen), others.gather(1, partner.gather(1, chosen))
