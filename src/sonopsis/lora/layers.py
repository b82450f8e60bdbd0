"""A projection with low-rank adapters on some of its rows."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Adapter(nn.Module):
    """x -> scale * B A dropout(x), added to some rows of a projection; B starts at zero, a change of nothing."""

    def __init__(self, weight: Tensor, rows: tuple[int, int], rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.rows, self.rank, self.alpha = rows, rank, alpha
        dtype = torch.promote_types(weight.dtype, torch.float32)  # low precision is for weights that stay as they are
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(torch.empty(rank, weight.shape[1], dtype=dtype, device=weight.device))
        self.lora_B = nn.Parameter(torch.zeros(rows[1] - rows[0], rank, dtype=dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., rows)."""
        return F.linear(F.linear(self.dropout(x.to(self.lora_A.dtype)), self.lora_A), self.lora_B) * self.scale


class LoRALinear(nn.Linear):
    """A projection and its adapters; weight and bias are the very parameters of the projection it replaces."""

    unmerged: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.adapters = nn.ModuleDict()
        self.register_buffer("unmerged", None, persistent=False)  # the weight as it was, while adapters are merged
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out) in the dtype of the weight, or of autocast."""
        y = F.linear(x, self.weight, self.bias)
        if self.unmerged is None:
            for adapter in self._adapters():
                y[..., slice(*adapter.rows)] += adapter(x).to(y.dtype)
        elif self.training and torch.is_grad_enabled():
            raise ValueError("merged adapters get no gradient; call sonopsis.lora.unmerge before training")
        return y

    @torch.no_grad()
    def merge(self) -> None:
        """Add the adapters to the weight, keeping a copy of what it was."""
        if self.unmerged is None:
            self.unmerged = self.weight.detach().clone()
            for adapter in self._adapters():
                rows = self.weight[slice(*adapter.rows)]
                delta = adapter.scale * (adapter.lora_B @ adapter.lora_A)
                rows.copy_(rows.to(delta.dtype) + delta)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the kept weight back, bit for bit."""
        if self.unmerged is not None:
            self.weight.copy_(self.unmerged)
            self.unmerged = None

    def stacked(self) -> tuple[Tensor, Tensor]:
        """All adapters as one: A (sum of ranks, in) and B (out, sum of ranks), zero outside of each adapter's rows."""
        adapters = list(self._adapters())
        B = torch.zeros(self.out_features, sum(adapter.rank for adapter in adapters), dtype=adapters[0].lora_B.dtype)
        column = 0
        for adapter in adapters:
            B[slice(*adapter.rows), column : column + adapter.rank] = adapter.lora_B.detach().cpu()
            column += adapter.rank
        return torch.cat([adapter.lora_A.detach().cpu() for adapter in adapters]), B

    @torch.no_grad()
    def fill(self, A: Tensor, B: Tensor) -> None:
        """The inverse of `stacked`."""
        column = 0
        for adapter in self._adapters():
            columns = slice(column, column + adapter.rank)
            adapter.lora_A.copy_(A[columns])
            adapter.lora_B.copy_(B[slice(*adapter.rows), columns])
            column += adapter.rank

    def parts(self) -> Iterator[tuple[str, Adapter]]:
        """The adapters with the part of the projection they adapt, "whole" if it is not one of `in_proj`'s."""
        for part, adapter in self.adapters.items():
            assert isinstance(adapter, Adapter)
            yield part, adapter

    def _adapters(self) -> Iterator[Adapter]:
        return (adapter for _, adapter in self.parts())
