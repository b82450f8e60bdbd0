"""A projection of torch whose weights stay in the type they are stored in, and how it is multiplied with many rows."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonopsis.mamba2.kernels.weights import Matrix

if TYPE_CHECKING:
    from sonopsis.mamba2.kernels.matmul import ProductMemory

BLOCK = 512  # rows of weights that torch widens at once


def has_bfloat16_products() -> bool:
    """Whether torch multiplies bfloat16 matrices faster than float32 ones on this processor.

    That needs the instructions (AVX512-BF16 or AMX), and oneDNN must be allowed to use them. Elsewhere oneDNN imitates
    bfloat16 products, or leaves them to slow loops: they take four times as long as float32 ones.
    """
    hardware = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(hardware and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class StoredLinear(nn.Linear):
    """x (..., K) -> x @ weight (R, K)^T for a stored `Matrix`, computed in `dtype` (float32 or bfloat16).

    If `dtype` is the stored type, `weight` is that memory and torch multiplies by it. Otherwise `weight` is empty, and
    rows are widened while they are multiplied: by compiled kernels (`compiled`), or block by block by torch.
    """

    data: Tensor
    scale: Tensor

    def __init__(self, matrix: Matrix, dtype: torch.dtype, compiled: bool) -> None:
        rows, columns = matrix.data.shape
        super().__init__(columns, rows, bias=False, device="meta")
        self.matrix, self.compiled = matrix, compiled
        stored = as_tensor(matrix)
        if dtype == torch.bfloat16 and stored.dtype == torch.int8:
            stored = torch.from_numpy(matrix.to_float32()).to(dtype)  # a second copy, since its products are fast
            self.direct = True
        else:
            self.direct = stored.dtype == dtype
        empty = torch.empty(0, columns, dtype=dtype)
        self.weight = nn.Parameter(stored if self.direct else empty, requires_grad=False)
        self.register_buffer("data", None if self.direct else stored, persistent=False)
        self.register_buffer("scale", None if self.direct else torch.from_numpy(matrix.scale), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) in the dtype of `weight` -> (..., R) in the same."""
        if self.direct:
            return F.linear(x, self.weight)
        if self.compiled and x.device.type == "cpu" and not (torch.is_grad_enabled() and x.requires_grad):
            rows = x.detach().reshape(-1, self.in_features).contiguous()  # (N, K)
            out = rows.new_empty(len(rows), self.out_features)
            self.multiply(rows, out)
            return out.view(*x.shape[:-1], self.out_features)
        return torch.cat(
            [F.linear(x, self.widened(start, start + BLOCK)) for start in range(0, len(self.data), BLOCK)], -1
        )

    def multiply(self, x: Tensor, out: Tensor, memory: "ProductMemory | None" = None) -> None:
        """Rows x (N, K) into out (N, R), without gradients; `memory` for so many rows may be used again and again."""
        if self.direct:
            torch.mm(x, self.weight.T, out=out)
            return
        from sonopsis.mamba2.kernels.language_model import multiply

        multiply(self.matrix, x.numpy(), out.numpy(), torch.get_num_threads(), memory)

    def widened(self, start: int, end: int) -> Tensor:
        """Rows start..end of the weights in the dtype that is computed in."""
        return (self.data[start:end].float() * self.scale[start:end, None]).to(self.weight.dtype)

    def rows(self, ids: Tensor) -> Tensor:
        """The rows `ids` (...) of the weights, (..., K) float32: an embedding."""
        if self.direct:
            return F.embedding(ids, self.weight).float()
        return F.embedding(ids, self.data).float() * self.scale[ids].unsqueeze(-1)


def as_tensor(matrix: Matrix) -> Tensor:
    """A stored matrix as a tensor of torch's type for it, without a copy; `scale` is left out."""
    data = matrix.data
    if data.dtype == np.uint16:
        return torch.from_numpy(data.view(np.int16)).view(torch.bfloat16)
    if data.dtype == np.int16:
        return torch.from_numpy(data).view(torch.float16)
    return torch.from_numpy(data)
