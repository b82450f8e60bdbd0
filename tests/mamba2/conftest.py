"""How close two results in float32 must be, whatever the processor."""

from typing import Protocol

import pytest
import torch
from torch import Tensor

from sonopsis.mamba2 import Mamba2LM

UNIT_ROUNDOFF = 2.0**-24  # of float32


class AssertRounded(Protocol):
    """See `assert_rounded`."""

    def __call__(self, found: Tensor, wanted: Tensor, lm: Mamba2LM) -> None: ...


@pytest.fixture
def assert_rounded() -> AssertRounded:
    """Asserts that two results of one model differ by no more than rounding explains, in whatever order sums are made.

    A sum of K products in float32 is wrong by at most K unit roundoffs of the sum of their magnitudes. A layer makes
    two such sums in a row, over its width and over its inner width. So the bound is 2 * depth * K roundoffs of the
    largest value, and twice as much if `wanted` is float32 itself. A wrong term is far outside: even weights rounded
    to bfloat16 give differences of about 2 ** -9 of the largest value.
    """

    def check(found: Tensor, wanted: Tensor, lm: Mamba2LM) -> None:
        if wanted.numel():
            terms = max(lm.config.width, lm.config.inner)
            bound = 2 * lm.config.depth * terms * UNIT_ROUNDOFF * (1 if wanted.dtype == torch.float64 else 2)
            largest = float(wanted.detach().abs().max())
            torch.testing.assert_close(found.detach().double(), wanted.detach().double(), atol=bound * largest, rtol=0)

    return check
