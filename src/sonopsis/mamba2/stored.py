"""A projection of torch whose weights stay in the type they are stored in, and how it is multiplied with many rows."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonopsis.mamba2.kernels.weights import Matrix
from sonopsis.processor import processor

if TYPE_CHECKING:
    from sonopsis.mamba2.kernels.matmul import ProductMemory

BLOCK = 512  # rows of weights that torch widens at once
MANY_ROWS = 256  # of float32 that are multiplied at once, from which on torch is as fast as the kernels everywhere


def has_bfloat16_products() -> bool:
    """Whether torch multiplies bfloat16 matrices faster than float32 ones on this processor.

    That needs instructions for it (AVX512-BF16, AMX), and oneDNN must be allowed to use them. Elsewhere such products
    are imitated, and take four times as long as float32 ones.
    """
    if not (processor().computes("bfloat16") and torch.backends.mkldnn.is_available()):
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_slow_float32_products() -> bool:
    """Whether torch's float32 products are slower than the kernels' on this processor.

    torch's wheels multiply with MKL, which does not use all that processors of AMD can do: on an EPYC of 2023 a prompt
    of 64 positions takes 1.2 times as long as by the kernels, one of 512 as long (docs/log.md).
    """
    return processor().vendor == "AuthenticAMD" and torch.backends.mkl.is_available()


class StoredLinear(nn.Linear):
    """x (..., K) -> x @ weight (R, K)^T for a stored `Matrix`, computed in `dtype` (float32 or bfloat16).

    If `dtype` is the stored type, `weight` is that memory and torch multiplies by it, or compiled kernels do where
    torch's products are slow. Otherwise `weight` is empty, and rows are widened while they are multiplied: by kernels,
    or block by block by torch. Kernels are used only with `compiled`.
    """

    data: Tensor
    scale: Tensor

    def __init__(self, matrix: Matrix, dtype: torch.dtype, compiled: bool) -> None:
        rows, columns = matrix.data.shape
        super().__init__(columns, rows, bias=False, device="meta")
        self.matrix = matrix
        stored = as_tensor(matrix)
        if dtype == torch.bfloat16 and stored.dtype == torch.int8:
            stored = torch.from_numpy(matrix.to_float32()).to(dtype)  # a second copy, since its products are fast
            self.direct = True
        else:
            self.direct = stored.dtype == dtype
        # Whether kernels multiply by the stored weights, on the CPU.
        self.by_kernels = compiled and dtype == torch.float32 and (not self.direct or has_slow_float32_products())
        empty = torch.empty(0, columns, dtype=dtype)
        self.weight = nn.Parameter(stored if self.direct else empty, requires_grad=False)
        self.register_buffer("data", None if self.direct else stored, persistent=False)
        self.register_buffer("scale", None if self.direct else torch.from_numpy(matrix.scale), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) in the dtype of `weight` -> (..., R) in the same."""
        if self.by_kernels and x.device.type == "cpu" and not (torch.is_grad_enabled() and x.requires_grad):
            rows = x.detach().reshape(-1, self.in_features).contiguous()  # (N, K)
            out = rows.new_empty(len(rows), self.out_features)
            self.multiply(rows, out)
            return out.view(*x.shape[:-1], self.out_features)
        if self.direct:
            return F.linear(x, self.weight)
        starts = range(0, self.out_features, BLOCK)
        return torch.cat([F.linear(x, self.widened(start, start + BLOCK)) for start in starts], dim=-1)

    def multiply(self, x: Tensor, out: Tensor, memory: "ProductMemory | None" = None) -> None:
        """Rows x (N, K) into out (N, R), on the CPU without gradients; `memory` for so many rows may be used again."""
        if not self.by_kernels or (self.direct and len(x) > MANY_ROWS):
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
