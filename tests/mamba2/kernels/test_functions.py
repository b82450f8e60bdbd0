"""Functions of one number and of one vector beside NumPy in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
from numba import njit

from sonopsis.mamba2.kernels import functions


@njit
def map_exp(x: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = functions.exp(x[i])


@njit
def map_silu(x: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = functions.silu(x[i])


@njit
def map_softplus(x: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = functions.softplus(x[i])


def mapped(function: Callable[[Any, Any], None], x: Any) -> Any:
    out = np.empty_like(x)
    function(x, out)
    return out.astype(np.float64)


def test_exp_is_as_accurate_as_it_says() -> None:
    """Over its whole range, densely from 0.5 to 1 and close to zero: relative error below 2e-7."""
    whole = np.linspace(functions.EXP_MIN, functions.EXP_MAX, 500_001).astype(np.float32)
    dense = np.arange(0x3F000000, 0x3F800001, 17, dtype=np.uint32).view(np.float32)
    small = np.float32(10.0) ** np.arange(-45, 0, 0.01, dtype=np.float32)
    for x in (whole, dense, -dense, small, -small):
        exact = np.exp(x.astype(np.float64))
        assert np.max(np.abs(mapped(map_exp, x) / exact - 1)) < 2e-7


def test_exp_beyond_its_range() -> None:
    """The values at the ends, never an infinity."""
    ends = np.exp(np.array([-87.0, 88.0]))
    found = mapped(map_exp, np.array([-1e9, -np.inf, 1e9, np.inf], np.float32))
    np.testing.assert_allclose(found, np.repeat(ends, 2), rtol=2e-7)


def test_silu_and_softplus() -> None:
    """Relative error below 1e-6 where exp keeps its digits; large numbers too."""
    x = np.concatenate([np.linspace(-80, 88, 100_001), [0.0, 1e4, 20.0, 20.001]]).astype(np.float32)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mapped(map_silu, x), wide / (1 + np.exp(-wide)), rtol=1e-6)
    np.testing.assert_allclose(mapped(map_softplus, x), np.logaddexp(0, wide), rtol=1e-6)


@pytest.mark.parametrize(("size", "groups"), [(1, 1), (33, 1), (96, 3), (1000, 8)])
def test_norms(size: int, groups: int) -> None:
    rng = np.random.default_rng(size)
    x, weight = (rng.standard_normal(size).astype(np.float32) for _ in range(2))
    eps = np.float32(1e-5)
    parts = x.astype(np.float64).reshape(groups, -1)
    wanted = (parts / np.sqrt((parts**2).mean(1, keepdims=True) + eps)).reshape(-1) * weight
    out = np.empty_like(x)
    functions.group_norm(x, weight, eps, groups, out)
    bound = (size + 4) * 2.0**-24  # roundoffs of a sum of `size` squares, of its root and of the products
    assert np.all(np.abs(out - wanted) <= bound * np.abs(wanted))
    bits = np.empty(size, np.uint16)
    functions.group_norm(x, weight, eps, groups, bits)
    rounded = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.all(np.abs(rounded - wanted) <= (bound + 2.0**-8) * np.abs(wanted))
    functions.group_norm(x, weight, eps, groups, x)  # in place
    assert np.all(np.abs(x - wanted) <= bound * np.abs(wanted))
