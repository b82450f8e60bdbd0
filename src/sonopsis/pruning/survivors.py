"""The bookkeeping of pruning: where on the grid each token is, and what it stands for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sonopsis.pruning.mix import Choice


@dataclass
class Survivors:
    """The patch tokens between two blocks; what is None has not happened yet, and costs nothing."""

    grid: tuple[int, int]  # (time, frequency) rows
    index: Tensor  # (B, K) int64 grid cells, ascending; then -1: padding, or the fused token
    mask: Tensor | None = None  # (B, K) False on padding; None: no clip is padded
    size: Tensor | None = None  # (B, K) float32 patches each token stands for; None: one each
    source: Tensor | None = None  # (B, N) the token each cell is in; None: nothing was mixed
    fused: bool = False  # the last token of each clip is a fused one

    @classmethod
    def all(cls, grid: tuple[int, int], batch: int, device: torch.device) -> "Survivors":
        """Every cell is its own token."""
        return cls(grid, torch.arange(grid[0] * grid[1], device=device).expand(batch, -1))

    @property
    def patches(self) -> int:
        """Tokens of the longest clip that are on the grid, so without a fused one."""
        return self.index.shape[1] - int(self.fused)

    @property
    def cells(self) -> Tensor:
        """Grid cells (B, K) without the fused token's -1."""
        return self.index[:, : self.patches]

    def after(self, choice: Choice) -> "Survivors":
        """What is left of these tokens once a reducer has decided."""
        index = self.index.gather(1, choice.index)
        if choice.mask is not None:
            index = index.masked_fill(~choice.mask, -1)
        if choice.into is None:
            return Survivors(self.grid, index, choice.mask)
        if choice.fused:
            index = torch.cat([index, torch.full_like(index[:, :1], -1)], dim=1)
        size = torch.zeros_like(index, dtype=torch.float32).scatter_add(1, choice.into, self.sizes())
        source = choice.into.gather(1, self.sources())
        return Survivors(self.grid, index, size=size, source=source, fused=choice.fused)

    def sources(self) -> Tensor:
        """The token (B, N) each cell of the grid is in, -1: dropped."""
        if self.source is not None:
            return self.source
        cells = self.grid[0] * self.grid[1]
        places = torch.arange(self.index.shape[1], device=self.index.device).expand_as(self.index)
        behind = torch.full_like(self.index[:, :1], -1).repeat(1, cells + 1)  # padding points behind the last cell
        return behind.scatter(1, torch.where(self.index < 0, cells, self.index), places)[:, :-1]

    def sizes(self) -> Tensor:
        """How many patches each token stands for (B, K) float32."""
        return torch.ones_like(self.index, dtype=torch.float32) if self.size is None else self.size

    def shares(self) -> Tensor | None:
        """Each token's part in the mean over patches (B, K); None: all the same."""
        if self.size is None and self.mask is None:
            return None
        weight = self.sizes() if self.mask is None else self.sizes() * self.mask
        return weight / weight.sum(dim=1, keepdim=True)

    def as_one(self) -> "Survivors":
        """Bookkeeping of the mean over all patches as one token."""
        weight = self.sizes() if self.mask is None else self.sizes() * self.mask
        return Survivors(self.grid, torch.full_like(self.index[:, :1], -1), size=weight.sum(dim=1, keepdim=True))

    def per_token(self, values: Tensor) -> Tensor:
        """Values of the grid's cells (B, N) as the mean over the cells in each token (B, K)."""
        if self.size is None:
            return values.gather(1, self.index.clamp(min=0))
        return torch.zeros_like(self.size).scatter_add(1, self.sources(), values) / self.size  # every cell is in one

    def bias(self, prefix: int, *, proportional: bool) -> Tensor | None:
        """What attention adds to the logits of each key (B, 1, 1, P + K) float32, if anything.

        Padding is never attended to; with `proportional` a token of several patches is attended to like as many.
        """
        if self.mask is not None:
            bias = torch.zeros_like(self.mask, dtype=torch.float32).masked_fill(~self.mask, -torch.inf)
        elif proportional and self.size is not None:
            bias = self.size.log()
        else:
            return None
        return torch.nn.functional.pad(bias, (prefix, 0))[:, None, None]
