"""The causal convolution against torch's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sonopsis.mamba2.conv import causal_conv


def inputs(length: int, taps: int) -> list[Tensor]:
    """x, weight and bias in float64."""
    random = torch.Generator().manual_seed(length)
    shapes = [(2, length, 3), (3, 1, taps), (3,)]
    return [torch.randn(*shape, generator=random, dtype=torch.float64) for shape in shapes]


def library(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    padded = F.pad(x.transpose(1, 2), (weight.shape[2] - 1, 0))
    return F.conv1d(padded, weight, bias, groups=weight.shape[0]).transpose(1, 2)


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 9), taps=st.integers(1, 5))
def test_values_and_gradients(length: int, taps: int) -> None:
    x, weight, bias = (tensor.requires_grad_() for tensor in inputs(length, taps))
    expected = torch.autograd.grad(library(x, weight, bias).pow(3).sum(), (x, weight, bias))
    found = torch.autograd.grad(causal_conv(x, weight, bias).pow(3).sum(), (x, weight, bias))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(causal_conv(x, weight, bias), library(x, weight, bias))


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_gradcheck_with_a_frozen_input(frozen: int) -> None:
    tensors = inputs(5, 3)
    for index, tensor in enumerate(tensors):
        tensor.requires_grad_(index != frozen)
    assert torch.autograd.gradcheck(causal_conv, tensors)
