"""Attention of one block: keys that are added for speed change nothing."""

import pytest
import torch
from torch import Tensor

from sonopsis.encoder.block import KEYS, Attention, filled_up


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("length", [301, 361, 511])
@pytest.mark.parametrize("biased", [False, True])
def test_further_keys_get_no_attention(length: int, biased: bool) -> None:
    q, k, v = numbers(3, 2, 4, length, 16)
    bias = torch.where(numbers(2, 1, 1, length) > 1, -torch.inf, 0.0) if biased else None
    more_k, more_v, more_bias = filled_up(k, v, bias)
    assert more_k.shape == more_v.shape == (2, 4, 512 if length == 511 else length // KEYS * KEYS + KEYS, 16)
    attend = torch.nn.functional.scaled_dot_product_attention
    torch.testing.assert_close(attend(q, more_k, more_v, more_bias), attend(q, k, v, bias))


@pytest.mark.parametrize("length", [16, 130, 336, 512, 514])
def test_keys_that_are_fast_stay_as_they_are(length: int) -> None:
    k, v = numbers(2, 1, 4, length, 16)
    assert filled_up(k, v, None) == (k, v, None)


def test_attention_in_bfloat16() -> None:
    attention = Attention(32, 2).eval()
    y = numbers(1, 301, 32)
    exact = attention(y)
    rough = attention.to(torch.bfloat16)(y.bfloat16())
    assert (rough - exact).abs().max() < 0.02 * exact.abs().max()
