"""Tokens at their cells of the time-frequency grid, and every patch as it was after earlier blocks."""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sonopsis.pruning.survivors import Survivors


@dataclass
class BlockGrids:
    """Collects the states of all patches after the blocks that are asked for, before any norm.

    A patch that was dropped stays as it was in the block that dropped it; one that was merged is where it went.
    """

    blocks: frozenset[int]
    held: Tensor  # (B, N + 1, D) last states of the patches that were dropped so far; last row: padding
    found: list[Tensor] = field(default_factory=list)  # (B, N, D) of each block that was asked for

    @classmethod
    def of(cls, blocks: Collection[int], x: Tensor, patches: int) -> "BlockGrids":
        """Nothing was dropped yet of so many patches of the sequence x (B, P + N, D)."""
        return cls(frozenset(blocks), x.new_zeros(x.shape[0], patches + 1, x.shape[2]))

    def hold(self, left: Survivors, seen: Tensor) -> None:
        """Remember the patches (B, K, D) of a block that drops some of them."""
        self.held = put(self.held, left.index, seen)

    def after(self, number: int, left: Survivors, tokens: Tensor) -> None:
        """Take the tokens (B, K, D) that leave a block, if it is one of those asked for."""
        if number not in self.blocks:
            return
        grid, there = spread(tokens, left.sources(), left.patches)
        self.found.append(torch.where(there, grid, self.held[:, :-1]))


def spread(tokens: Tensor, source: Tensor, patches: int) -> tuple[Tensor, Tensor]:
    """The token that each cell went into (B, N, D), and whether there is one (B, N, 1) bool; elsewhere any token.

    Of the tokens (B, K, D) the first `patches` are on the grid; `source` (B, N) is the token of each cell, -1: none.
    """
    there = ((source >= 0) & (source < patches)).unsqueeze(-1)  # (B, N, 1)
    cells = source.clamp(min=0).unsqueeze(-1).expand(-1, -1, tokens.shape[2])
    return tokens.gather(1, cells), there


def put(grid: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """`grid` (B, N + 1, D) with `values` (B, K, D) at the cells `index` (B, K); those of -1 go behind the last cell."""
    cells = torch.where(index < 0, grid.shape[1] - 1, index)
    return grid.scatter(1, cells.unsqueeze(-1).expand_as(values), values.to(grid.dtype))
