"""The bookkeeping of pruning: where on the grid each token is, and what it stands for."""

from dataclasses import dataclass, replace

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
    source: Tensor | None = None  # (B, N) the token each cell is in, -1: dropped; None: not followed
    fused: bool = False  # the last token of each clip is a fused one

    @classmethod
    def all(cls, grid: tuple[int, int], batch: int, device: torch.device, *, follow: bool) -> "Survivors":
        """Every cell is its own token; `follow` asks for `source`."""
        index = torch.arange(grid[0] * grid[1], device=device).expand(batch, -1)
        return cls(grid, index, source=index if follow else None)

    @property
    def patches(self) -> int:
        """Tokens of the longest clip that are on the grid, so without a fused one."""
        return self.index.shape[1] - self.fused

    @property
    def cells(self) -> Tensor:
        """Grid cells (B, K) without the fused token's -1."""
        return self.index[:, : self.patches]

    def after(self, choice: Choice) -> "Survivors":
        """What is left of these tokens once a reducer has decided."""
        index, size = self.index.gather(1, choice.index), self.size
        if choice.mask is not None:
            index = index.masked_fill(~choice.mask, -1)
        if choice.fused:
            index = torch.cat([index, torch.full_like(index[:, :1], -1)], dim=1)
        if choice.into is not None:
            size = torch.zeros_like(index, dtype=torch.float32).scatter_add(1, choice.into, self.sizes())
        return replace(self, index=index, mask=choice.mask, size=size, source=self._follow(choice), fused=choice.fused)

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

    def on_grid(self, source: Tensor) -> Tensor:
        """Which cells (B, N) are in a token that is on the grid, so neither dropped nor fused."""
        return (source >= 0) & (source < self.patches)

    def per_token(self, values: Tensor) -> Tensor:
        """Values of the grid's cells (B, N) as the mean over the cells in each token (B, K)."""
        if self.size is None:
            return values.gather(1, self.index.clamp(min=0))
        assert self.source is not None  # followed wherever tokens are mixed
        held = self.source >= 0
        total = self.size.new_zeros(self.size.shape)
        return total.scatter_add(1, self.source.clamp(min=0), values * held) / self.size

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

    def _follow(self, choice: Choice) -> Tensor | None:
        if self.source is None:
            return None
        target = choice.into
        if target is None:
            beyond = choice.index.shape[1]
            places = torch.arange(beyond, device=self.index.device).expand_as(choice.index)
            rows = choice.index
            if choice.mask is not None:  # padding points behind the last token, which is cut off
                rows = rows.masked_fill(~choice.mask, self.index.shape[1])
            target = torch.full_like(self.index[:, :1], -1).repeat(1, self.index.shape[1] + 1)
            target = target.scatter(1, rows, places)[:, :-1]
        held = self.source >= 0
        return torch.where(held, target.gather(1, self.source.clamp(min=0)), -1)
