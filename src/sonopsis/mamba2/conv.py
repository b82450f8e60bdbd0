"""The short causal convolution of Mamba-2, one filter per channel, with time before channels as the rest of the block.

A sum of shifted products: no transposed copies, forward or backward, which a library convolution over (b, C, l) needs.
"""

from typing import Any

import torch
from torch import Tensor


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y_t = bias + sum_j weight_j x_{t - taps + 1 + j}, with zeros before the first position.

    x (b, l, C); weight (C, 1, taps), the last tap for the current position; bias (C,); one dtype. Differentiable once.
    """
    taps = weight[:, 0].T  # (taps, C)
    if torch.is_grad_enabled():
        y: Tensor = _CausalConv.apply(x, taps, bias)
        return y
    return _shifted(x, taps, bias)


def _shifted(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    length = x.shape[1]
    y = torch.addcmul(bias, x, taps[-1])
    for back in range(1, min(len(taps), length)):
        y[:, back:].addcmul_(x[:, : length - back], taps[-1 - back])
    return y


class _CausalConv(torch.autograd.Function):
    """The sum with its gradients in place, where autograd would keep and add a full tensor per tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, taps)
        return _shifted(x, taps, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, taps = ctx.saved_tensors
        length = x.shape[1]
        grad_x = grad * taps[-1]
        grad_taps = torch.zeros_like(taps)
        grad_taps[-1] = (grad * x).sum((0, 1))
        for back in range(1, min(len(taps), length)):
            late, early = grad[:, back:], x[:, : length - back]
            grad_x[:, : length - back].addcmul_(late, taps[-1 - back])
            grad_taps[-1 - back] = (late * early).sum((0, 1))
        return grad_x, grad_taps, grad.sum((0, 1))
